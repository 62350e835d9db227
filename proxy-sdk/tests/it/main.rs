//! The client's contract, tested against a node that answers as each test wants, on a free port of 127.0.0.1.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected fails loudly"
)]

mod support;

mod bounds;
mod cluster;
mod directory;
mod etcd;
mod gim;
mod handshake;
mod kinds;
mod lease;
mod ledger;
mod mailbox;
mod membership;
mod operate;
mod peers;
mod producer;
mod producers;
mod queue;
mod store;
mod upstream;
mod verbs;
