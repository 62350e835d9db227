//! The queue in Redis: how fast entries to single users get onto it, and how fast a node with its worker is done with them.
//!
//! Producer and node work at the same time, as in a service. An entry is done when Redis has it neither unread nor
//! pending. Every turn has a fresh Redis, a fresh node and a fresh client.

mod produce;

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Settings;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::redis::{Commands, Redis};
use crate::turn::{Outcome, Pids, Spent};
use crate::{Result, clock};

pub(crate) use self::produce::Producer;

/// Entries per second that should be enqueued and settled, at least.
pub(crate) const TARGET: f64 = 100_000.0;
/// Users that are connected, in turns where anybody is.
const CONNECTED: usize = 1_000;
/// How long a turn may take, its deliveries too.
const TURN: Duration = Duration::from_mins(2);
/// Between two looks whether everything is settled.
const LOOK: Duration = Duration::from_millis(20);

/// What turns there are: who produces, and whether its users are connected.
const TURNS: [(Producer, bool); 5] = [
    (Producer::Xadd, false),
    (Producer::Sdk, false),
    (Producer::SdkWithIds, false),
    (Producer::Xadd, true),
    (Producer::Sdk, true),
];

/// The same with what is written down about every entry, by `--kept`. Beside the first turn they tell what it costs.
const KEPT: [(Producer, bool); 2] = [(Producer::XaddReceipts, false), (Producer::XaddTraced, false)];

pub(crate) struct Turn {
    pub(crate) producer: Producer,
    /// How many users are connected. Entries are for them alone, or for users of whom none is.
    pub(crate) connected: u64,
    pub(crate) entries: u64,
    pub(crate) enqueue_seconds: f64,
    /// From the first entry to when the last one was settled.
    pub(crate) settle_seconds: f64,
    pub(crate) spent: Spent,
    pub(crate) commands: Commands,
    /// What connected users got.
    pub(crate) outcome: Option<Outcome>,
}

pub(crate) struct Stream {
    pub(crate) redis_version: String,
    pub(crate) turns: Vec<Turn>,
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(bool, &Turn)) -> Result<Stream> {
    let mut found = Stream { redis_version: String::new(), turns: Vec::with_capacity(TURNS.len()) };
    let kept: &[(Producer, bool)] = if settings.kept { &KEPT } else { &[] };
    for (producer, connected) in TURNS.iter().chain(kept).copied() {
        let mut redis = Redis::start(settings)?;
        found.redis_version = redis.version()?;
        let turn = turn(&mut redis, producer, connected, settings, cores)?;
        seen(found.turns.is_empty(), &turn);
        found.turns.push(turn);
    }
    Ok(found)
}

fn turn(redis: &mut Redis, producer: Producer, connected: bool, settings: &Settings, cores: Cores) -> Result<Turn> {
    let node = Node::on(redis, cores)?;
    let mut load = connected.then(|| Load::start(&node.public, CONNECTED, None, cores)).transpose()?;
    let users = load.as_mut().map(Load::logged_in).transpose()?;
    if let Some(load) = &mut load {
        load.begin()?;
    }
    let before = redis.commands()?;
    let pids = Pids { server: node.pid(), load: load.as_ref().map(Load::pid), redis: Some(redis.pid()) };
    let spent_before = Spent::until_now(pids)?;
    let began = clock::now();
    let enqueued = producer.run(redis, users, settings)?;
    let asked = redis.settled(LOOK, TURN)?;
    let settled = clock::now();
    let spent = Spent::until_now(pids)?.since(spent_before).shown();
    let commands = redis.commands()?.since(&before).without("xinfo|groups", asked).without("xinfo|stream", asked);
    if redis.set_aside()? > 0 {
        return Err("entries were put aside or are dead".into());
    }
    let report = load.map(|mut load| load.end(settings.entries, TURN)).transpose()?;
    let seconds = |until: u64| (until - began) as f64 / 1e9;
    Ok(Turn {
        producer,
        connected: users.unwrap_or(0),
        entries: settings.entries,
        enqueue_seconds: seconds(enqueued),
        settle_seconds: seconds(settled),
        spent,
        commands,
        outcome: report.map(|report| report.outcome(settings.entries)),
    })
}

impl Turn {
    pub(crate) fn enqueued_per_second(&self) -> f64 {
        self.entries as f64 / self.enqueue_seconds
    }

    /// Entries enqueued and settled, by the time for both.
    pub(crate) fn settled_per_second(&self) -> f64 {
        self.entries as f64 / self.settle_seconds
    }

    pub(crate) fn met(&self) -> bool {
        self.settled_per_second() >= TARGET
    }

    /// Microseconds per entry.
    pub(crate) fn micros(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.entries as f64
    }

    fn to_json(&self) -> Value {
        json!({
            "producer": self.producer.name(), "connected_users": self.connected, "entries": self.entries,
            "enqueue_seconds": self.enqueue_seconds, "enqueued_per_second": self.enqueued_per_second(),
            "settle_seconds": self.settle_seconds, "settled_per_second": self.settled_per_second(),
            "node_cpu_us": self.micros(self.spent.server.total), "redis_cpu_us": self.micros(self.spent.redis),
            "conductor_cpu_us": self.micros(self.spent.conductor), "others_cpu_seconds": self.spent.others,
            "redis_commands": self.commands.to_json(self.entries),
            "outcome": self.outcome, "target_per_second": TARGET, "met": self.met(),
        })
    }
}

impl Stream {
    pub(crate) fn to_json(&self) -> Value {
        let turns: Vec<Value> = self.turns.iter().map(Turn::to_json).collect();
        json!({ "redis_version": self.redis_version, "turns": turns })
    }
}
