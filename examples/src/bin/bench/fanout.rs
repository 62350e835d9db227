//! Paced fan-out: one message at a time to every member of one group, floor and node by turns of a second.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Settings;
use crate::child::Child;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::post::Poster;
use crate::turn::{Paced, Pids, Round, Spent, Turn, median};
use crate::{Result, clock, message};

/// The group that everybody is in.
pub(crate) const GROUP: &str = "bench";
/// The share of the floor that a node should reach, at least.
pub(crate) const TARGET: f64 = 0.90;
/// How many times the floor's p99 a node's may be.
pub(crate) const TARGET_P99: f64 = 1.5;

const START: Duration = Duration::from_secs(10);
/// How long after its last message a turn may take.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct Fanout {
    pub(crate) rounds: Vec<Round>,
}

enum Server {
    Floor { child: Child, address: String },
    Node { node: Node, poster: Poster },
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(usize, &Round)) -> Result<Fanout> {
    let mut rounds = Vec::with_capacity(settings.rounds);
    for number in 1..=settings.rounds {
        let round = round(settings, cores)?;
        seen(number, &round);
        rounds.push(round);
    }
    Ok(Fanout { rounds })
}

/// Both servers are up with all their members.
fn round(settings: &Settings, cores: Cores) -> Result<Round> {
    let floor = Stage::start(Server::floor(cores)?, settings, cores)?;
    let node = Stage::start(Server::node(cores)?, settings, cores)?;
    Round::by_turns(floor, node, settings)
}

/// The floor alone.
pub(crate) fn floor(settings: &Settings, cores: Cores) -> Result<Turn> {
    Stage::start(Server::floor(cores)?, settings, cores)?.alone(settings)
}

/// Starts the floor, and tells its address.
pub(crate) fn start_floor(cores: Cores) -> Result<(Child, String)> {
    let mut child = Child::start(&["serve-floor"], cores.server, &[])?;
    let address = child.hear(START)?["address"].as_str().ok_or("the floor has no address")?.to_owned();
    Ok((child, address))
}

/// A server and its members, and what they have done so far.
struct Stage {
    server: Server,
    load: Load,
    members: u64,
    pids: Pids,
    /// Number of the message sent last.
    sent: u64,
    /// Messages that count.
    counted: u64,
    spent: Spent,
}

impl Stage {
    /// A fresh server and a fresh client: no round inherits anything from the one before.
    fn start(mut server: Server, settings: &Settings, cores: Cores) -> Result<Self> {
        let mut load = server.log_in(settings.members, cores)?;
        let members = load.logged_in()?;
        // A second of messages that nobody counts: first allocations, caches, congestion windows.
        load.begin()?;
        server.send(settings, 0)?;
        load.end(members * settings.rate, GRACE)?;
        // Counted from here to the end, also while the other server has its turn: what comes late or twice shows.
        load.begin()?;
        let pids = Pids { server: server.pid(), load: Some(load.pid()), redis: None };
        Ok(Self { server, load, members, pids, sent: settings.rate, counted: 0, spent: Spent::default() })
    }
}

impl Paced for Stage {
    /// Sends for a second, and waits until all of it has arrived.
    fn second(&mut self, settings: &Settings) -> Result<()> {
        let before = Spent::until_now(self.pids)?;
        self.server.send(settings, self.sent)?;
        self.sent += settings.rate;
        self.counted += settings.rate;
        self.load.arrived(self.members * self.counted, GRACE)?;
        self.spent = self.spent.and(Spent::until_now(self.pids)?.since(before));
        Ok(())
    }

    fn end(mut self) -> Result<Turn> {
        let expected = self.members * self.counted;
        let report = self.load.end(expected, GRACE)?;
        Turn::new(&report, self.members, expected, self.spent)
    }
}

impl Server {
    fn floor(cores: Cores) -> Result<Self> {
        start_floor(cores).map(|(child, address)| Self::Floor { child, address })
    }

    fn node(cores: Cores) -> Result<Self> {
        let node = Node::local(cores)?;
        let poster = Poster::connect(node.admin)?;
        Ok(Self::Node { node, poster })
    }

    /// Sends a second of messages, the first with the number behind `sent`.
    fn send(&mut self, settings: &Settings, sent: u64) -> Result<()> {
        let Settings { rate, payload, .. } = *settings;
        match self {
            Self::Floor { child, .. } => {
                child.tell(&format!("send {rate} {rate} {payload} {sent}"))?;
                child.hear(Duration::from_nanos(clock::interval(rate) * rate) + GRACE)?;
                Ok(())
            }
            Self::Node { poster, .. } => post(poster, settings, sent),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Floor { child, .. } => child.pid(),
            Self::Node { node, .. } => node.pid(),
        }
    }

    /// The floor knows no groups, so nobody joins one there.
    fn log_in(&self, members: usize, cores: Cores) -> Result<Load> {
        match self {
            Self::Floor { address, .. } => Load::start(address, members, None, cores),
            Self::Node { node, .. } => Load::start(&node.public, members, Some(GROUP), cores),
        }
    }
}

/// One message per tick into the node's queue, over the road that applications take.
fn post(poster: &mut Poster, settings: &Settings, sent: u64) -> Result<()> {
    let interval = clock::interval(settings.rate);
    let mut due = clock::now();
    for number in sent + 1..=sent + settings.rate {
        due += interval;
        clock::sleep_until(due);
        // Stamped, like the floor's, with the time it was due: lateness of the conductor counts against the node.
        let data: Value = serde_json::from_str(&message::payload(due, number, settings.payload))?;
        poster.enqueue(&json!({ "tgid": GROUP, "id": message::id(due), "data": data }))?;
    }
    Ok(())
}

impl Fanout {
    pub(crate) fn to_json(&self) -> Value {
        let ratio = median(&self.rounds, Round::ratio);
        let latency = median(&self.rounds, Round::p99_ratio);
        json!({
            "median_p99_ratio": latency, "target_p99_ratio": TARGET_P99, "p99_met": latency <= TARGET_P99,
            "rounds": self.rounds.iter().map(Round::to_json).collect::<Vec<_>>(),
            "median_ratio": ratio, "target_ratio": TARGET, "met": ratio >= TARGET,
        })
    }
}
