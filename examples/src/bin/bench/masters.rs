//! What masters of Redis cost, and whether several add up: the same logins and the same messages over one Redis and over a
//! Redis Cluster of several masters.
//!
//! Mode `cluster`: a node, a worker and an etcd beside the masters, each a process of its own. Several masters share the load
//! client's core, so what counts is the CPU time of each, not how much all of them could do.

use std::path::PathBuf;
use std::time::Duration;

use gim_proxy_sdk::bench::feed::Class;
use gim_proxy_sdk::bench::figures::{Figures, Server};
use gim_proxy_sdk::bench::process::cpu;
use gim_proxy_sdk::bench::run::{Kind, Plan, Way, run};
use gim_proxy_sdk::testing::{RedisCluster, RedisServer};
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};

use crate::args::Settings;
use crate::machine::Cores;
use crate::service::Servers;
use crate::turn::median_of;
use crate::{Result, clock, load};

/// The fewest that a Redis Cluster has; one alone is a single Redis.
pub(crate) const CLUSTER: usize = 3;

const PREFIX: &str = "gim";
/// Before anything is read off: what starts late has started.
const SETTLE: Duration = Duration::from_secs(3);
/// How long nothing is done, to see what that costs.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) struct Masters {
    pub(crate) runs: Vec<Run>,
}

/// A service on so many masters, and what it did.
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) masters: usize,
    pub(crate) loads: Vec<Cost>,
}

/// What one load cost: CPU microseconds of each process, per login, per message, or per second where nothing was done.
pub(crate) struct Cost {
    pub(crate) load: &'static str,
    pub(crate) node: f64,
    pub(crate) worker: f64,
    pub(crate) masters: Vec<f64>,
    pub(crate) others_seconds: f64,
    /// What `gim bench` found, where something was done.
    pub(crate) figures: Option<Figures>,
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(&Run)) -> Result<Masters> {
    let mut runs = Vec::new();
    let mut counts = settings.masters.clone();
    for round in 1..=settings.rounds {
        for &masters in &counts {
            let loads = Stage::start(masters, settings, cores)?.loads(masters, settings, cores)?;
            let run = Run { round, masters, loads };
            seen(&run);
            runs.push(run);
        }
        // Who comes later may find another machine.
        counts.reverse();
    }
    Ok(Masters { runs })
}

/// One or several, on the conductor's core.
enum Store {
    Single(RedisServer),
    Cluster(RedisCluster),
}

impl Store {
    async fn start(masters: usize) -> Self {
        match masters {
            1 => Self::Single(RedisServer::start().await),
            _ => Self::Cluster(RedisCluster::start_of(masters, None, 0).await),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Single(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Single(server) => vec![server.pid()],
            Self::Cluster(cluster) => cluster.pids(),
        }
    }

    fn folder(&self) -> PathBuf {
        match self {
            Self::Single(server) => server.folder().to_owned(),
            Self::Cluster(cluster) => cluster.folder().to_owned(),
        }
    }
}

/// Everything up, nobody connected. What stands on the store goes before it.
struct Stage {
    servers: Servers,
    store: Store,
    _runtime: Runtime,
}

impl Stage {
    fn start(masters: usize, settings: &Settings, cores: Cores) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let store = runtime.block_on(Store::start(masters));
        let lanes = format!("queue.lanes={}", settings.times(masters) * u64::from(settings.lanes));
        let servers = Servers::start(1, &store.url(), &[lanes], &store.folder(), &runtime, cores)?;
        clock::sleep(SETTLE);
        Ok(Self { servers, store, _runtime: runtime })
    }

    fn loads(&self, masters: usize, settings: &Settings, cores: Cores) -> Result<Vec<Cost>> {
        let unicast = |rate, class| Kind::Unicast { rate: settings.times(masters) * rate, ids: false, class };
        Ok(vec![
            self.idle()?,
            self.load("login", settings.connections, Kind::Idle, settings, cores)?,
            self.load("unicast", settings.members, unicast(settings.unicast_rate, Class::Live), settings, cores)?,
            self.load("durable", settings.members, unicast(settings.durable_rate, Class::Durable), settings, cores)?,
        ])
    }

    /// Whose CPU time is read: the node, the worker, then the masters.
    fn pids(&self) -> Vec<u32> {
        let servers = self.servers.nodes.iter().map(|node| node.pid()).chain([self.servers.worker.pid()]);
        servers.chain(self.store.pids()).collect()
    }

    fn idle(&self) -> Result<Cost> {
        let read = || self.pids().into_iter().map(|pid| Ok(cpu(pid)?.total)).collect::<Result<Vec<f64>>>();
        let before = read()?;
        clock::sleep(IDLE);
        let spent = read()?.into_iter().zip(before).map(|(after, before)| (after - before) / IDLE.as_secs_f64() * 1e6);
        Cost::new("idle", spent.collect(), 0.0, None)
    }

    fn load(&self, load: &'static str, hold: usize, kind: Kind, settings: &Settings, cores: Cores) -> Result<Cost> {
        let is_login = kind == Kind::Idle;
        let way = Way::Sdk(self.store.url(), PREFIX.to_owned());
        let plan = Plan {
            seconds: if is_login { 1 } else { settings.seconds },
            processes: self.pids().iter().map(u32::to_string).collect(),
            ..load::plan(&self.servers.public(), hold, way, settings, cores)?
        };
        let figures = run(&plan, kind, &mut |_| {})?;
        let each = figures.servers.iter().map(|server: &Server| server.cpu_us_each).collect();
        Cost::new(load, each, figures.others_cpu_seconds, Some(figures))
    }
}

impl Cost {
    /// `each`: of the node, of the worker, then of the masters.
    fn new(load: &'static str, each: Vec<f64>, others_seconds: f64, figures: Option<Figures>) -> Result<Self> {
        let [node, worker, masters @ ..] = &each[..] else { return Err("a process is missing".into()) };
        Ok(Self { load, node: *node, worker: *worker, masters: masters.to_vec(), others_seconds, figures })
    }

    /// Of all masters together.
    pub(crate) fn redis(&self) -> f64 {
        self.masters.iter().sum()
    }

    /// Of the master that had most to do, as a multiple of an even share.
    pub(crate) fn uneven(&self) -> f64 {
        self.masters.iter().copied().fold(0.0, f64::max) * self.masters.len() as f64 / self.redis()
    }

    /// Half of the messages, or of the logins, took no longer, and 99 of 100.
    pub(crate) fn latency_us(&self) -> Option<(u64, u64)> {
        let figures = self.figures.as_ref()?;
        let latency = figures.turn.as_ref().map_or(&figures.logins.latency, |turn| &turn.latency);
        Some((latency.p50_us, latency.p99_us))
    }

    /// Why it is not to be believed, or not good.
    pub(crate) fn problems(&self) -> &[String] {
        self.figures.as_ref().map_or(&[], |figures| &figures.problems)
    }

    fn to_json(&self) -> Value {
        json!({
            "load": self.load, "node_us": self.node, "worker_us": self.worker, "masters_us": self.masters,
            "redis_us": self.redis(), "others_cpu_seconds": self.others_seconds, "figures": self.figures,
        })
    }
}

impl Run {
    pub(crate) fn cost(&self, load: &str) -> Option<&Cost> {
        self.loads.iter().find(|cost| cost.load == load)
    }
}

impl Masters {
    /// The median over the rounds of something of one load on so many masters.
    pub(crate) fn median(&self, masters: usize, load: &str, of: impl Fn(&Cost) -> f64) -> f64 {
        let runs = self.runs.iter().filter(|run| run.masters == masters);
        median_of(runs.filter_map(|run| run.cost(load)).map(of).collect())
    }

    pub(crate) fn to_json(&self) -> Value {
        let run = |run: &Run| {
            let loads: Vec<Value> = run.loads.iter().map(Cost::to_json).collect();
            json!({ "round": run.round, "masters": run.masters, "loads": loads })
        };
        json!({ "runs": self.runs.iter().map(run).collect::<Vec<_>>() })
    }
}
