//! Scripts in Redis, and how they are called: what the directory and the mailboxes share.
//!
//! Owns the call with its deadline, the estimate of Redis' time that makes a call without effect once it is given up, and
//! the connection that is kept up. Never knows what the scripts mean, nor which port an answer is for.

mod calls;
mod clock;
mod connection;
mod fault;
mod pipe;
mod pipes;
mod script;
mod way;

pub(crate) use self::calls::Calls;
pub(crate) use self::connection::Connection;
pub(crate) use self::script::{Script, time};
pub(crate) use self::way::Command;
