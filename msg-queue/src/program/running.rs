//! The composition root of the worker: the only file that knows which adapter stands behind which port.
//!
//! Owns what runs as long as the worker does, and the order of its end: not ready, out of the team with every lane drained
//! and given back, the listener last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::worker::Ports;
use futures_util::FutureExt;
use gim_proto::{Incarnation, Keys, NodeId};
use gim_proxy_sdk::client::ClientOptions;
use gim_proxy_sdk::directory::Directory as _;
use gim_proxy_sdk::directory::redis::{RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::etcd::Watcher;
use gim_proxy_sdk::ledger::RedisLedger;
use gim_proxy_sdk::mailbox::{Mailboxes as _, RedisMailboxes};
use gim_proxy_sdk::membership::Membership;
use gim_proxy_sdk::peers::Peers;
use gim_proxy_sdk::producer::Bounds;
use gim_proxy_sdk::queue::{LaneStats, Queue, RedisQueue};
use gim_proxy_sdk::store::{CrowdedCalls, Store};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant, interval, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin;
use super::config::Config;
use super::enter::{StartError, enter};
use super::figures::Figures;
use crate::logging::LogGuard;
use crate::observe::{CountSettled, Observer, Telemetry, WorkerMetrics};
use crate::remote::RemoteDeliver;
use crate::team::{Team, TeamPorts};
use crate::worker::DrainReport;
use crate::{admin as surface, host};

/// How long whoever asks for the worker's state waits for Redis.
const LOOK: Duration = Duration::from_secs(1);
/// How often the samples of histograms are condensed.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long calls under way on the admin listener get once everything else is down.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Where a worker stands between start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Works on its share of the lanes.
    Running = 0,
    /// Delivers and settles what it has read, and gives its lanes back.
    Draining = 1,
    /// Everything is down.
    Stopped = 2,
}

impl Phase {
    /// The word in logs and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// A running worker. Dropping it stops nothing in order: call [`Running::stop`].
pub struct Running {
    admin: SocketAddr,
    standing: Arc<Standing>,
    deadline: Duration,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the worker and its admin listener have in common.
pub(super) struct Standing {
    pub(super) id: NodeId,
    pub(super) me: Incarnation,
    pub(super) team: Team,
    pub(super) membership: Arc<Membership>,
    pub(super) watcher: Watcher,
    pub(super) peers: Peers,
    pub(super) figures: Figures,
    pub(super) log: Option<Arc<LogGuard>>,
    directory: Arc<RedisDirectory>,
    mailboxes: Arc<RedisMailboxes>,
    pub(super) ledger: Arc<RedisLedger>,
    pub(super) store: Store,
    queue: Arc<RedisQueue>,
    phase: AtomicU8,
}

impl Running {
    /// Starts a worker. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// The configuration makes no sense here, its address is taken, or Redis does not answer for 10 s.
    pub async fn start(config: Config, log: Option<Arc<LogGuard>>) -> Result<Self, StartError> {
        let listener = listen(config.listen.admin)?;
        let admin =
            listener.local_addr().map_err(|source| StartError::Listen { address: config.listen.admin, source })?;
        let id = config.node.name(&host::name(), admin.port())?;
        let store = Store::new(config.redis.options()?);
        let keys = config.keys()?;
        // Boxed: the types of so many calls are more than the compiler looks through.
        let (watcher, membership) = enter(&config, &store, &keys).boxed().await?;
        let standing = Standing::open(&config, id, store, keys, (watcher, membership), log).boxed().await?;
        let running = Self {
            admin,
            standing: Arc::new(standing),
            deadline: config.shutdown.deadline,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        running.serve(listener, &config);
        Ok(running)
    }

    /// Where operators ask.
    #[must_use]
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// The worker's name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.standing.id
    }

    /// Stops in order, within `shutdown.deadline`: what was read is delivered and settled, the lanes are given back.
    pub async fn stop(&self) -> DrainReport {
        let standing = &self.standing;
        let deadline = Instant::now() + self.deadline;
        standing.enter(Phase::Draining);
        let report = standing.team.drain(deadline).await;
        self.stop.cancel();
        self.tasks.close();
        let _cut = timeout_at(deadline.max(Instant::now() + LAST_CALLS), self.tasks.wait()).await;
        standing.directory.close().await;
        standing.mailboxes.close().await;
        standing.enter(Phase::Stopped);
        tracing::info!(settled = report.settled, unsettled = report.unsettled, "worker stopped");
        report
    }

    fn serve(&self, listener: TcpListener, config: &Config) {
        let routes = admin::router(Arc::clone(&self.standing), config.admin.token.clone());
        let counters = self.standing.figures.counters();
        self.tasks.spawn(surface::serve(listener, routes, counters, self.stop.clone()));
        let (standing, stop) = (Arc::clone(&self.standing), self.stop.clone());
        self.tasks.spawn(async move {
            let mut ticks = interval(UPKEEP);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                standing.figures.exporter.upkeep();
            }
        });
    }
}

impl Standing {
    /// What the connections of directory and mailboxes were too crowded for.
    pub(super) fn crowded(&self) -> CrowdedCalls {
        self.directory.crowded().unwrap_or_default() + self.mailboxes.stats().crowded
    }

    async fn open(
        config: &Config,
        id: NodeId,
        store: Store,
        keys: Keys,
        (watcher, membership): (Watcher, Arc<Membership>),
        log: Option<Arc<LogGuard>>,
    ) -> Result<Self, StartError> {
        let figures = Figures::new();
        let directory = directory(config, &store, &keys, &membership).await?;
        let options = ClientOptions::between_processes(config.rpc.shown());
        let peers = Peers::new(membership.live().clone(), options);
        let queue = Arc::new(RedisQueue::new(&store, keys.clone(), config.queue.lanes, Bounds::default()));
        let told: Arc<dyn Observer> =
            Arc::new(Telemetry::new(WorkerMetrics::new(figures.exporter.recorder(), config.queue.lanes)));
        let mailboxes = RedisMailboxes::connect(store.options(), keys.clone(), config.mailbox.bounds()).await?;
        let ledger = RedisLedger::new(&store, keys.clone(), config.ledger.bounds());
        let ports = Ports {
            name: id.clone(),
            directory: Arc::clone(&directory) as Arc<_>,
            mailboxes: Arc::clone(&mailboxes) as Arc<_>,
            ledger: Arc::clone(&ledger) as Arc<_>,
            deliver: Arc::new(RemoteDeliver::new(peers.clone())),
            observer: CountSettled::new(&queue, &told),
        };
        let me = Incarnation::mint();
        let team = Team::start(TeamPorts {
            store: store.clone(),
            keys,
            lanes: config.queue.lanes,
            queue: config.queue.clone(),
            worker: config.worker.clone(),
            ports,
            me,
            id: id.clone(),
            voided: Vec::new(),
        });
        let phase = AtomicU8::new(Phase::Running as u8);
        Ok(Self {
            id,
            me,
            team,
            membership,
            watcher,
            peers,
            figures,
            log,
            directory,
            mailboxes,
            ledger,
            store,
            queue,
            phase,
        })
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
        tracing::info!(phase = phase.as_str(), "worker enters phase");
    }

    /// Whether Redis tells right now who lives. Those who ask at the same time share the look.
    pub(super) async fn redis_is_well(&self) -> bool {
        timeout(LOOK, self.membership.look()).await.is_ok_and(|looked| looked.is_ok())
    }

    /// Figures of all lanes. None while Redis is away.
    pub(super) async fn lanes(&self, redis_is_well: bool) -> Vec<LaneStats> {
        match redis_is_well {
            true => self.queue.stats().await.unwrap_or_default(),
            false => Vec::new(),
        }
    }
}

async fn directory(
    config: &Config,
    store: &Store,
    keys: &Keys,
    membership: &Arc<Membership>,
) -> Result<Arc<RedisDirectory>, StartError> {
    let options = RedisDirectoryOptions {
        cache: config.redis.lookup_cache,
        proof: Some(Arc::clone(membership.proof())),
        judge: Some(Arc::clone(membership) as Arc<_>),
        ..RedisDirectoryOptions::new(keys.clone())
    };
    Ok(RedisDirectory::connect(store.options(), membership.live().clone(), options).await?)
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    surface::listen(address).map_err(|source| StartError::Listen { address, source })
}
