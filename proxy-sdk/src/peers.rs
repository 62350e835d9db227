//! Calls between processes of a cluster: batches, and questions about single sessions, to the node that they are for.
//!
//! Owns one connection per living node, made when it is first needed and dropped when the node is gone. Never routes and
//! never repeats a call: who called decides.

use std::time::Duration;

use gim_proto::Uid;

use crate::client::ClientOptions;
use crate::delivery::{Batch, Report};
use crate::directory::{NodeRef, Owner};
use crate::members::LiveNodes;

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
#[error("peer: {kind:?}")]
pub struct PeerError {
    /// What went wrong, for decisions.
    pub kind: PeerErrorKind,
    /// What caused it.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a call to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerErrorKind {
    /// It is not among the living, or cannot be reached, or another run answered: nothing took effect.
    Unreachable,
    /// No answer: all, some or none of it took effect.
    Unknown,
    /// The node has seen a higher term of the lane: nothing was delivered.
    Refused,
    /// The node may not act right now: nothing was delivered. Or it has lost its place, and never acts again.
    Suspended,
    /// Too much is on its way to the node: nothing took effect.
    Full,
}

/// What is asked about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Only whether it is there.
    Ask,
    /// It ends with 4501.
    Replaced,
    /// It ends with 4504.
    AlreadyConnected,
}

/// The way to the other nodes. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Peers {
    _live: LiveNodes,
    _options: ClientOptions,
}

impl Peers {
    /// Makes a way to whoever is in the view. Connects when something is first sent.
    #[must_use]
    pub fn new(live: LiveNodes, options: ClientOptions) -> Self {
        Self { _live: live, _options: options }
    }

    /// Hands a batch to a node. Returns one report per delivery, in order.
    ///
    /// # Errors
    /// Within the call's deadline, [`ClientOptions::deadline`].
    pub async fn deliver(&self, _node: &NodeRef, _batch: Batch) -> Result<Vec<Report>, PeerError> {
        Err(PeerError { kind: PeerErrorKind::Unreachable, source: None })
    }

    /// Makes a client for a node's other calls, over the connection there is.
    ///
    /// # Errors
    /// It is not among the living.
    pub fn client(&self, _node: &NodeRef) -> Result<crate::NodeClient, PeerError> {
        Err(PeerError { kind: PeerErrorKind::Unreachable, source: None })
    }

    /// Asks about a session that the directory names, and has it end if asked to. False: it is not there any more, or on
    /// its way out.
    ///
    /// # Errors
    /// Within `most`.
    pub async fn stop(&self, _uid: &Uid, _owner: &Owner, _stop: Stop, _most: Duration) -> Result<bool, PeerError> {
        Err(PeerError { kind: PeerErrorKind::Unreachable, source: None })
    }
}
