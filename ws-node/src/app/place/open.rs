//! Opening what a node has in its place: the others, the directory, the queue, the lanes.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gim_msg_queue::observe::{CountSettled, Observer};
use gim_msg_queue::redis::{LaneOptions, RedisSource};
use gim_msg_queue::source::Source;
use gim_msg_queue::team::TeamPorts;
use gim_proto::{Incarnation, Keys};
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::directory::redis::{RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::lease::{LeaseState, NodeLease};
use gim_proxy_sdk::ledger::RedisLedger;
use gim_proxy_sdk::mailbox::RedisMailboxes;
use gim_proxy_sdk::members::{Judge, LiveNodes};
use gim_proxy_sdk::producer::Bounds;
use gim_proxy_sdk::queue::RedisQueue;
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::upstream::{RedisUpstream, Upstream};
use tokio::sync::Notify;
use tokio::time::Duration;

use super::enter::{addresses, enter};
use super::neighbours::Neighbours;
use super::{Others, Place};
use crate::app::backend::{Backend, Candidate, Keeper, Work};

use crate::config::{Config, Invalid, Mode};
use crate::node::StartError;

/// How long a read of a lane waits for entries.
const BLOCK: Duration = Duration::from_secs(1);
/// How long a lane stays owned without a sign of life.
const LANE_LEASE: Duration = Duration::from_secs(6);

/// What a node that has its place is opened with.
struct Opening<'a> {
    config: &'a Config,
    store: Store,
    keys: Keys,
    lease: NodeLease,
    voided: Vec<Incarnation>,
    addresses: (String, String),
    observer: &'a Arc<dyn Observer>,
}

impl Place {
    /// Takes the node's place and opens what it has there.
    pub(in crate::app) async fn take(
        config: &Config,
        candidate: Candidate,
        observer: &Arc<dyn Observer>,
    ) -> Result<Backend, StartError> {
        let store = Store::new(config.redis.options()?);
        let keys = Keys::new(&config.prefix).map_err(|_| Invalid::new("prefix", "is no prefix"))?;
        let (lease, voided) = enter(&store, &keys, config, &candidate).await?;
        let addresses = addresses(config, &candidate);
        let opening = Opening { config, store, keys, lease: lease.clone(), voided, addresses, observer };
        let opened = opening.open().await;
        if opened.is_err() {
            // Whoever tries next need not wait for the lease to pass.
            let _ = lease.release().await;
        }
        opened
    }
}

impl Opening<'_> {
    async fn open(self) -> Result<Backend, StartError> {
        // First: what changes from here on is seen by whoever follows.
        let state = self.lease.state();
        let node = self.lease.node();
        let others = self.others(&node).await?;
        let directory = self.directory(&others).await?;
        assert_nothing(&self.lease);
        let mailboxes = RedisMailboxes::beside(&directory, self.config.mailbox.bounds());
        let ledger = RedisLedger::new(&self.store, self.keys.clone(), self.config.ledger.bounds());
        let queue = Arc::new(RedisQueue::new(&self.store, self.keys.clone(), self.config.queue.lanes, self.bounds()));
        let (peers, live, sight) = match &others {
            Others::Nobody(_) => (None, None, None),
            Others::Neighbours(neighbours) => {
                let live = neighbours.membership.live().clone();
                (Some(neighbours.peers.clone()), Some(live), Some(neighbours.sight()))
            }
        };
        let sources = if self.config.mode == Mode::Redis { self.sources() } else { Vec::new() };
        let observer = CountSettled::new(&queue, self.observer);
        let backend = Backend {
            node: NodeRef::clone(&node),
            directory: Arc::clone(&directory) as Arc<_>,
            queue: Arc::clone(&queue) as Arc<_>,
            mailboxes: Arc::clone(&mailboxes) as Arc<_>,
            ledger,
            redis: Some(self.store.clone()),
            work: self.work(&sources),
            upstream: self.upstream(),
            observer,
            peers,
            live,
            sight,
            kept: None,
            keeper: Keeper::Redis(Box::new(Place {
                lease: self.lease,
                others,
                directory,
                mailboxes,
                queue,
                sources,
                store: self.store,
                keys: self.keys,
                lanes: self.config.queue.lanes,
                state,
                lost: AtomicBool::new(false),
                ring: Notify::new(),
            })),
        };
        Ok(backend)
    }

    async fn others(&self, node: &NodeRef) -> Result<Others, StartError> {
        if self.config.mode != Mode::Cluster {
            let live = LiveNodes::new();
            live.set(vec![node.clone()]);
            return Ok(Others::Nobody(live));
        }
        let addresses = self.addresses.clone();
        let neighbours = Neighbours::meet(self.config, &self.store, &self.keys, &self.lease, addresses).await?;
        Ok(Others::Neighbours(Box::new(neighbours)))
    }

    async fn directory(&self, others: &Others) -> Result<Arc<RedisDirectory>, StartError> {
        let (live, proof, judge) = match others {
            Others::Nobody(live) => (live.clone(), self.lease.proof(), None),
            Others::Neighbours(neighbours) => {
                let membership = &neighbours.membership;
                (membership.live().clone(), membership.proof(), Some(Arc::clone(membership) as Arc<dyn Judge>))
            }
        };
        let options = RedisDirectoryOptions {
            keys: self.keys.clone(),
            cache: self.config.redis.lookup_cache,
            grace: self.config.session.membership_grace,
            proof: Some(Arc::clone(proof)),
            judge,
            presence: self.config.ledger.presence.then_some(self.config.ledger.presence_entries),
            mailboxes: Some(self.config.mailbox.bounds().kept()),
        };
        Ok(RedisDirectory::connect(self.store.options(), live, options).await?)
    }

    fn work(&self, sources: &[Arc<RedisSource>]) -> Work {
        match self.config.mode {
            Mode::Local | Mode::Redis => {
                Work::Lanes(sources.iter().map(|source| Arc::clone(source) as Arc<dyn Source>).collect())
            }
            Mode::Cluster if !self.config.worker.embedded => Work::Elsewhere,
            Mode::Cluster => {
                let (store, keys) = (self.store.clone(), self.keys.clone());
                let (config, lease, voided) = (self.config.clone(), self.lease.clone(), self.voided.clone());
                Work::Team(Box::new(move |ports| TeamPorts {
                    store,
                    keys,
                    lanes: config.queue.lanes,
                    queue: config.queue,
                    worker: config.worker,
                    ports,
                    me: lease.worker(),
                    id: lease.node().id.clone(),
                    voided,
                }))
            }
        }
    }

    fn upstream(&self) -> Option<Arc<dyn Upstream>> {
        let section = &self.config.upstream;
        let upstream = || Arc::new(RedisUpstream::new(&self.store, &self.keys, section.entries)) as Arc<dyn Upstream>;
        section.enabled.then(upstream)
    }

    fn bounds(&self) -> Bounds {
        let queue = &self.config.queue;
        Bounds {
            entries: queue.entries,
            later: queue.later,
            idempotency_window: queue.idempotency_window,
            schedule_ahead: queue.schedule_ahead,
            ..Bounds::default()
        }
    }

    fn sources(&self) -> Vec<Arc<RedisSource>> {
        let of_lane = |lane| {
            let options = LaneOptions {
                lane,
                owner: self.lease.worker(),
                voided: self.voided.clone(),
                section: self.config.queue.clone(),
                keys: self.keys.clone(),
                block: BLOCK,
                lease: LANE_LEASE,
            };
            RedisSource::new(&self.store, options, Arc::clone(self.observer))
        };
        (0..self.config.queue.lanes.get()).map(of_lane).collect()
    }
}

// Nothing is held yet, so nothing can be missing.
fn assert_nothing(lease: &NodeLease) {
    let since = lease.proof().begin();
    if let LeaseState::Held { runs, .. } = &*lease.state().borrow() {
        lease.proof().assert(since, runs.clone());
    }
}
