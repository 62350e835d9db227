//! The program `msg-queue`: a worker of a cluster as a process of its own.
//!
//! Owns its configuration, command line, admin listener and the order in which it starts and stops. What it does with
//! entries is the [`team`](crate::team)'s and the [`worker`](crate::worker)'s. Never exits: `main` does.

mod admin;
pub mod cli;
mod config;
mod enter;
mod figures;
mod running;

pub use self::config::{Config, ListenSection};
pub use self::enter::StartError;
pub use self::running::{Phase, Running};
