//! The measuring side: load clients in processes of their own, producers that keep a pace, and what is counted.
//!
//! Owns what `gim bench` does, and what the bench of this repository stands on. It speaks to nodes as clients and producers
//! do, by its own small codec: what measures a program should not share its mistakes. Latency counts from when a message
//! was due, not from when it could be sent, so that a server which holds up the producer is not spared (coordinated
//! omission). Beside every rate stands what was lost, came twice or out of order, and whether the load side itself was the
//! bound. Linux only: it reads `/proc` and uses epoll.

pub mod address;
pub mod child;
pub mod client;
pub mod clock;
pub mod events;
pub mod feed;
pub mod figures;
pub mod histogram;
pub mod message;
pub mod pace;
pub mod post;
pub mod process;
pub mod queue;
pub mod report;
pub mod run;
pub mod ws;

/// Everything that goes wrong here ends the measurement with its text, so one boxed type does for all of it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
