//! Mailboxes: in memory and in Redis, by the same sentences.

mod contract;
mod faults;
mod kinds;
mod latest;
mod model;
mod receipts;
pub(crate) mod world;
