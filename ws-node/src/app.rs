//! The composition root: the only file that knows which adapter stands behind which port.
//!
//! Owns what runs as long as the node does. Mode `local` has directory, queue and worker in this process.

mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gim_msg_queue::clock::SystemClock;
use gim_msg_queue::local::LocalQueue;
use gim_msg_queue::logging::LogGuard;
use gim_msg_queue::observe::{Observer, Telemetry, WorkerMetrics};
use gim_proto::Incarnation;
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::directory::local::LocalDirectory;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::worker::EmbeddedWorker;
use crate::config::Config;
use crate::core::{Core, Parts, Settings};
use crate::embed::Handlers;
use crate::listener::{self, Admission};
use crate::metrics::Metrics;
use crate::node::StartError;
use crate::shutdown::{self, Phase, ShutdownReport};
use crate::{heartbeat, http, rpc};

/// What runs as long as the node does.
pub(crate) struct Running {
    pub(crate) core: Arc<Core>,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) rpc: SocketAddr,
    queue: Arc<LocalQueue>,
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
    let listeners = Listeners::open(&config).await?;
    let (public, admin, rpc) = listeners.addresses(&config)?;
    let node = NodeRef { id: config.node.name(&host_name(), rpc.port())?, incarnation: Incarnation::mint() };
    let metrics = Metrics::new();
    let observer: Arc<dyn Observer> =
        Arc::new(Telemetry::new(WorkerMetrics::new(metrics.recorder(), config.queue.lanes)));
    let queue = LocalQueue::with(config.queue.clone(), Arc::new(SystemClock), Arc::clone(&observer));
    let core = Core::new(Parts {
        directory: Arc::new(LocalDirectory::new(node.clone())),
        node,
        queue: Arc::clone(&queue) as Arc<_>,
        settings: Settings::of(&config),
        handlers,
        admission: Admission::new(&config.limits),
        metrics,
        log,
    });
    let worker = EmbeddedWorker::start(&core, &queue, observer, &config.worker);
    let running = Arc::new(Running {
        core,
        public,
        admin,
        rpc,
        queue,
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
    async fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            public: open("listen.public", config.listen.public).await?,
            admin: open("listen.admin", config.listen.admin).await?,
            rpc: open("listen.rpc", config.listen.rpc).await?,
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

async fn open(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    // A queue of 1,024: logins come in storms.
    let listen = || {
        let socket =
            if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1_024)
    };
    listen().map_err(|source| StartError::Listen { key, address, source })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Running {
    fn serve(&self, listeners: Listeners, config: &Config) {
        let core = &self.core;
        let page = http::public_router(Arc::clone(core), config.limits.page, self.admin.to_string());
        let admin = http::admin_router(Arc::clone(core), config.admin.token.clone());
        let stop = &self.stop_surfaces;
        self.tasks.spawn(listener::serve(Arc::clone(core), listeners.public, page, self.stop_public.clone()));
        self.tasks.spawn(http::serve(Arc::clone(core), listeners.admin, admin, stop.clone()));
        self.tasks.spawn(rpc::serve(Arc::clone(core), listeners.rpc, stop.clone()));
        self.tasks.spawn(heartbeat::run(Arc::clone(core), stop.clone()));
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
        self.queue.close();
        core.enter(Phase::DrainingQueue);
        let drained = self.worker.drain(shutdown::queue_deadline(core, &core.settings.drain, start)).await;
        core.enter(Phase::DrainingSessions);
        let (clean, forced) = shutdown::drain_sessions(core, &core.settings.drain, deadline).await;
        self.stop_public.cancel();
        self.stop_surfaces.cancel();
        self.tasks.close();
        let _cut = tokio::time::timeout_at(deadline.max(Instant::now() + LAST_CALLS), self.tasks.wait()).await;
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
