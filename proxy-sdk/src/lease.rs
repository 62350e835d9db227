//! That this run of a node lives: one key in Redis with a time to live, renewed while it does.
//!
//! Owns the node's incarnation: taken at start, taken anew when the lease was lost or Redis came back as another run,
//! given up when somebody else took the node's name. What is found missing in Redis counts only while its run is the
//! one this incarnation was asserted in ([`Proof`]), and lanes are delivered only while the lease is proven ([`Guard`]).
//! Never closes a session: who owns them watches [`NodeLease::state`].

pub(crate) mod boot;
mod guard;
mod host;
mod keeper;
mod mode;
mod probe;
mod proof;
mod record;
mod seat;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gim_proto::{Incarnation, Keys, NodeId};
use tokio::sync::watch;

use crate::directory::NodeRef;
use crate::store::{Runs, Store, StoreError};

pub use self::boot::BootClock;
pub use self::guard::{Guard, Unproven};
pub use self::mode::node_alone;
pub use self::probe::{Probe, RpcProbe};
pub use self::proof::{Proof, Since};
pub use self::record::{NodeRecord, RecordError, SCHEMA};

pub(crate) use self::mode::runs_in;

use self::guard::Facts;
use self::keeper::Keeper;
use self::seat::Seat;

/// How a node holds its place.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// The node.
    pub id: NodeId,
    /// Where others reach its RPC listener, `host:port`.
    pub rpc: String,
    /// Where clients reach it, `host:port`.
    pub public: String,
    /// How long the lease lasts without renewal. Default 10 s.
    pub ttl: Duration,
    /// How often it is renewed. Default 3 s.
    pub renew: Duration,
    /// How long a holder of the same name gets to show that it lives, not counting what the asking process stands still.
    /// Default 300 ms.
    pub probe: Duration,
    /// Whether this is the only node there may be, as in mode `redis`. Otherwise many of this kind live side by side.
    pub alone: bool,
}

impl LeaseOptions {
    /// Takes the defaults for a node that is alone.
    #[must_use]
    pub fn alone(id: NodeId, rpc: impl Into<String>, public: impl Into<String>) -> Self {
        Self {
            id,
            rpc: rpc.into(),
            public: public.into(),
            ttl: Duration::from_secs(10),
            renew: Duration::from_secs(3),
            probe: Duration::from_millis(300),
            alone: true,
        }
    }

    /// Takes the defaults for one of many nodes, as in mode `cluster`. The addresses are those that others reach.
    #[must_use]
    pub fn clustered(id: NodeId, rpc: impl Into<String>, public: impl Into<String>) -> Self {
        Self { alone: false, ..Self::alone(id, rpc, public) }
    }
}

/// Why a node cannot have its place.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// A node of this name lives.
    #[error("the node {id} lives already at {rpc}; give this one another node.id")]
    Held {
        /// Its name.
        id: NodeId,
        /// Where it is.
        rpc: String,
    },
    /// Another node lives, and there may be one only.
    #[error("the node {id} lives at {rpc}, and in mode `redis` there is one node; stop it first")]
    NotAlone {
        /// Its name.
        id: NodeId,
        /// Where it is.
        rpc: String,
    },
    /// A node of mode `redis` lives, and there may be no other.
    #[error("the node {id} lives at {rpc} in mode `redis`, where there is one node; stop it first")]
    Alone {
        /// Its name.
        id: NodeId,
        /// Where it is.
        rpc: String,
    },
    /// Redis did not answer.
    #[error("the lease could not be taken: {0}")]
    Store(#[from] StoreError),
}

/// What is known of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The node lives under this incarnation, in these runs of Redis.
    Held {
        /// The node.
        node: Arc<NodeRef>,
        /// The runs.
        runs: Runs,
    },
    /// Somebody else has the node's place. Final.
    Lost,
}

/// A node's lease. Cheap to clone; ends with [`NodeLease::release`].
#[derive(Clone)]
pub struct NodeLease(Arc<Inner>);

struct Inner {
    seat: Seat,
    keeper: tokio::sync::Mutex<Keeper>,
    state: watch::Sender<LeaseState>,
    /// The process's first incarnation.
    worker: Incarnation,
    /// The node as it lives now, or lived last.
    node: Mutex<Arc<NodeRef>>,
    facts: Arc<Facts>,
    proof: Arc<Proof>,
    options: LeaseOptions,
}

impl NodeLease {
    /// Takes the node's place and begins to hold it. Returns with it the incarnations whose place it took: they are
    /// dead from now on, as workers too.
    ///
    /// # Errors
    /// Somebody who lives has it, or Redis does not answer.
    pub async fn acquire(
        store: &Store,
        keys: &Keys,
        options: LeaseOptions,
        probe: &dyn Probe,
    ) -> Result<(Self, Vec<Incarnation>), LeaseError> {
        let seat = Seat::new(store, keys, &options);
        let begun = BootClock::now_ms();
        let first = Incarnation::mint();
        let proof = Arc::new(Proof::new(store, keys));
        let (since, before) = (proof.begin(), proof.read().await?);
        // Nothing is held yet, so nothing can be missing.
        let record = NodeRecord { asserted: Some(before.name()), ..seat.record(first, first) };
        let record = seat.take(record, probe).await?;
        let voided = record.after.clone();
        let runs = proof.read().await?;
        if runs == before {
            proof.assert(since, before);
        }
        let node = Arc::new(NodeRef { id: options.id.clone(), incarnation: first });
        let lease = Self(Arc::new(Inner {
            keeper: tokio::sync::Mutex::new(Keeper::new(record, runs.clone())),
            seat,
            state: watch::Sender::new(LeaseState::Held { node: Arc::clone(&node), runs }),
            worker: first,
            node: Mutex::new(node),
            facts: Arc::new(Facts::new(begun, &options)),
            proof,
            options,
        }));
        keeper::spawn(&lease);
        Ok((lease, voided))
    }

    /// Watches the lease: a new incarnation, or the loss of the place.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LeaseState> {
        self.0.state.subscribe()
    }

    /// Names the node as it lives now, or lived last.
    #[must_use]
    pub fn node(&self) -> Arc<NodeRef> {
        Arc::clone(&self.now())
    }

    /// Names the incarnation under which this process's worker owns lanes.
    #[must_use]
    pub fn worker(&self) -> Incarnation {
        self.0.worker
    }

    /// Makes the guard that lanes are delivered behind.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::new(self.clone())
    }

    /// Tells what is known about the runs of Redis, and whether everything that this node holds is recorded there.
    #[must_use]
    pub fn proof(&self) -> &Arc<Proof> {
        &self.0.proof
    }

    /// Gives the place back, if it is still this node's. It is not renewed any more.
    ///
    /// # Errors
    /// Redis did not answer: the place is free when its time to live has passed.
    pub async fn release(&self) -> Result<(), StoreError> {
        let mut keeper = self.0.keeper.lock().await;
        keeper.end();
        self.0.facts.lose();
        for record in keeper.records() {
            self.0.seat.leave(record).await?;
        }
        Ok(())
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Arc<NodeRef>> {
        self.0.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for NodeLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeLease").field("node", &self.node()).finish_non_exhaustive()
    }
}
