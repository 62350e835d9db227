//! A burst: messages that wait on the queue, to groups of the same members by turns, delivered as fast as it goes.
//!
//! The node is the program `ws-node` in mode `redis` with the worker inside. All entries get onto the stream in one
//! transaction of plain `XADD`, so that the worker finds them waiting. Every message is a frame of its own, which the
//! load client counts, in its order.

use std::time::Duration;

use gim_proxy_sdk::bench::report::Report;
use serde_json::{Value, json};

use crate::args::Settings;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::turn::{Pids, Spent, Turn, median_of};
use crate::{Result, clock, message};

/// Deliveries per second of the node's CPU that should be reached, at least.
pub(crate) const TARGET: f64 = 4_000_000.0;

/// What is not default: a burst is more than the node lets wait for all clients together as shipped.
pub(crate) const ROOM: [&str; 1] = ["session.outbox_total=4GiB"];

/// How long a burst may take. What comes later counts as lost.
const WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether everything is settled.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Burst {
    pub(crate) messages: u64,
    pub(crate) groups: u64,
    pub(crate) turns: Vec<Turn>,
}

struct Stage {
    node: Node,
    redis: Redis,
    load: Load,
    members: u64,
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(usize, &Turn)) -> Result<Burst> {
    let Settings { burst_messages: messages, burst_groups: groups, .. } = *settings;
    let mut turns = Vec::with_capacity(settings.rounds);
    for number in 1..=settings.rounds {
        let turn = Stage::start(settings, cores)?.turn(settings)?;
        seen(number, &turn);
        turns.push(turn);
    }
    Ok(Burst { messages, groups, turns })
}

impl Stage {
    /// A fresh server and a fresh client: no turn inherits anything from the one before.
    fn start(settings: &Settings, cores: Cores) -> Result<Self> {
        let redis = Redis::start(settings)?;
        let node = Node::told(&ROOM, &redis, cores)?;
        let groups: Vec<String> = (0..settings.burst_groups).map(group).collect();
        let mut load = Load::start(&node.public, settings.members, Some(&groups.join(",")), cores)?;
        let members = load.logged_in()?;
        Ok(Self { node, redis, load, members })
    }

    fn turn(mut self, settings: &Settings) -> Result<Turn> {
        // One message to each group that does not count: first allocations, caches.
        self.send(0, settings.burst_groups, settings)?;
        let pids = Pids { server: self.node.pid(), load: Some(self.load.pid()), redis: Some(self.redis.pid()) };
        let before = Spent::until_now(pids)?;
        let report = self.send(settings.burst_groups, settings.burst_messages, settings)?;
        let spent = Spent::until_now(pids)?.since(before);
        if self.redis.set_aside()? > 0 {
            return Err("entries were put aside or are dead".into());
        }
        Turn::new(&report, self.members, settings.burst_messages * self.members, spent)
    }

    /// Sends so many messages, of which `sent` were sent before.
    fn send(&mut self, sent: u64, messages: u64, settings: &Settings) -> Result<Report> {
        self.load.begin()?;
        let due = clock::now();
        self.redis.add_at_once((sent..sent + messages).map(|nth| {
            let (series, number) = (nth % settings.burst_groups, nth / settings.burst_groups + 1);
            (group(series), message::payload(due, message::numbered(series, number), settings.payload))
        }))?;
        let report = self.load.end(messages * self.members, WITHIN)?;
        self.redis.settled(LOOK, WITHIN)?;
        Ok(report)
    }
}

fn group(number: u64) -> String {
    format!("bench-{number}")
}

impl Burst {
    pub(crate) fn per_cpu_second(&self) -> f64 {
        median_of(self.turns.iter().map(Turn::per_cpu_second).collect())
    }

    pub(crate) fn to_json(&self) -> Value {
        let found = self.per_cpu_second();
        json!({
            "messages": self.messages, "groups": self.groups, "settings": ROOM,
            "turns": self.turns.iter().map(Turn::to_json).collect::<Vec<_>>(),
            "median_per_cpu_second": found, "target_per_cpu_second": TARGET, "met": found >= TARGET,
        })
    }
}
