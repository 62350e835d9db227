//! What mode `cluster` promises: nodes and workers, Redis and etcd, each a real process, with a link between any two of
//! them that the test can cut, while they die, stand still and come back.
//!
//! The oracle stands outside of all of them: what `XADD` accepted, numbered per target, against what each client saw on
//! which connection and when.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that meets the unexpected fails loudly, and the oracle tells its counts"
)]

mod support;

mod beside;
mod cost;
mod crowd;
mod everywhere;
mod figures;
mod follows;
mod links;
mod lost;
mod nodes;
mod places;
mod rolling;
mod servers;
mod storm;
mod takeover;
mod together;
mod trace;
mod verbs;
mod workers;
