//! Paced unicast: messages to random users, from an entry on a Redis stream to the socket; floor and node turn by turn.
//!
//! The node is the program `ws-node` in mode `redis` with the worker inside. The entries are put on the stream by plain
//! `XADD`, as a program does that knows nothing of this project. The floor is [`crate::relay`].

pub(crate) mod pace;

use std::time::Duration;

use gim_proxy_sdk::bench::report::Report;
use serde_json::{Value, json};

use crate::Result;
use crate::args::Settings;
use crate::child::Child;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::process::{self, Cpu};
use crate::redis::Redis;
use crate::service::Service;
use crate::turn::{Pids, Round, Spent, Turn, median};

use self::pace::{Pace, Sink};

/// The share of the floor that a node should reach, at least.
pub(crate) const TARGET: f64 = 0.70;
/// What half of the messages, and 99 of 100, may take from `XADD` to the client.
pub(crate) const TARGET_P50_US: f64 = 600.0;
pub(crate) const TARGET_P99_US: f64 = 5_000.0;

const START: Duration = Duration::from_secs(10);
/// How long after its last message a turn may take. What comes later counts as lost.
const GRACE: Duration = Duration::from_secs(30);
/// Between two looks whether everything is settled.
const LOOK: Duration = Duration::from_millis(20);
/// Before figures are read: what is settled in the background is settled.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) struct Unicast {
    pub(crate) rounds: Vec<Round>,
    /// The same once, with a worker in a process of its own. No target is set for it.
    pub(crate) apart: Turn,
}

enum Server {
    Relay {
        child: Child,
        address: String,
    },
    Node {
        node: Node,
        redis: Box<Redis>,
    },
    /// Mode cluster: node and worker in processes of their own, and etcd.
    Apart(Box<Service>),
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(usize, &Round)) -> Result<Unicast> {
    let mut rounds = Vec::with_capacity(settings.rounds);
    for number in 1..=settings.rounds {
        let floor = turn(Server::relay(cores)?, settings, cores)?;
        let node = turn(Server::node(settings, cores)?, settings, cores)?;
        let round = Round::new(floor, node)?;
        seen(number, &round);
        rounds.push(round);
    }
    let apart = turn(Server::apart(settings, cores)?, settings, cores)?;
    Ok(Unicast { rounds, apart })
}

/// A fresh server and a fresh client: no turn inherits anything from the one before.
fn turn(mut server: Server, settings: &Settings, cores: Cores) -> Result<Turn> {
    let mut load = Load::start(&server.address(), settings.members, None, cores)?;
    let users = load.logged_in()?;
    let mut pace = Pace::new(users, settings);
    // A second that nobody counts.
    send(&mut server, &mut load, &mut pace, settings.unicast_rate)?;
    let pids = server.pids(&load);
    let commands = server.redis().map(Redis::commands).transpose()?;
    let before = Spent::until_now(pids)?;
    let worker_before = server.worker_seconds()?;
    let messages = settings.seconds * settings.unicast_rate;
    let report = send(&mut server, &mut load, &mut pace, messages)?;
    let asked = server.settle()?;
    let mut spent = Spent::until_now(pids)?.since(before);
    spent.add_worker(server.worker_seconds()?.since(worker_before));
    let mut turn = Turn::new(&report, users, messages, spent)?;
    if let (Some(redis), Some(before)) = (server.redis(), commands) {
        let since = redis.commands()?.since(&before);
        turn.commands = Some(since.without("xinfo|groups", asked).without("xinfo|stream", asked));
    }
    Ok(turn)
}

fn send(server: &mut Server, load: &mut Load, pace: &mut Pace, messages: u64) -> Result<Report> {
    load.begin()?;
    match server {
        Server::Relay { child, .. } => pace.send(messages, Sink::Lines(child))?,
        Server::Node { redis, .. } => pace.send(messages, Sink::Stream(redis))?,
        Server::Apart(service) => pace.send(messages, Sink::Stream(&mut service.redis))?,
    }
    load.end(messages, GRACE)
}

impl Server {
    fn relay(cores: Cores) -> Result<Self> {
        let mut child = Child::start(&["serve-relay"], cores.server, &[])?;
        let address = child.hear(START)?["address"].as_str().ok_or("the floor has no address")?.to_owned();
        Ok(Self::Relay { child, address })
    }

    fn node(settings: &Settings, cores: Cores) -> Result<Self> {
        let redis = Box::new(Redis::start(settings)?);
        Ok(Self::Node { node: Node::on(&redis, cores)?, redis })
    }

    fn apart(settings: &Settings, cores: Cores) -> Result<Self> {
        Ok(Self::Apart(Box::new(Service::start(1, settings, cores)?)))
    }

    fn address(&self) -> String {
        match self {
            Self::Relay { address, .. } => address.clone(),
            Self::Node { node, .. } => node.public.clone(),
            Self::Apart(service) => service.public(),
        }
    }

    /// CPU of a worker in a process of its own.
    fn worker_seconds(&self) -> Result<Cpu> {
        match self {
            Self::Apart(service) => process::cpu(service.worker_pid()),
            Self::Relay { .. } | Self::Node { .. } => Ok(Cpu::default()),
        }
    }

    fn pids(&self, load: &Load) -> Pids {
        let load = Some(load.pid());
        match self {
            Self::Relay { child, .. } => Pids { server: child.pid(), load, redis: None },
            Self::Node { node, redis } => Pids { server: node.pid(), load, redis: Some(redis.pid()) },
            Self::Apart(service) => Pids { server: service.node_pid(), load, redis: Some(service.redis.pid()) },
        }
    }

    fn redis(&mut self) -> Option<&mut Redis> {
        match self {
            Self::Relay { .. } => None,
            Self::Node { redis, .. } => Some(redis),
            Self::Apart(service) => Some(&mut service.redis),
        }
    }

    /// Waits until the queue is done, too. Returns how often it was asked.
    fn settle(&mut self) -> Result<u64> {
        let Some(redis) = self.redis() else { return Ok(0) };
        let asked = redis.settled(LOOK, GRACE)?;
        crate::clock::sleep(SETTLE);
        match redis.set_aside()? {
            0 => Ok(asked),
            aside => Err(format!("{aside} entries were put aside or are dead").into()),
        }
    }
}

impl Unicast {
    pub(crate) fn ratio(&self) -> f64 {
        median(&self.rounds, Round::ratio)
    }

    pub(crate) fn p50_us(&self) -> f64 {
        median(&self.rounds, |round| round.node.p50_us as f64)
    }

    pub(crate) fn p99_us(&self) -> f64 {
        median(&self.rounds, |round| round.node.p99_us as f64)
    }

    pub(crate) fn to_json(&self) -> Value {
        let (ratio, p50, p99) = (self.ratio(), self.p50_us(), self.p99_us());
        json!({
            "rounds": self.rounds.iter().map(Round::to_json).collect::<Vec<_>>(),
            "median_ratio": ratio, "target_ratio": TARGET, "met": ratio >= TARGET,
            "worker_apart": self.apart.to_json(), "median_p50_us": p50, "target_p50_us": TARGET_P50_US, "p50_met": p50 < TARGET_P50_US,
            "median_p99_us": p99, "target_p99_us": TARGET_P99_US, "p99_met": p99 < TARGET_P99_US,
        })
    }
}
