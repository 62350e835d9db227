#![doc = include_str!("../README.md")]

pub mod cli;
pub mod config;
mod node;
mod embed;
mod session;
mod proxy;
mod shutdown;
mod app;
mod core;
mod hub;
mod listener;
mod heartbeat;
mod http;
mod rpc;
mod metrics;
mod host;
mod clock;

pub use crate::embed::{Context, Frame, Handled, HandlerError, Identity, IntoReply, Refusal, UpgradeRequest};
pub use crate::node::{Node, NodeBuilder, StartError};
pub use crate::proxy::Proxy;
pub use crate::session::{CloseReason, Closer, JoinError, Session};
pub use crate::shutdown::{Phase, ShutdownReport};
