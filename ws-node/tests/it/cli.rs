//! The operators' command against a running node: every subcommand, and what the node refuses.

mod bench;
mod operate;
mod push;
mod trace;
mod users;

use crate::support::gim::{gim, gim_at};
