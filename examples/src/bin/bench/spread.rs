//! The same fan-out over two nodes and over one: what it costs to spread a group.
//!
//! Mode `cluster`, worker and nodes in processes of their own, all on one core. A message takes the road of a cluster:
//! `XADD`, Redis, worker, a batch per node, hub, socket. The floor is that of `fanout`.

use std::time::Duration;

use gim_proxy_sdk::bench::report::Report;
use serde_json::{Value, json};

use crate::args::Settings;
use crate::fanout::{self, GROUP};
use crate::load::Load;
use crate::machine::Cores;
use crate::service::{Batches, Service, Usage};
use crate::turn::{Turn, median_of};
use crate::{Result, clock, message};

/// The share of one node's deliveries per CPU-second that two should reach, at least.
pub(crate) const TARGET: f64 = 0.8;

/// How long after its last message a turn may take.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks whether everything is settled.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Spread {
    pub(crate) rounds: Vec<Round>,
}

pub(crate) struct Round {
    pub(crate) floor: Turn,
    pub(crate) one: Over,
    pub(crate) two: Over,
}

/// One turn of a cluster.
pub(crate) struct Over {
    pub(crate) turn: Turn,
    pub(crate) usage: Usage,
    pub(crate) batches: Batches,
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(usize, &Round)) -> Result<Spread> {
    let mut rounds = Vec::with_capacity(settings.rounds);
    for number in 1..=settings.rounds {
        let floor = fanout::floor(settings, cores)?;
        // Who comes second may find a warmer machine.
        let (one, two) = if number % 2 == 1 {
            let one = turn(1, settings, cores)?;
            (one, turn(2, settings, cores)?)
        } else {
            let two = turn(2, settings, cores)?;
            (turn(1, settings, cores)?, two)
        };
        let round = Round { floor, one, two };
        seen(number, &round);
        rounds.push(round);
    }
    Ok(Spread { rounds })
}

/// A fresh service and a fresh client: no turn inherits anything from the one before.
fn turn(nodes: usize, settings: &Settings, cores: Cores) -> Result<Over> {
    let mut service = Service::start(nodes, settings, cores)?;
    let mut load = Load::start(&service.public(), settings.members, Some(GROUP), cores)?;
    let members = load.logged_in()?;
    let mut loads = [load];
    // A second of messages that nobody counts.
    send(&mut service, &mut loads, 0, settings.rate, members, settings)?;
    let batches = service.batches()?;
    let before = service.usage(&loads)?;
    let report = send(&mut service, &mut loads, settings.rate, settings.messages(), members, settings)?;
    let usage = service.usage(&loads)?.since(&before);
    let batches = service.batches()?.since(batches);
    if service.redis.set_aside()? > 0 {
        return Err("entries were put aside or are dead".into());
    }
    let turn = Turn::new(&report, members, settings.messages() * members, usage.spent())?;
    Ok(Over { turn, usage, batches })
}

/// One message per tick onto the stream, until all of it is there and settled.
fn send(
    service: &mut Service,
    [load]: &mut [Load; 1],
    sent: u64,
    messages: u64,
    members: u64,
    settings: &Settings,
) -> Result<Report> {
    let interval = clock::interval(settings.rate);
    load.begin()?;
    let mut due = clock::now();
    for number in sent + 1..=sent + messages {
        due += interval;
        clock::sleep_until(due);
        service.push(Some(&message::id(due)), &message::payload(due, number, settings.payload))?;
    }
    let report = load.end(members * messages, GRACE)?;
    service.redis.settled(LOOK, GRACE)?;
    Ok(report)
}

impl Over {
    /// Deliveries per CPU-second of all processes of the service, Redis and etcd too.
    pub(crate) fn per_whole_second(&self) -> f64 {
        self.turn.per_cpu_second() * self.turn.spent.server.total / self.usage.whole()
    }

    fn to_json(&self) -> Value {
        json!({
            "turn": self.turn.to_json(), "cpu_seconds": self.usage.to_json(), "batches_done": self.batches.done,
            "batches_not_done": self.batches.not_done, "deliveries_per_cpu_second_of_all": self.per_whole_second(),
        })
    }
}

impl Round {
    /// Two nodes as a share of one.
    pub(crate) fn ratio(&self) -> f64 {
        self.two.turn.per_cpu_second() / self.one.turn.per_cpu_second()
    }

    /// The same, with Redis and etcd.
    pub(crate) fn whole_ratio(&self) -> f64 {
        self.two.per_whole_second() / self.one.per_whole_second()
    }

    pub(crate) fn of_floor(&self, over: &Over) -> f64 {
        over.turn.per_cpu_second() / self.floor.per_cpu_second()
    }

    fn to_json(&self) -> Value {
        json!({
            "floor": self.floor.to_json(), "one": self.one.to_json(), "two": self.two.to_json(),
            "ratio": self.ratio(), "ratio_of_all": self.whole_ratio(),
        })
    }
}

impl Spread {
    /// The median over all rounds.
    pub(crate) fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median_of(self.rounds.iter().map(of).collect())
    }

    pub(crate) fn to_json(&self) -> Value {
        let ratio = self.median(Round::ratio);
        json!({
            "rounds": self.rounds.iter().map(Round::to_json).collect::<Vec<_>>(),
            "median_ratio": ratio, "target_ratio": TARGET, "met": ratio >= TARGET,
            "median_ratio_of_all": self.median(Round::whole_ratio),
        })
    }
}
