//! The node's place in Redis: its lease, and what it does when that changes.
//!
//! Owns the order of mode `redis`: lanes agreed on, lease taken, directory opened, everything asserted. After a new
//! incarnation everything held is recorded again before anything found missing counts. A node whose place somebody else
//! has ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use gim_msg_queue::observe::{CountSettled, Observer};
use gim_msg_queue::redis::{LaneOptions, RedisSource};
use gim_msg_queue::source::Source;
use gim_proto::{Incarnation, Keys};
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::directory::redis::{LiveNodes, RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::lease::{Guard, LeaseError, LeaseOptions, LeaseState, NodeLease, RpcProbe};
use gim_proxy_sdk::producer::Bounds;
use gim_proxy_sdk::queue::{LanesError, RedisQueue, agree_on_lanes};
use gim_proxy_sdk::store::{RedisOptions, Store, StoreErrorKind};
use gim_proxy_sdk::upstream::{RedisUpstream, Upstream};
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Candidate, Keeper};
use crate::config::{Config, Invalid};
use crate::core::Core;
use crate::node::StartError;
use crate::reassert;

/// How long a Redis that does not answer yet is waited for at start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries of what Redis did not answer.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a read of a lane waits for entries.
const BLOCK: Duration = Duration::from_secs(1);
/// How long a lane stays owned without a sign of life.
const LANE_LEASE: Duration = Duration::from_secs(6);

/// How long giving back may take: all of it ends by itself.
const GOODBYE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Place {
    lease: NodeLease,
    live: LiveNodes,
    directory: Arc<RedisDirectory>,
    queue: Arc<RedisQueue>,
    sources: Vec<Arc<RedisSource>>,
    store: Store,
    keys: Keys,
    lanes: std::num::NonZeroU16,
    /// Sees every change since the node was named.
    state: watch::Receiver<LeaseState>,
    lost: AtomicBool,
    ring: Notify,
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
    /// Takes the node's place and opens what it has there.
    pub(super) async fn take(
        config: &Config,
        candidate: Candidate,
        observer: &Arc<dyn Observer>,
    ) -> Result<Backend, StartError> {
        let options = config.redis.options()?;
        let store = Store::new(options.clone());
        let keys = Keys::new(&config.prefix).map_err(|_| Invalid::new("prefix", "is no prefix"))?;
        let (lease, voided) = enter(&store, &keys, config, &candidate).await?;
        let opened = Self::open(config, &options, store, keys, lease.clone(), &voided, observer).await;
        if opened.is_err() {
            // Whoever tries next need not wait for the lease to pass.
            let _ = lease.release().await;
        }
        opened
    }

    async fn open(
        config: &Config,
        options: &RedisOptions,
        store: Store,
        keys: Keys,
        lease: NodeLease,
        voided: &[Incarnation],
        observer: &Arc<dyn Observer>,
    ) -> Result<Backend, StartError> {
        // First: what changes from here on is seen by whoever follows.
        let state = lease.state();
        let node = lease.node();
        let live = LiveNodes::new();
        live.set(vec![NodeRef::clone(&node)]);
        let directory = RedisDirectoryOptions {
            keys: keys.clone(),
            cache: config.redis.lookup_cache,
            grace: config.session.membership_grace,
            proof: Some(Arc::clone(lease.proof())),
        };
        let directory = RedisDirectory::connect(options, live.clone(), directory).await?;
        assert_nothing(&lease);
        let queue = RedisQueue::new(&store, keys.clone(), config.queue.lanes, bounds(config));
        let sources = sources(&store, &keys, config, &lease, voided, observer);
        let upstream = config
            .upstream
            .enabled
            .then(|| Arc::new(RedisUpstream::new(&store, &keys, config.upstream.entries)) as Arc<dyn Upstream>);
        let place = Self {
            lease,
            live,
            directory: Arc::clone(&directory),
            queue: Arc::new(queue),
            sources,
            store,
            keys,
            lanes: config.queue.lanes,
            state,
            lost: AtomicBool::new(false),
            ring: Notify::new(),
        };
        Ok(Backend {
            node: NodeRef::clone(&node),
            directory,
            queue: Arc::clone(&place.queue) as Arc<_>,
            sources: place.sources.iter().map(|source| Arc::clone(source) as Arc<dyn Source>).collect(),
            upstream,
            observer: CountSettled::new(&place.queue, observer),
            keeper: Keeper::Redis(Box::new(place)),
            peers: None,
            live: None,
            etcd: None,
        })
    }

    /// What lanes are delivered behind.
    pub(super) fn guard(&self) -> Guard {
        self.lease.guard()
    }

    pub(super) fn close_queue(&self) {
        self.queue.close();
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
                    self.live.set(vec![NodeRef::clone(&node)]);
                    tokio::select! {
                        () = stop.cancelled() => return Followed::ToTheEnd,
                        // A further incarnation begins again with all of it.
                        _ = state.changed() => state.mark_changed(),
                        () = self.assert_everything(&core) => self.lease.proof().assert(since, runs),
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

// Nothing is held yet, so nothing can be missing.
fn assert_nothing(lease: &NodeLease) {
    let since = lease.proof().begin();
    if let LeaseState::Held { runs, .. } = &*lease.state().borrow() {
        lease.proof().assert(since, runs.clone());
    }
}

/// Agrees on the lanes and takes the lease. A Redis that starts at the same time is waited for.
async fn enter(
    store: &Store,
    keys: &Keys,
    config: &Config,
    candidate: &Candidate,
) -> Result<(NodeLease, Vec<Incarnation>), StartError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match try_to_enter(store, keys, config, candidate).await {
            Err(StartError::Redis(error)) if is_passing(&error.kind) && Instant::now() < give_up => {
                tracing::warn!(error = %error, "redis does not answer yet");
                sleep(AGAIN).await;
            }
            other => return other,
        }
    }
}

async fn try_to_enter(
    store: &Store,
    keys: &Keys,
    config: &Config,
    candidate: &Candidate,
) -> Result<(NodeLease, Vec<Incarnation>), StartError> {
    agree_on_lanes(store, keys, config.queue.lanes).await.map_err(|error| match error {
        LanesError::Store(error) => StartError::Redis(error),
        other => StartError::Config(Invalid::new("queue.lanes", format!("must be as in redis: {other}"))),
    })?;
    let rpc = candidate.rpc.to_string();
    let options = LeaseOptions::alone(candidate.id.clone(), &rpc, candidate.public.to_string());
    NodeLease::acquire(store, keys, options, &RpcProbe { own: rpc }).await.map_err(|error| match error {
        LeaseError::Store(error) => StartError::Redis(error),
        held => StartError::Place(held),
    })
}

const fn is_passing(kind: &StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
}

fn bounds(config: &Config) -> Bounds {
    let queue = &config.queue;
    Bounds {
        entries: queue.entries,
        later: queue.later,
        idempotency_window: queue.idempotency_window,
        schedule_ahead: queue.schedule_ahead,
        ..Bounds::default()
    }
}

fn sources(
    store: &Store,
    keys: &Keys,
    config: &Config,
    lease: &NodeLease,
    voided: &[Incarnation],
    observer: &Arc<dyn Observer>,
) -> Vec<Arc<RedisSource>> {
    let of_lane = |lane| {
        let options = LaneOptions {
            lane,
            owner: lease.worker(),
            voided: voided.to_vec(),
            section: config.queue.clone(),
            keys: keys.clone(),
            block: BLOCK,
            lease: LANE_LEASE,
        };
        RedisSource::new(store, options, Arc::clone(observer))
    };
    (0..config.queue.lanes.get()).map(of_lane).collect()
}
