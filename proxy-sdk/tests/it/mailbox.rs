//! Mailboxes: in memory and in Redis, by the same sentences.

mod contract;
mod latest;
mod world;
