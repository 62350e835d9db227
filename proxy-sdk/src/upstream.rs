//! The road up: commands of clients that no handler in the node takes, read by business applications.
//!
//! Owns the port a node offers them to ([`Upstream`]), the stream they wait in, and its readers ([`Subscriber`]). Each
//! consumer group of the stream gets every command at least once. Nothing is removed that a group has not acknowledged;
//! when the stream is full, commands are refused. Never answers a client: that is what pushing is for.

mod command;
mod redis;
mod subscriber;

use async_trait::async_trait;
use gim_proto::MessageId;

pub use self::command::Command;
pub use self::redis::{MOST_COMMANDS, RedisUpstream};
pub use self::subscriber::{Delivery, Subscriber, SubscriberOptions};

/// Takes commands for business applications.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Takes a command. Returns its id. Commands that are offered one after the other stay in this order.
    ///
    /// # Errors
    /// It was not taken. `Timeout`: it may have been.
    async fn offer(&self, command: Command) -> Result<MessageId, UpstreamError>;
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
#[error("upstream: {kind:?}")]
pub struct UpstreamError {
    /// What went wrong, for decisions.
    pub kind: UpstreamErrorKind,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a command on its way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// As many wait as may, or the store is out of memory: nobody reads, or not fast enough.
    Full,
    /// The store cannot be reached. Nothing took effect.
    Unavailable,
    /// No answer in time. It may have been taken.
    Timeout,
}

impl UpstreamErrorKind {
    /// The word used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }
}

impl From<UpstreamErrorKind> for UpstreamError {
    fn from(kind: UpstreamErrorKind) -> Self {
        Self { kind, source: None }
    }
}
