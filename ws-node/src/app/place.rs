//! The node's place in Redis: its lease, and what it does when that changes.
//!
//! Owns the order of the modes `redis` and `cluster`: lanes agreed on, lease taken ([`enter`]), the others met, directory
//! opened ([`open`]), everything asserted. After a new incarnation everything held is recorded again before anything found
//! missing counts. A node whose place somebody else has ends.

mod enter;
mod neighbours;
mod open;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use gim_msg_queue::redis::RedisSource;
use gim_proto::Keys;
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::directory::redis::RedisDirectory;
use gim_proxy_sdk::lease::{Guard, LeaseState, NodeLease};
use gim_proxy_sdk::mailbox::RedisMailboxes;
use gim_proxy_sdk::members::LiveNodes;
use gim_proxy_sdk::queue::{RedisQueue, agree_on_lanes};
use gim_proxy_sdk::store::Store;
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::neighbours::Neighbours;
use crate::core::Core;
use crate::reassert;

/// Pause between two tries of what Redis did not answer.
const AGAIN: Duration = Duration::from_millis(200);
/// How long giving back may take: all of it ends by itself.
const GOODBYE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Place {
    lease: NodeLease,
    others: Others,
    directory: Arc<RedisDirectory>,
    mailboxes: Arc<RedisMailboxes>,
    queue: Arc<RedisQueue>,
    /// The lanes, where this node is the one that works on all of them.
    sources: Vec<Arc<RedisSource>>,
    store: Store,
    keys: Keys,
    lanes: NonZeroU16,
    /// Sees every change since the node was named.
    state: watch::Receiver<LeaseState>,
    lost: AtomicBool,
    ring: Notify,
}

/// Who else lives.
enum Others {
    /// Nobody may: the view holds this node alone.
    Nobody(LiveNodes),
    /// The other nodes of a cluster.
    Neighbours(Box<Neighbours>),
}

/// Why a lease is followed no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// The node stops.
    ToTheEnd,
    /// Somebody else has its place.
    Lost,
}

impl Place {
    /// What lanes are delivered behind.
    pub(super) fn guard(&self) -> Guard {
        self.lease.guard()
    }

    pub(super) fn close_queue(&self) {
        self.queue.close();
    }

    /// Lets others find the node, once it takes calls and connections, until it does not any more.
    pub(super) async fn be_found(&self, core: &Core) {
        if let Others::Neighbours(neighbours) = &self.others {
            neighbours.register(&self.lease.node());
            neighbours.leave_with(core.phases()).await;
        }
    }

    /// Puts right what another node's end leaves wrong here.
    pub(super) async fn heed_others(&self, core: &Core) {
        match &self.others {
            Others::Neighbours(neighbours) => neighbours.heed(core).await,
            Others::Nobody(_) => std::future::pending().await,
        }
    }

    /// Whether somebody else has the node's place.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Completes when somebody else has the node's place.
    pub(super) async fn lost(&self) {
        let ring = self.ring.notified();
        tokio::pin!(ring);
        ring.as_mut().enable();
        if !self.is_lost() {
            ring.await;
        }
    }

    /// Gives everything back, so that whoever starts next need not wait.
    pub(super) async fn leave(&self) {
        let given_back = async {
            if let Others::Neighbours(neighbours) = &self.others {
                neighbours.leave().await;
            }
            // Boxed: the types of so many calls are more than the compiler looks through.
            join_all(self.sources.iter().map(|source| source.release().boxed())).await;
            self.lease.release().boxed().await
        };
        match timeout(GOODBYE, given_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "the node's lease was not given back; it ends by itself"),
            Err(_) => tracing::warn!("redis does not answer; what the node has there ends by itself"),
        }
        self.directory.close().await;
        self.mailboxes.close().await;
    }

    /// Has everybody who waits for it know that somebody else has the node's place.
    pub(super) fn tell_lost(&self) {
        self.lost.store(true, Ordering::Release);
        self.ring.notify_waiters();
    }

    /// Follows the lease until the node stops or has lost its place.
    pub(super) async fn follow(&self, core: Arc<Core>, stop: CancellationToken) -> Followed {
        let mut state = self.state.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Followed::ToTheEnd,
                changed = state.changed() => if changed.is_err() { return Followed::ToTheEnd },
            }
            let now = state.borrow_and_update().clone();
            match now {
                LeaseState::Held { node, runs } => {
                    let since = self.lease.proof().begin();
                    core.live_on_as(Arc::clone(&node));
                    core.metrics.incarnated();
                    let recorded = async {
                        self.others.see(&node).await;
                        // First: what is handed from here on is of the mailboxes as they are now.
                        reassert::mailboxes(&core).await;
                        self.assert_everything(&core).await;
                        core.is_recorded();
                    };
                    tokio::select! {
                        () = stop.cancelled() => return Followed::ToTheEnd,
                        // A further incarnation begins again with all of it.
                        _ = state.changed() => state.mark_changed(),
                        () = recorded => self.lease.proof().assert(since, runs),
                    }
                }
                LeaseState::Lost => return Followed::Lost,
            }
        }
    }

    async fn assert_everything(&self, core: &Core) {
        loop {
            let agreed = agree_on_lanes(&self.store, &self.keys, self.lanes).await;
            let recorded = match agreed {
                Ok(()) => reassert::everything(core).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match recorded {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "what this node holds is not recorded yet"),
            }
            sleep(AGAIN).await;
        }
    }
}

impl Others {
    /// Has others see that the node lives under another incarnation.
    async fn see(&self, node: &NodeRef) {
        match self {
            Self::Nobody(live) => live.set(vec![node.clone()]),
            Self::Neighbours(neighbours) => neighbours.live_on_as(node).await,
        }
    }
}
