//! Paced fan-out: one message at a time to every member of one group, floor and node turn by turn.

use std::time::Duration;

use gim_proxy_sdk::bench::report::Report;
use serde_json::{Value, json};

use crate::args::Settings;
use crate::child::Child;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::post::Poster;
use crate::turn::{Pids, Round, Spent, Turn, median};
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

/// What is sent and to whom.
struct Course<'a> {
    settings: &'a Settings,
    members: u64,
    /// Number of the message sent last.
    sent: u64,
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(usize, &Round)) -> Result<Fanout> {
    let mut rounds = Vec::with_capacity(settings.rounds);
    for number in 1..=settings.rounds {
        let floor = turn(Server::floor(cores)?, settings, cores)?;
        let node = turn(Server::node(cores)?, settings, cores)?;
        let round = Round::new(floor, node)?;
        seen(number, &round);
        rounds.push(round);
    }
    Ok(Fanout { rounds })
}

/// One turn of the floor alone.
pub(crate) fn floor(settings: &Settings, cores: Cores) -> Result<Turn> {
    turn(Server::floor(cores)?, settings, cores)
}

/// A fresh server and a fresh client: no turn inherits anything from the one before.
fn turn(mut server: Server, settings: &Settings, cores: Cores) -> Result<Turn> {
    let mut load = server.log_in(settings.members, cores)?;
    let members = load.logged_in()?;
    let mut course = Course { settings, members, sent: 0 };
    // A second of messages that nobody counts: first allocations, caches, congestion windows.
    course.send(&mut server, &mut load, settings.rate)?;
    let pids = Pids { server: server.pid(), load: Some(load.pid()), redis: None };
    let before = Spent::until_now(pids)?;
    let report = course.send(&mut server, &mut load, settings.messages())?;
    Turn::new(&report, members, settings.messages() * members, Spent::until_now(pids)?.since(before))
}

impl Course<'_> {
    fn send(&mut self, server: &mut Server, load: &mut Load, messages: u64) -> Result<Report> {
        let Settings { rate, payload, .. } = *self.settings;
        load.begin()?;
        match server {
            Server::Floor { child, .. } => {
                child.tell(&format!("send {messages} {rate} {payload} {}", self.sent))?;
                child.hear(Duration::from_nanos(clock::interval(rate) * messages) + GRACE)?;
            }
            Server::Node { poster, .. } => self.post(poster, messages)?,
        }
        self.sent += messages;
        load.end(self.members * messages, GRACE)
    }

    /// One message per tick into the node's queue, over the road that applications take.
    fn post(&self, poster: &mut Poster, messages: u64) -> Result<()> {
        let interval = clock::interval(self.settings.rate);
        let mut due = clock::now();
        for number in self.sent + 1..=self.sent + messages {
            due += interval;
            clock::sleep_until(due);
            // Stamped, like the floor's, with the time it was due: lateness of the conductor counts against the node.
            let data: Value = serde_json::from_str(&message::payload(due, number, self.settings.payload))?;
            poster.enqueue(&json!({ "tgid": GROUP, "id": message::id(due), "data": data }))?;
        }
        Ok(())
    }
}

impl Server {
    fn floor(cores: Cores) -> Result<Self> {
        let mut child = Child::start(&["serve-floor"], cores.server, &[])?;
        let address = child.hear(START)?["address"].as_str().ok_or("the floor has no address")?.to_owned();
        Ok(Self::Floor { child, address })
    }

    fn node(cores: Cores) -> Result<Self> {
        let node = Node::embedded(cores)?;
        let poster = Poster::connect(node.admin)?;
        Ok(Self::Node { node, poster })
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
