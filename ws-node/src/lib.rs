#![doc = include_str!("../README.md")]
// Redis clients make types of futures that are deeper than the default.
#![recursion_limit = "256"]

mod app;
mod cancel;
pub mod cli;
mod clock;
pub mod config;
mod core;
mod deflate;
mod embed;
mod follow;
mod heartbeat;
mod http;
mod hub;
mod intake;
mod listener;
#[cfg(feature = "measure")]
#[doc(hidden)]
pub mod measure;
mod metrics;
mod node;
mod proxy;
mod reassert;
mod receipts;
mod rpc;
mod session;
mod shutdown;

pub use crate::embed::{Context, Frame, Handled, HandlerError, Identity, IntoReply, Refusal, UpgradeRequest};
pub use crate::node::{Node, NodeBuilder, StartError};
pub use crate::proxy::Proxy;
pub use crate::session::{CloseReason, Closer, JoinError, Session};
pub use crate::shutdown::{Phase, ShutdownReport};
