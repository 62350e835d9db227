//! The node's contract, tested from outside: real sockets on free ports of 127.0.0.1, one process, no shared state.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected fails loudly"
)]

mod support;

mod admin;
mod browser;
mod cli;
mod deploy;
mod docs;
mod durable;
mod frames;
mod sessions;
mod shutdown;
mod storms;
mod targets;
mod upstream;
mod wire;
