//! How batches reach nodes: the port [`Deliver`].
//!
//! Owns the port and its error. In one process it is a plain call, between nodes a stream. Never retries: the lane does.

use std::sync::Arc;

use async_trait::async_trait;
use gim_proxy_sdk::delivery::{Batch, Report};
use gim_proxy_sdk::directory::NodeRef;

/// Why a node did not answer for a batch. Every message of the batch is retried.
#[derive(Debug, thiserror::Error)]
#[error("delivery: {kind:?}")]
pub struct DeliverError {
    /// What went wrong, for decisions.
    pub kind: DeliverErrorKind,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverErrorKind {
    /// The node cannot be reached. Nothing was delivered.
    Unreachable,
    /// No answer: all, some or none of it was delivered.
    Unknown,
    /// The node has seen a higher term of this lane: somebody else may own it by now. Nothing was delivered, no attempt is
    /// counted, and the lane's lease is looked at before anything else is sent.
    Refused,
    /// The node may not act right now, because nobody can tell whether its lease lasts: nothing was delivered. Or it has
    /// lost its place in the middle of the batch, and never acts again. No attempt is counted.
    Suspended,
}

/// The way to the nodes.
///
/// The calls for one node are started in order and an adapter keeps that order on the way; of one lane, at most one per
/// node is on its way. An adapter bounds the time of a call and answers [`DeliverErrorKind::Unknown`] after it.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Hands a batch to a node. Returns one report per delivery, in order, once each was offered to the sessions it
    /// is for. Never waits for a client. The lane keeps the batch until then, to take up again what has moved;
    /// who goes on with it after the call was dropped takes a handle of its own.
    async fn deliver(&self, node: &NodeRef, batch: &Arc<Batch>) -> Result<Vec<Report>, DeliverError>;
}

impl From<DeliverErrorKind> for DeliverError {
    fn from(kind: DeliverErrorKind) -> Self {
        Self { kind, source: None }
    }
}

/// Why an attempt failed that may succeed another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The node cannot be reached.
    Unreachable,
    /// The node did not answer, or not what was asked.
    Unknown,
    /// Twice in a row the node named by the directory did not hold the session.
    NotOwner,
}

impl Failure {
    /// Every failure.
    pub const ALL: [Self; 3] = [Self::Unreachable, Self::Unknown, Self::NotOwner];

    /// The word used in metrics, logs and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
            Self::NotOwner => "not_owner",
        }
    }
}

impl DeliverErrorKind {
    /// Tells the failure that counts as an attempt. None: this one does not count.
    #[must_use]
    pub const fn failure(self) -> Option<Failure> {
        match self {
            Self::Unreachable => Some(Failure::Unreachable),
            Self::Unknown => Some(Failure::Unknown),
            Self::Refused | Self::Suspended => None,
        }
    }
}
