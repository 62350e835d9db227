//! The admin listener, as nodes and workers both have it: HTTP for operators and for programs of this machine.
//!
//! Owns who may ask ([`Guard`]), the server's bounds ([`serve`], [`LONGEST`]) and the shape of an error ([`ApiError`]).
//! Paths and what they answer belong to the process that serves them.

mod error;
mod guard;
mod server;

pub use self::error::ApiError;
pub use self::guard::{Guard, check};
pub use self::server::{Counters, LONGEST, bounded, listen, method_not_allowed, not_found, serve};
