//! The composition root: the only file that knows which adapter stands behind which port.
//!
//! Owns what runs as long as the node does. What stands behind the ports in each mode is in [`backend`].

mod backend;
mod kept;
mod place;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gim_msg_queue::admin;
use gim_msg_queue::host;
use gim_msg_queue::logging::LogGuard;
use gim_msg_queue::observe::{Observer, Telemetry, WorkerMetrics};
use gim_proto::codes::CloseCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backend::{Backend, Candidate, Keeper};
use self::place::Followed;
use self::worker::EmbeddedWorker;
use crate::config::{Config, Mode};
use crate::core::{Core, Parts, Settings};
use crate::embed::Handlers;
use crate::hub::Users;
use crate::intake::{Intake, Remembers};
use crate::listener::{self, Admission};
use crate::metrics::Metrics;
use crate::node::StartError;
use crate::shutdown::{self, Phase, ShutdownReport};
use crate::{heartbeat, http, rpc};

/// What runs as long as the node does.
pub(crate) struct Running {
    pub(crate) core: Arc<Core>,
    /// What batches pass, from this process's worker and from others'.
    intake: Arc<Intake>,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) rpc: SocketAddr,
    keeper: Keeper,
    worker: EmbeddedWorker,
    stop_public: CancellationToken,
    stop_surfaces: CancellationToken,
    tasks: TaskTracker,
    stopping: AtomicBool,
    report: watch::Sender<Option<ShutdownReport>>,
}

struct Listeners {
    public: TcpListener,
    admin: TcpListener,
    rpc: TcpListener,
}

/// How long calls under way on the admin and RPC listeners get once everything else is down.
const LAST_CALLS: Duration = Duration::from_secs(1);

pub(crate) async fn start(
    config: Config,
    handlers: Handlers,
    log: Option<Arc<LogGuard>>,
) -> Result<Arc<Running>, StartError> {
    listener::raise_open_file_limit();
    let listeners = Listeners::open(&config)?;
    let (public, admin, rpc) = listeners.addresses(&config)?;
    let candidate = Candidate { id: config.node.name(&host::name(), rpc.port())?, public, rpc };
    let metrics = Metrics::new();
    let observer: Arc<dyn Observer> =
        Arc::new(Telemetry::new(WorkerMetrics::new(metrics.recorder(), config.queue.lanes)));
    let backend = Backend::open(&config, candidate, &observer).await?;
    let core = Core::new(Parts {
        node: backend.node,
        directory: backend.directory,
        queue: backend.queue,
        mailboxes: backend.mailboxes,
        ledger: backend.ledger,
        redis: backend.redis,
        upstream: backend.upstream,
        settings: Settings::of(&config),
        handlers,
        admission: Admission::new(&config.limits),
        metrics,
        guard: backend.keeper.place().map(place::Place::guard),
        kept: backend.kept,
        log,
        peers: backend.peers,
        live: backend.live,
        sight: backend.sight,
    });
    let here = Arc::downgrade(&core);
    core.directory.ask_first(here);
    // A worker elsewhere may not hear an answer; the one in this process hears every one.
    let remembers = if config.mode == Mode::Cluster { Remembers::Outcomes } else { Remembers::Nothing };
    let intake = Arc::new(Intake::new(&core, remembers));
    let worker = EmbeddedWorker::start(&core, &intake, backend.work, backend.observer, &config.worker);
    let running = Arc::new(Running {
        core,
        intake,
        public,
        admin,
        rpc,
        keeper: backend.keeper,
        worker,
        stop_public: CancellationToken::new(),
        stop_surfaces: CancellationToken::new(),
        tasks: TaskTracker::new(),
        stopping: AtomicBool::new(false),
        report: watch::Sender::new(None),
    });
    running.serve(listeners, &config);
    Ok(running)
}

impl Listeners {
    fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            public: open("listen.public", config.listen.public)?,
            admin: open("listen.admin", config.listen.admin)?,
            rpc: open("listen.rpc", config.listen.rpc)?,
        })
    }

    fn addresses(&self, config: &Config) -> Result<(SocketAddr, SocketAddr, SocketAddr), StartError> {
        let of = |key, listener: &TcpListener, address| {
            listener.local_addr().map_err(|source| StartError::Listen { key, address, source })
        };
        Ok((
            of("listen.public", &self.public, config.listen.public)?,
            of("listen.admin", &self.admin, config.listen.admin)?,
            of("listen.rpc", &self.rpc, config.listen.rpc)?,
        ))
    }
}

fn open(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    admin::listen(address).map_err(|source| StartError::Listen { key, address, source })
}

impl Running {
    fn serve(self: &Arc<Self>, listeners: Listeners, config: &Config) {
        let core = &self.core;
        let page = http::public_router(Arc::clone(core), config.limits.page, self.admin.to_string());
        let operators = http::admin_router(Arc::clone(core), config.admin.token.clone());
        let stop = &self.stop_surfaces;
        self.tasks.spawn(listener::serve(Arc::clone(core), listeners.public, page, self.stop_public.clone()));
        self.tasks.spawn(admin::serve(listeners.admin, operators, core.metrics.admin_counters(), stop.clone()));
        let calls =
            rpc::Calls { core: Arc::clone(core), intake: Arc::clone(&self.intake), token: config.rpc.token.clone() };
        self.tasks.spawn(rpc::serve(calls, listeners.rpc, stop.clone()));
        self.tasks.spawn(heartbeat::run(Arc::clone(core), stop.clone()));
        let (core, until) = (Arc::clone(&self.core), stop.clone());
        self.tasks.spawn(async move { core.write_receipts(until).await });
        if self.keeper.place().is_some() {
            let running = Arc::clone(self);
            let until = stop.clone();
            self.tasks.spawn(async move { running.follow_place(until).await });
            let (running, until) = (Arc::clone(self), stop.clone());
            self.tasks.spawn(async move { running.live_with_others(until).await });
        }
    }

    async fn live_with_others(&self, stop: CancellationToken) {
        let Some(place) = self.keeper.place() else { return };
        let both = async { tokio::join!(place.be_found(&self.core), place.heed_others(&self.core)) };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = both => {}
        }
    }

    async fn follow_place(&self, stop: CancellationToken) {
        let Some(place) = self.keeper.place() else { return };
        if place.follow(Arc::clone(&self.core), stop).await == Followed::Lost {
            // Nobody comes here any more, and whoever is here reconnects to who has the place.
            self.core.enter(Phase::NotReady);
            self.stop_public.cancel();
            for shard in 0..Users::SHARDS {
                for session in self.core.hub.users.shard(shard) {
                    session.close(CloseCode::Fenced, "another run of the node has its place");
                }
            }
            // Only now: whoever hears it begins to stop, which closes sessions with another code.
            place.tell_lost();
        }
    }

    /// See [`crate::Node::lost`].
    pub(crate) async fn lost(&self) {
        match self.keeper.place() {
            Some(place) => place.lost().await,
            None => std::future::pending().await,
        }
    }

    /// See [`crate::Node::shutdown`]. Begun, it goes on, whether the caller waits or not.
    pub(crate) async fn shutdown(self: &Arc<Self>) -> ShutdownReport {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            let running = Arc::clone(self);
            tokio::spawn(async move {
                let report = running.stop().await;
                running.report.send_replace(Some(report));
            });
        }
        let mut report = self.report.subscribe();
        // The sender is this struct's own, so it is there as long as anybody waits.
        report.wait_for(Option::is_some).await.map(|report| report.unwrap_or_default()).unwrap_or_default()
    }

    async fn stop(&self) -> ShutdownReport {
        let core = &self.core;
        let start = Instant::now();
        let deadline = start + core.settings.drain.deadline;
        core.enter(Phase::NotReady);
        self.keeper.close_queue();
        core.enter(Phase::DrainingQueue);
        let until = match self.keeper.place().is_some_and(place::Place::is_lost) {
            // Nothing it could still do would count.
            true => start,
            false => shutdown::queue_deadline(core, &core.settings.drain, start),
        };
        let drained = self.worker.drain(until).await;
        core.enter(Phase::DrainingSessions);
        let (clean, forced) = shutdown::drain_sessions(core, &core.settings.drain, deadline).await;
        self.stop_public.cancel();
        core.followers.close();
        self.stop_surfaces.cancel();
        self.tasks.close();
        let _cut = tokio::time::timeout_at(deadline.max(Instant::now() + LAST_CALLS), self.tasks.wait()).await;
        self.keeper.leave().await;
        core.enter(Phase::Stopped);
        let report = ShutdownReport { clean, forced, unsettled: drained.unsettled, scheduled: drained.scheduled };
        tracing::info!(
            clean = report.clean,
            forced = report.forced,
            unsettled = report.unsettled,
            scheduled = report.scheduled,
            "node stopped"
        );
        report
    }
}

#[cfg(test)]
mod tests;
