//! The streams of mode `redis`, tested from outside: entries put on them by hand, a real redis-server, a real node.
//!
//! No Redis client stands between a test and the wire: what is sent are bytes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected fails loudly"
)]

mod resp;
mod stage;
#[expect(dead_code, reason = "shared with the suites of both modes, which use all of it")]
mod support;

mod away;
mod dead;
mod duplicates;
mod figures;
mod forms;
mod leaving;
mod ledger;
mod malformed;
mod order;
mod restart;
mod targets;
mod times;
mod upstream;
