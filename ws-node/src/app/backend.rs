//! What stands behind the node's ports in each mode.
//!
//! Owns the choice of adapters and their end. Nothing else in the crate knows which there are.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gim_msg_queue::local::LocalQueue;
use gim_msg_queue::local::store::LocalStore;
use gim_msg_queue::observe::Observer;
use gim_msg_queue::source::Source;
use gim_msg_queue::team::TeamPorts;
use gim_msg_queue::worker::Ports;
use gim_proto::{Incarnation, NodeId};
use gim_proxy_sdk::directory::{Directory, NodeRef};
use gim_proxy_sdk::ledger::Ledger;
use gim_proxy_sdk::mailbox::Mailboxes;
use gim_proxy_sdk::members::LiveNodes;
use gim_proxy_sdk::peers::Peers;
use gim_proxy_sdk::queue::Queue;
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::upstream::Upstream;

use super::kept::{Local, close};
use super::place::Place;
use crate::config::{Config, Mode};
use crate::core::{Kept, Sight};
use crate::node::StartError;

/// The adapters of one mode.
pub(super) struct Backend {
    pub(super) node: NodeRef,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) mailboxes: Arc<dyn Mailboxes>,
    pub(super) ledger: Arc<dyn Ledger>,
    /// None: there is no Redis in this mode.
    pub(super) redis: Option<Store>,
    pub(super) work: Work,
    pub(super) upstream: Option<Arc<dyn Upstream>>,
    /// Who hears of what the worker does.
    pub(super) observer: Arc<dyn Observer>,
    pub(super) keeper: Keeper,
    /// What of this process is in memory and on disk. None: it is elsewhere.
    pub(super) kept: Option<Kept>,
    /// The way to other nodes, and who they are, where there can be any.
    pub(super) peers: Option<Peers>,
    pub(super) live: Option<LiveNodes>,
    /// Tells how the cluster looks from here, where there is one.
    pub(super) sight: Option<Sight>,
}

/// Who works on the queue.
pub(super) enum Work {
    /// This process, on all lanes.
    Lanes(Vec<Arc<dyn Source>>),
    /// This process, on its share of the lanes.
    Team(Box<dyn FnOnce(Ports) -> TeamPorts + Send>),
    /// Others.
    Elsewhere,
}

/// What of a mode has to be ended with the node.
pub(super) enum Keeper {
    /// The queue of this process, and what of it outlives the process.
    Local { queue: Arc<LocalQueue>, store: Option<Arc<LocalStore>> },
    /// The node's place in Redis, and what it has there.
    Redis(Box<Place>),
}

/// Who the node is before it has a place anywhere.
pub(super) struct Candidate {
    pub(super) id: NodeId,
    pub(super) public: SocketAddr,
    pub(super) rpc: SocketAddr,
}

impl Backend {
    /// Opens what the configured mode stands on.
    pub(super) async fn open(
        config: &Config,
        candidate: Candidate,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        match config.mode {
            Mode::Redis | Mode::Cluster => Place::take(config, candidate, observer).await,
            Mode::Local => Self::local(config, candidate, observer).await,
        }
    }

    async fn local(config: &Config, candidate: Candidate, observer: &Arc<dyn Observer>) -> Result<Self, StartError> {
        let node = NodeRef { id: candidate.id, incarnation: Incarnation::mint() };
        let local = Local::open(config, &node, observer).await?;
        Ok(Self {
            directory: local.directory,
            mailboxes: Arc::clone(&local.mailboxes) as Arc<_>,
            ledger: local.ledger,
            redis: None,
            node,
            work: Work::Lanes(local.queue.sources()),
            queue: Arc::clone(&local.queue) as Arc<_>,
            upstream: None,
            observer: Arc::clone(observer),
            keeper: Keeper::Local { queue: local.queue, store: local.store.clone() },
            kept: Some(Kept { store: local.store, mailboxes: local.mailboxes }),
            peers: None,
            live: None,
            sight: None,
        })
    }
}

impl Keeper {
    /// Has the queue accept nothing more.
    pub(super) fn close_queue(&self) {
        match self {
            Self::Local { queue, .. } => queue.close(),
            Self::Redis(place) => place.close_queue(),
        }
    }

    /// Gives up what the node has elsewhere, once nothing of it runs any more.
    // Boxed: the types of three Redis clients within one future are more than the compiler looks through.
    pub(super) fn leave(&self) -> BoxFuture<'_, ()> {
        match self {
            Self::Local { store, .. } => close(store.clone()).boxed(),
            Self::Redis(place) => place.leave().boxed(),
        }
    }

    /// Tells the place, if the node has one outside this process.
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Self::Local { .. } => None,
            Self::Redis(place) => Some(place),
        }
    }
}
