//! Calls between processes of a cluster: batches, and questions about single sessions, to the node that they are for.
//!
//! Owns one connection per living node, made when it is first needed and dropped when the node is gone from the view, and
//! on it one stream of batches. Never routes and never repeats a call: who called decides.

mod courier;
mod pause;
mod peer;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gim_proto::{Incarnation, Uid};

use crate::client::{ClientOptions, NodeClient};
use crate::delivery::{Batch, Report};
use crate::directory::{NodeRef, Owner};
use crate::members::{LiveNodes, View};

use self::peer::Peer;

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

/// What is known about the way to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStats {
    /// The node.
    pub node: NodeRef,
    /// Whether the stream of batches stands.
    pub is_connected: bool,
    /// Batches sent and not answered.
    pub batches: usize,
    /// Their bytes, each batch counted as [`ClientOptions::SMALLEST`] at least.
    pub bytes: usize,
    /// Times the stream was opened again.
    pub reconnects: u64,
}

/// The way to the other nodes. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    live: LiveNodes,
    options: ClientOptions,
    table: Mutex<Table>,
}

/// One peer per member of the view, at most.
#[derive(Default)]
struct Table {
    /// The view that the table was last compared with.
    seen: Option<Arc<View>>,
    peers: HashMap<Incarnation, Arc<Peer>>,
}

impl Peers {
    /// Makes a way to whoever is in the view. Connects when something is first sent.
    ///
    /// [`ClientOptions::between_processes`] are the options it is meant for.
    #[must_use]
    pub fn new(live: LiveNodes, options: ClientOptions) -> Self {
        Self(Arc::new(Inner { live, options, table: Mutex::default() }))
    }

    /// Hands a batch to a node. Returns one report per delivery, in order. Batches go in the order of the calls.
    ///
    /// A batch above 2 MiB or 1,000 deliveries goes in parts, each after the answer to the one before it.
    ///
    /// # Errors
    /// Within the call's deadline, [`ClientOptions::deadline`]. Of a batch that went in parts `Unreachable` and `Full` become
    /// `Unknown` when an earlier part was delivered.
    pub async fn deliver(&self, node: &NodeRef, batch: &Batch) -> Result<Vec<Report>, PeerError> {
        self.peer(node)?.deliver(batch).await
    }

    /// Asks about a session that the directory names, and has it end if asked to. False: it is not there any more, or on
    /// its way out.
    ///
    /// # Errors
    /// Within `most`, which is at most [`ClientOptions::deadline`].
    pub async fn stop(&self, uid: &Uid, owner: &Owner, stop: Stop, most: Duration) -> Result<bool, PeerError> {
        self.peer(&owner.node)?.stop(uid, owner, stop, most).await
    }

    /// Gives the client for other calls to a node, on the connection that its batches use. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// Kind `Unreachable`: it is not among the living, or is this process.
    pub fn client(&self, node: &NodeRef) -> Result<NodeClient, PeerError> {
        Ok(self.peer(node)?.client().clone())
    }

    /// Tells how the way to each node is that something was sent to.
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        self.table().peers.values().map(|peer| peer.stats()).collect()
    }

    fn peer(&self, node: &NodeRef) -> Result<Arc<Peer>, PeerError> {
        let view = self.0.live.view();
        let member = view.member(&node.incarnation).filter(|member| member.node == *node && !member.rpc.is_empty());
        let member = member.ok_or(PeerErrorKind::Unreachable)?;
        let mut table = self.table();
        table.keep_those_of(&view);
        if let Some(peer) = table.peers.get(&node.incarnation).filter(|peer| peer.serves(&member.rpc)) {
            return Ok(Arc::clone(peer));
        }
        let peer = Peer::new(member, &self.0.live, &self.0.options)
            .map_err(|error| PeerError { kind: PeerErrorKind::Unreachable, source: Some(error.into()) })?;
        let peer = Arc::new(peer);
        table.peers.insert(node.incarnation, Arc::clone(&peer));
        Ok(peer)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn keep_those_of(&mut self, view: &Arc<View>) {
        if !self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, view)) {
            self.peers.retain(|incarnation, _| view.member(incarnation).is_some());
            self.seen = Some(Arc::clone(view));
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Peers").field("peers", &self.stats()).finish_non_exhaustive()
    }
}

impl From<PeerErrorKind> for PeerError {
    fn from(kind: PeerErrorKind) -> Self {
        Self { kind, source: None }
    }
}
