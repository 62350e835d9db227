//! Durable messages beside live ones: to random users, and to the members of one group, with and without receipts.
//!
//! The node is the program `ws-node` in mode `redis` with the worker inside, the entries come by plain `XADD`. Clients
//! acknowledge what they get, one acknowledgement for all that one read brought. There is no floor: what a durable message
//! costs is told beside what a live one does, at the same rate.

use std::time::Duration;

use gim_proxy_sdk::bench::report::Report;
use serde_json::{Value, json};

use crate::args::Settings;
use crate::fanout::GROUP;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::turn::{Pids, Spent, Turn};
use crate::unicast::pace::{Class, Pace, Sink};
use crate::{Result, clock, message};

/// How long after its last message a turn may take. What comes later counts as lost.
const GRACE: Duration = Duration::from_secs(30);
/// Between two looks whether everything is settled.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Durable {
    pub(crate) turns: Vec<Measured>,
}

/// One turn and what it was of.
pub(crate) struct Measured {
    pub(crate) to: To,
    pub(crate) class: Class,
    pub(crate) turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Users,
    Group,
}

struct Stage {
    node: Node,
    redis: Box<Redis>,
    load: Load,
    members: u64,
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(bool, &Measured)) -> Result<Durable> {
    let mut turns = Vec::new();
    for to in [To::Users, To::Group] {
        for class in [Class::Live, Class::Durable, Class::DurableWithReceipt] {
            let turn = Stage::start(to, settings, cores)?.turn(to, class, settings)?;
            let measured = Measured { to, class, turn };
            seen(turns.is_empty(), &measured);
            turns.push(measured);
        }
    }
    Ok(Durable { turns })
}

impl Stage {
    fn start(to: To, settings: &Settings, cores: Cores) -> Result<Self> {
        let redis = Box::new(Redis::start(settings)?);
        let node = Node::on(&redis, cores)?;
        let group = (to == To::Group).then_some(GROUP);
        let mut load = Load::start_acking(&node.public, settings.members, group, cores)?;
        let members = load.logged_in()?;
        Ok(Self { node, redis, load, members })
    }

    fn turn(mut self, to: To, class: Class, settings: &Settings) -> Result<Turn> {
        let mut course = Course::new(to, class, self.members, settings);
        // A second that nobody counts.
        course.send(&mut self, 1)?;
        let pids = Pids { server: self.node.pid(), load: Some(self.load.pid()), redis: Some(self.redis.pid()) };
        let commands = self.redis.commands()?;
        let before = Spent::until_now(pids)?;
        let report = course.send(&mut self, settings.seconds)?;
        let asked = self.redis.settled(LOOK, GRACE)?;
        let spent = Spent::until_now(pids)?.since(before);
        let mut turn = Turn::new(&report, self.members, course.deliveries(settings.seconds), spent)?;
        let since = self.redis.commands()?.since(&commands);
        turn.commands = Some(since.without("xinfo|groups", asked).without("xinfo|stream", asked));
        Ok(turn)
    }
}

/// What is sent, and how much of it a second.
enum Course {
    Users { pace: Box<Pace>, per_second: u64 },
    Group { members: u64, class: Class, per_second: u64, payload: usize, sent: u64 },
}

impl Course {
    fn new(to: To, class: Class, members: u64, settings: &Settings) -> Self {
        let Settings { durable_rate, durable_group_rate, payload, .. } = *settings;
        match to {
            To::Users => {
                let pace = Box::new(Pace::new(members, settings).of(class, durable_rate));
                Self::Users { pace, per_second: durable_rate }
            }
            To::Group => Self::Group { members, class, per_second: durable_group_rate, payload, sent: 0 },
        }
    }

    fn deliveries(&self, seconds: u64) -> u64 {
        match self {
            Self::Users { per_second, .. } => per_second * seconds,
            Self::Group { members, per_second, .. } => members * per_second * seconds,
        }
    }

    fn send(&mut self, stage: &mut Stage, seconds: u64) -> Result<Report> {
        let expected = self.deliveries(seconds);
        stage.load.begin()?;
        match self {
            Self::Users { pace, per_second } => pace.send(*per_second * seconds, Sink::Stream(&mut stage.redis))?,
            Self::Group { class, per_second, payload, sent, .. } => {
                let interval = clock::interval(*per_second);
                let mut due = clock::now();
                for _ in 0..*per_second * seconds {
                    due += interval;
                    *sent += 1;
                    clock::sleep_until(due);
                    push(&mut stage.redis, *class, &message::payload(due, *sent, *payload))?;
                }
            }
        }
        stage.load.end(expected, GRACE)
    }
}

/// Puts a message to the group on the stream.
fn push(redis: &mut Redis, class: Class, payload: &str) -> Result<()> {
    let stream = redis.stream();
    let mut add = ::redis::pipe();
    let command = add.cmd("XADD").arg(stream).arg("*").arg("tgid").arg(GROUP).arg("data").arg(payload);
    for (name, value) in class.fields() {
        command.arg(name).arg(value);
    }
    redis.pipe::<Vec<String>>(&add)?;
    Ok(())
}

impl Durable {
    pub(crate) fn to_json(&self) -> Value {
        let turn = |measured: &Measured| {
            let Measured { to, class, turn } = measured;
            json!({ "to": to.name(), "class": class.name(), "turn": turn.to_json() })
        };
        json!({ "turns": self.turns.iter().map(turn).collect::<Vec<_>>() })
    }
}

impl To {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Group => "group",
        }
    }
}
