//! Paced unicast: messages to random users, from an entry on a Redis stream to the socket; floor and node by turns of a
//! second, then the node alone.
//!
//! The share of the floor is read where both take turns, latency where the node is alone: a floor that waits for its turn
//! holds two open files per connection, and machines have programs that walk all open files, at the cost of whoever shares
//! their core.
//!
//! The node is the program `ws-node` in mode `redis` with the worker inside. The entries are put on the stream by plain
//! `XADD`, as a program does that knows nothing of this project. The floor is [`crate::relay`].

pub(crate) mod pace;

use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::args::Settings;
use crate::child::Child;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::process::{self, Cpu};
use crate::redis::{Commands, Redis};
use crate::service::Service;
use crate::turn::{Paced, Pids, Round, Spent, Turn, median, median_of};

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

pub(crate) struct Unicast {
    pub(crate) rounds: Vec<Round>,
    /// After each round, the node with no other connections on the machine.
    pub(crate) alone: Vec<Turn>,
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

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(usize, &Round, &Turn)) -> Result<Unicast> {
    let (mut rounds, mut alone) = (Vec::with_capacity(settings.rounds), Vec::with_capacity(settings.rounds));
    for number in 1..=settings.rounds {
        let round = round(settings, cores)?;
        let turn = Stage::start(Server::node(settings, cores)?, settings, cores)?.alone(settings)?;
        seen(number, &round, &turn);
        rounds.push(round);
        alone.push(turn);
    }
    let apart = Stage::start(Server::apart(settings, cores)?, settings, cores)?.alone(settings)?;
    Ok(Unicast { rounds, alone, apart })
}

/// Both servers are up with all their clients.
fn round(settings: &Settings, cores: Cores) -> Result<Round> {
    let floor = Stage::start(Server::relay(cores)?, settings, cores)?;
    let node = Stage::start(Server::node(settings, cores)?, settings, cores)?;
    Round::by_turns(floor, node, settings)
}

/// A server and its clients, and what they have done so far.
struct Stage {
    server: Server,
    load: Load,
    pace: Pace,
    users: u64,
    pids: Pids,
    /// What Redis had been asked before.
    commands: Option<Commands>,
    messages: u64,
    spent: Spent,
    /// How often Redis was asked whether everything is settled.
    asked: u64,
}

impl Stage {
    /// A fresh server and a fresh client: no round inherits anything from the one before.
    fn start(mut server: Server, settings: &Settings, cores: Cores) -> Result<Self> {
        let mut load = Load::start(&server.address(), settings.members, None, cores)?;
        let users = load.logged_in()?;
        let mut pace = Pace::new(users, settings);
        // A second that nobody counts.
        load.begin()?;
        send(&mut server, &mut pace, settings.unicast_rate)?;
        load.end(settings.unicast_rate, GRACE)?;
        server.settle()?;
        // Counted from here to the end, also while the other server has its turn: what comes late or twice shows.
        load.begin()?;
        let pids = server.pids(&load);
        let commands = server.redis().map(Redis::commands).transpose()?;
        Ok(Self { server, load, pace, users, pids, commands, messages: 0, spent: Spent::default(), asked: 0 })
    }
}

impl Paced for Stage {
    /// Sends for a second, and waits until the queue is done, too.
    fn second(&mut self, settings: &Settings) -> Result<()> {
        let before = Spent::until_now(self.pids)?;
        let worker_before = self.server.worker_seconds()?;
        send(&mut self.server, &mut self.pace, settings.unicast_rate)?;
        self.messages += settings.unicast_rate;
        self.load.arrived(self.messages, GRACE)?;
        self.asked += self.server.settle()?;
        let mut spent = Spent::until_now(self.pids)?.since(before);
        spent.add_worker(self.server.worker_seconds()?.since(worker_before));
        self.spent = self.spent.and(spent);
        Ok(())
    }

    fn end(mut self) -> Result<Turn> {
        let report = self.load.end(self.messages, GRACE)?;
        let mut turn = Turn::new(&report, self.users, self.messages, self.spent)?;
        if let (Some(redis), Some(before)) = (self.server.redis(), self.commands) {
            match redis.set_aside()? {
                0 => {}
                aside => return Err(format!("{aside} entries were put aside or are dead").into()),
            }
            let since = redis.commands()?.since(&before);
            turn.commands = Some(since.without("xinfo|groups", self.asked).without("xinfo|stream", self.asked));
        }
        Ok(turn)
    }
}

fn send(server: &mut Server, pace: &mut Pace, messages: u64) -> Result<()> {
    match server {
        Server::Relay { child, .. } => pace.send(messages, Sink::Lines(child)),
        Server::Node { redis, .. } => pace.send(messages, Sink::Stream(redis)),
        Server::Apart(service) => pace.send(messages, Sink::Stream(&mut service.redis)),
    }
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

    /// Waits until the queue is done. Returns how often it was asked.
    fn settle(&mut self) -> Result<u64> {
        self.redis().map_or(Ok(0), |redis| redis.settled(LOOK, GRACE))
    }
}

impl Unicast {
    pub(crate) fn ratio(&self) -> f64 {
        median(&self.rounds, Round::ratio)
    }

    pub(crate) fn p50_us(&self) -> f64 {
        median_of(self.alone.iter().map(|turn| turn.p50_us as f64).collect())
    }

    pub(crate) fn p99_us(&self) -> f64 {
        median_of(self.alone.iter().map(|turn| turn.p99_us as f64).collect())
    }

    pub(crate) fn to_json(&self) -> Value {
        let (ratio, p50, p99) = (self.ratio(), self.p50_us(), self.p99_us());
        json!({
            "rounds": self.rounds.iter().map(Round::to_json).collect::<Vec<_>>(),
            "median_ratio": ratio, "target_ratio": TARGET, "met": ratio >= TARGET,
            "alone": self.alone.iter().map(Turn::to_json).collect::<Vec<_>>(), "worker_apart": self.apart.to_json(), "median_p50_us": p50, "target_p50_us": TARGET_P50_US, "p50_met": p50 < TARGET_P50_US,
            "median_p99_us": p99, "target_p99_us": TARGET_P99_US, "p99_met": p99 < TARGET_P99_US,
        })
    }
}
