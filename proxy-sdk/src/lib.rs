#![doc = include_str!("../README.md")]
// Redis clients make types of futures that are deeper than the default.
#![recursion_limit = "256"]

#[cfg(all(feature = "bench", target_os = "linux"))]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod cluster;
pub mod delivery;
pub mod directory;
pub mod error;
pub mod etcd;
pub mod few;
pub mod journal;
pub mod lease;
pub mod ledger;
pub mod mailbox;
pub mod members;
pub mod membership;
pub mod peers;
pub mod producer;
pub mod proxy;
pub mod queue;
mod scripts;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod upstream;

pub use client::{ClientOptions, NodeClient, UserState};
pub use cluster::ClusterClient;
pub use delivery::{Body, Outcome, Sent};
pub use error::{Error, ErrorKind};
pub use gim_proto::{Fields, MessageId, Tgid, Uid};
pub use producer::{Producer, ProducerOptions};
pub use proxy::{LocalProxy, RunProxy};
