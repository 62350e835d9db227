//! What every part of one node shares: its name, hub, directory, limits, callbacks and figures.
//!
//! Owns no behaviour beyond the few steps in which hub and directory change together. There is one per node, never one
//! per process: a process may run several nodes.

mod accepted;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use gim_msg_queue::host;
use gim_msg_queue::local::store::LocalStore;
use gim_msg_queue::logging::LogGuard;
use gim_proto::{Fence, Fields, Incarnation, MessageId, SessionId, Tgid, Uid};
use gim_proxy_sdk::directory::{Directory, DirectoryError, Here, NodeRef, OnDuplicate};
use gim_proxy_sdk::lease::Guard;
use gim_proxy_sdk::ledger::Ledger;
use gim_proxy_sdk::mailbox::Mailboxes;
use gim_proxy_sdk::mailbox::local::LocalMailboxes;
use gim_proxy_sdk::members::LiveNodes;
use gim_proxy_sdk::peers::Peers;
use gim_proxy_sdk::queue::{Queue, QueueError};
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::upstream::Upstream;

use tokio::runtime::Handle;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, OnSlow, ShutdownSection};
use crate::embed::Handlers;
use crate::follow::Followers;
use crate::hub::{Group, Hub};
use crate::listener::{Admission, Superseded};
use crate::metrics::{Metrics, Snapshot};
use crate::proxy::Proxy;
use crate::receipts::Receipts;
use crate::session::Session;
use crate::session::inbound::InboundBounds;
use crate::session::outbox::{OutboxBounds, OutboxTotal};
use crate::shutdown::Phase;

/// Pages of mailboxes that are read at once.
const PAGES: usize = 64;

/// See the module.
pub(crate) struct Core {
    /// As whom this process has lived: its run, and what followed each lost lease. The last is now.
    lives: RwLock<Vec<Arc<NodeRef>>>,
    /// What this node holds is recorded under its present incarnation. Until it is, somebody else may own what it holds.
    recorded: AtomicBool,
    /// Where commands without a handler go.
    pub(crate) upstream: Option<Arc<dyn Upstream>>,
    pub(crate) hub: Hub,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) mailboxes: Arc<dyn Mailboxes>,
    pub(crate) ledger: Arc<dyn Ledger>,
    /// Receipts on their way to the ledger.
    pub(crate) receipts: Receipts,
    /// Pages of mailboxes in memory at once.
    pub(crate) page_turns: Semaphore,
    /// Who looks at what single users do.
    pub(crate) followers: Arc<Followers>,
    /// What is told of Redis. None: there is none in this mode.
    redis: Option<Store>,
    pub(crate) settings: Settings,
    pub(crate) handlers: Handlers,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    /// What is known of the node's lease. None: it needs none.
    guard: Option<Guard>,
    /// What of this process is in memory and on disk. None: it is elsewhere.
    kept: Option<Kept>,
    log: Option<Arc<LogGuard>>,
    phase: watch::Sender<Phase>,
    /// The way to other nodes. None: there are none in this mode.
    pub(crate) peers: Option<Peers>,
    /// Tells how the cluster looks from here.
    sight: Option<Sight>,
    /// Who the other nodes are, as far as there are any.
    pub(crate) live: Option<LiveNodes>,
    /// Whom this node could not tell that their uid is somebody else's here.
    pub(crate) superseded: Superseded,
    /// Tasks of sessions, so that a stop can wait for them.
    pub(crate) sessions: TaskTracker,
    pub(crate) runtime: Handle,
    /// Rings when a session has released its uid.
    released: Notify,
    /// For handing out handles to itself.
    this: std::sync::Weak<Self>,
}

/// For whoever looks up users and may begin with those of this node.
impl Here for Core {
    fn node(&self) -> Arc<NodeRef> {
        Self::node(self)
    }

    fn owners(&self, uids: &[Uid]) -> Vec<Option<(SessionId, Fence)>> {
        if !self.recorded.load(Ordering::Acquire) {
            return vec![None; uids.len()];
        }
        self.hub.users.each_active(uids, |session| session.owns_now().then(|| (session.id(), session.fence())))
    }
}

/// The configuration as the hot paths read it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) outbox: OutboxBounds,
    pub(crate) inbound: InboundBounds,
    /// permessage-deflate is agreed on with clients that offer it.
    pub(crate) deflate: bool,
    pub(crate) on_duplicate: OnDuplicate,
    /// 0: no pings.
    pub(crate) ping_ms: u64,
    /// 0: no idle limit.
    pub(crate) keep_time_ms: u64,
    pub(crate) write_progress: Duration,
    pub(crate) handler_deadline: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) membership_grace: Duration,
    pub(crate) groups: usize,
    /// Durable members of one group.
    pub(crate) durable_members: usize,
    /// 0: no bound.
    pub(crate) joins_per_second: u32,
    pub(crate) bad_frames_per_minute: u32,
    pub(crate) handshake: Duration,
    pub(crate) head_bytes: usize,
    pub(crate) head_headers: usize,
    pub(crate) drain: ShutdownSection,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let session = &config.session;
        Self {
            outbox: OutboxBounds {
                bytes: session.outbox_bytes.as_usize(),
                frames: session.outbox_frames,
                close_when_full: session.on_slow == OnSlow::Close,
                total: OutboxTotal::new(session.outbox_total.as_usize()),
            },
            inbound: InboundBounds {
                frame: session.frame_bytes.0,
                message: session.message_bytes.as_usize(),
                deflate: false,
            },
            deflate: session.deflate,
            on_duplicate: session.on_duplicate,
            ping_ms: millis(session.ping),
            keep_time_ms: millis(session.keep_time),
            write_progress: session.write_progress,
            handler_deadline: session.handler_deadline,
            close_timeout: session.close_timeout,
            membership_grace: session.membership_grace,
            groups: session.groups,
            durable_members: config.mailbox.durable_members,
            joins_per_second: session.joins_per_second,
            bad_frames_per_minute: session.bad_frames_per_minute,
            handshake: config.limits.handshake,
            head_bytes: config.limits.request_head.as_usize(),
            head_headers: config.limits.request_headers,
            drain: config.shutdown.clone(),
        }
    }
}

fn millis(span: Option<Duration>) -> u64 {
    span.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// How the cluster looks from a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// etcd answers.
    pub(crate) etcd_is_well: bool,
    /// Nodes that live.
    pub(crate) nodes: u64,
    /// Nodes waited for before anybody counts as offline.
    pub(crate) awaited: u64,
}

/// What a service that is one process has for itself.
pub(crate) struct Kept {
    /// What outlives the process. None: nothing does.
    pub(crate) store: Option<Arc<LocalStore>>,
    pub(crate) mailboxes: Arc<LocalMailboxes>,
}

/// Looks at the cluster. Asks nobody.
pub(crate) type Sight = Box<dyn Fn() -> Cluster + Send + Sync>;

/// What a [`Core`] is made of.
pub(crate) struct Parts {
    pub(crate) node: NodeRef,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) mailboxes: Arc<dyn Mailboxes>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) redis: Option<Store>,
    pub(crate) upstream: Option<Arc<dyn Upstream>>,
    pub(crate) settings: Settings,
    pub(crate) handlers: Handlers,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    pub(crate) guard: Option<Guard>,
    pub(crate) kept: Option<Kept>,
    pub(crate) log: Option<Arc<LogGuard>>,
    pub(crate) peers: Option<Peers>,
    pub(crate) live: Option<LiveNodes>,
    /// Tells how the cluster looks from here, where there is one.
    pub(crate) sight: Option<Sight>,
}

impl Core {
    /// Has to be called within a tokio runtime, which is the node's from then on.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            lives: RwLock::new(vec![Arc::new(parts.node)]),
            recorded: AtomicBool::new(true),
            upstream: parts.upstream,
            hub: Hub::default(),
            directory: parts.directory,
            queue: parts.queue,
            mailboxes: parts.mailboxes,
            ledger: parts.ledger,
            receipts: Receipts::default(),
            page_turns: Semaphore::new(PAGES),
            followers: Arc::default(),
            redis: parts.redis,
            settings: parts.settings,
            handlers: parts.handlers,
            admission: parts.admission,
            metrics: parts.metrics,
            clock: Clock::start(),
            guard: parts.guard,
            kept: parts.kept,
            log: parts.log,
            phase: watch::Sender::new(Phase::Running),
            peers: parts.peers,
            live: parts.live,
            sight: parts.sight,
            superseded: Superseded::default(),
            sessions: TaskTracker::new(),
            runtime: Handle::current(),
            released: Notify::new(),
            this: this.clone(),
        })
    }

    /// Names the node as it lives now.
    pub(crate) fn node(&self) -> Arc<NodeRef> {
        let lives = self.lives.read().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::expect_used, reason = "the list begins with one and only grows")]
        Arc::clone(lives.last().expect("a life"))
    }

    /// Whether a run is this process, now or in a life that the directory may still name.
    pub(crate) fn has_lived_as(&self, run: &Incarnation) -> bool {
        self.lives.read().unwrap_or_else(PoisonError::into_inner).iter().any(|life| life.incarnation == *run)
    }

    /// Goes on under another incarnation, under which nothing is recorded yet.
    pub(crate) fn live_on_as(&self, node: Arc<NodeRef>) {
        const REMEMBERED: usize = 64;
        self.recorded.store(false, Ordering::Release);
        let mut lives = self.lives.write().unwrap_or_else(PoisonError::into_inner);
        if lives.len() >= REMEMBERED {
            lives.remove(0);
        }
        lives.push(node);
    }

    /// Everything this node holds is recorded under its present incarnation.
    pub(crate) fn is_recorded(&self) {
        self.recorded.store(true, Ordering::Release);
    }

    /// A handle with which application code sends.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::new(self.this.clone())
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Shows the phase, and each later one.
    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Moves on to a later phase; the node never goes back.
    pub(crate) fn enter(&self, phase: Phase) {
        let is_later = |now: &mut Phase| {
            let is_later = *now < phase;
            *now = phase.max(*now);
            is_later
        };
        if self.phase.send_if_modified(is_later) {
            self.metrics.phase.set(f64::from(phase as u8));
            tracing::info!(phase = phase.as_str(), "node enters phase");
        }
    }

    /// What has to be passed before each write of a lane's batch. None: nobody else could act in this node's place.
    pub(crate) const fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// What is known of Redis, if the node stands on one.
    pub(crate) const fn redis(&self) -> Option<&Store> {
        self.redis.as_ref()
    }

    /// What is behind the lease, if the node has one outside this process: `redis`, and whether it does its part.
    pub(crate) fn redis_is_well(&self) -> Option<bool> {
        self.guard.as_ref().map(Guard::is_well)
    }

    /// Whether the disk takes what has to outlive the process, if something has to.
    pub(crate) fn store_is_well(&self) -> Option<bool> {
        self.kept.as_ref()?.store.as_ref().map(|store| store.is_well())
    }

    /// How the cluster looks from here, if the node is one of many.
    pub(crate) fn cluster(&self) -> Option<Cluster> {
        self.sight.as_ref().map(|look| look())
    }

    /// Whether new connections are taken.
    pub(crate) fn takes_logins(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Figures that are read when somebody looks.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            sessions: self.hub.users.len() as u64,
            connections: self.admission.held() as u64,
            groups: self.hub.groups.len() as u64,
            redis_is_well: self.redis_is_well(),
            store: self.kept.as_ref().and_then(|kept| kept.store.as_ref()).map(|store| store.figures()),
            mailboxes: self.kept.as_ref().map(|kept| kept.mailboxes.figures()),
            cluster: self.cluster(),
            outbox_bytes: self.settings.outbox.total.bytes() as u64,
            outbox_total_reached: self.settings.outbox.total.reached(),
            dropped_log_lines: self.log.as_ref().map_or(0, |log| log.dropped_lines()),
            resident_bytes: host::resident_bytes(),
            written: self.ledger.written(),
            news: self.directory.news(),
            crowded: self.directory.crowded(),
            possible_losses: self.redis.as_ref().map(|redis| redis.losses().count()),
            followers: self.followers.count() as u64,
            logins: self.admission.logins(),
        }
    }

    /// Puts entries on the queue, all or none, whatever road they came by.
    pub(crate) async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueError> {
        let traced = accepted::traced(&entries);
        let at_us = self.clock.unix_us();
        let ids = self.queue.enqueue(entries).await?;
        self.metrics.enqueued(&ids);
        if !traced.is_empty() {
            self.ledger.note(accepted::hops(&traced, &ids, self.node().id.as_str(), at_us));
        }
        Ok(ids)
    }

    /// Makes a user, connected or not, a durable member of a group. False: the group is full.
    pub(crate) async fn join_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, DirectoryError> {
        let joined = self.directory.join_durably(uid, tgid, self.settings.durable_members).await?;
        if !joined {
            self.metrics.durable_join_refused(uid, tgid);
        }
        Ok(joined)
    }

    /// Has the directory know when a group has lost its last member here.
    pub(crate) async fn settle_group(&self, group: Arc<Group>) {
        if let Err(error) = self.hub.groups.settle(&group, self).await {
            tracing::warn!(tgid = %group.tgid, error = %error, "the directory still names this node for an empty group");
        }
    }

    /// Tells the directory of groups that it could not be told of when they emptied. Not while it is known not to answer:
    /// each would wait for its deadline.
    pub(crate) async fn settle_groups(&self) {
        const SIDE_BY_SIDE: usize = 64;
        if self.redis_is_well() != Some(false) {
            let groups = stream::iter(self.hub.groups.take_unsettled());
            groups.for_each_concurrent(SIDE_BY_SIDE, |group| self.settle_group(group)).await;
        }
    }

    /// Ends the session's ownership of its uid, if it has not passed to another.
    pub(crate) async fn release(&self, session: &Session) {
        let grace = self.settings.membership_grace;
        let released = self.directory.release(session.uid(), session.id(), session.fence(), grace).await;
        if let Err(error) = released {
            tracing::warn!(uid = %session.uid(), error = %error, "release failed, the directory tries again");
        }
        self.released.notify_waiters();
    }

    /// Completes when a session releases its uid after this call.
    pub(crate) fn next_release(&self) -> Notified<'_> {
        self.released.notified()
    }
}
