#![doc = include_str!("../README.md")]
// Redis clients make types of futures that are deeper than the default.
#![recursion_limit = "256"]

pub mod admin;
pub mod backoff;
mod by_entry;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod exporter;
pub mod host;
pub mod lane;
pub mod local;
pub mod logging;
mod need;
pub mod observe;
pub mod program;
pub mod redis;
pub mod remote;
pub mod route;
pub mod settle;
pub mod source;
pub mod team;
pub mod worker;
