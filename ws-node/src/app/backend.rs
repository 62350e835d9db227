//! What stands behind the node's ports in each mode.
//!
//! Owns the choice of adapters and their end. Nothing else in the crate knows which there are.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gim_msg_queue::clock::SystemClock;
use gim_msg_queue::local::LocalQueue;
use gim_msg_queue::observe::Observer;
use gim_msg_queue::source::Source;
use gim_msg_queue::team::TeamPorts;
use gim_msg_queue::worker::Ports;
use gim_proto::{Incarnation, NodeId};
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::directory::{Directory, NodeRef};
use gim_proxy_sdk::ledger::Ledger;
use gim_proxy_sdk::ledger::local::LocalLedger;
use gim_proxy_sdk::mailbox::Mailboxes;
use gim_proxy_sdk::mailbox::local::{IsMember, LocalMailboxes};
use gim_proxy_sdk::members::LiveNodes;
use gim_proxy_sdk::peers::Peers;
use gim_proxy_sdk::queue::Queue;
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::upstream::Upstream;

use super::place::Place;
use crate::config::{Config, Mode};
use crate::core::Sight;
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
    /// The queue of this process.
    Local(Arc<LocalQueue>),
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
            Mode::Local => Ok(Self::local(config, candidate, observer)),
        }
    }

    fn local(config: &Config, candidate: Candidate, observer: &Arc<dyn Observer>) -> Self {
        let node = NodeRef { id: candidate.id, incarnation: Incarnation::mint() };
        let queue = LocalQueue::with(config.queue.clone(), Arc::new(SystemClock), Arc::clone(observer));
        let ledger: Arc<dyn Ledger> = Arc::new(LocalLedger::new(config.ledger.bounds()));
        let directory = match config.ledger.presence {
            true => LocalDirectory::new(node.clone()).with_presence(Arc::clone(&ledger)),
            false => LocalDirectory::new(node.clone()),
        };
        let directory = Arc::new(directory);
        let members = Arc::clone(&directory);
        let is_member: IsMember = Arc::new(move |uid, tgids| members.is_member(uid, tgids));
        Self {
            directory,
            mailboxes: Arc::new(LocalMailboxes::new(config.mailbox.bounds(), is_member)),
            ledger,
            redis: None,
            node,
            work: Work::Lanes(queue.sources()),
            queue: Arc::clone(&queue) as Arc<_>,
            upstream: None,
            observer: Arc::clone(observer),
            keeper: Keeper::Local(queue),
            peers: None,
            live: None,
            sight: None,
        }
    }
}

impl Keeper {
    /// Has the queue accept nothing more.
    pub(super) fn close_queue(&self) {
        match self {
            Self::Local(queue) => queue.close(),
            Self::Redis(place) => place.close_queue(),
        }
    }

    /// Gives up what the node has elsewhere, once nothing of it runs any more.
    // Boxed: the types of three Redis clients within one future are more than the compiler looks through.
    pub(super) fn leave(&self) -> BoxFuture<'_, ()> {
        match self {
            Self::Local(_) => std::future::ready(()).boxed(),
            Self::Redis(place) => place.leave().boxed(),
        }
    }

    /// Tells the place, if the node has one outside this process.
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Self::Local(_) => None,
            Self::Redis(place) => Some(place),
        }
    }
}
