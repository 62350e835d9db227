//! The worker with the queue and the directory of one process and nodes that answer as a test tells them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

mod bounds;
mod delivery;
mod durable;
mod faults;
mod kinds;
mod mailbox_model;
mod model;
mod outages;
mod ownership;
mod program;
mod receipts;
mod redis;
mod set;
mod shutdown;
mod support;
mod team;
mod timing;
