//! What `gim bench` measures, one kind of load at a time, against nodes that run already.
//!
//! Owns the course of a measurement: who connects, what is sent when, what is read off before and after. Starts load
//! clients as children of this process and ends them; never starts, stops or changes a server.

mod login;
mod send;
mod soak;
mod stage;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::stage::Stage;
use super::Result;
use super::address::{HttpAddress, WsAddress};
use super::client::Work;
use super::feed::{Class, Feed};
use super::figures::Figures;
use super::message::{MAX_PAYLOAD, MIN_PAYLOAD};
use super::post::Poster;
use crate::store::RedisOptions;
use crate::{Tgid, Uid};

/// What is the same for every kind of load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The words of the hidden subcommand of this binary that is a load client.
    pub role: &'static [&'static str],
    /// Where clients connect, in turn.
    pub urls: Vec<WsAddress>,
    /// How many.
    pub connections: usize,
    /// Held by so many processes.
    pub clients: usize,
    /// What uids begin with.
    pub users: String,
    /// What the names of groups begin with.
    pub group: String,
    /// How messages get onto the queue.
    pub way: Way,
    /// Bytes of data in each.
    pub payload: usize,
    /// How long it sends.
    pub seconds: u64,
    /// How long after the last message something may still come.
    pub grace: Duration,
    /// Logins under way at once, of each load client.
    pub window: usize,
    /// Processes on this machine whose CPU time and memory are read: names or ids.
    pub processes: Vec<String>,
    /// The core of the load clients; None: wherever the kernel likes.
    pub core: Option<usize>,
}

/// How messages get onto the queue.
#[derive(Clone)]
pub enum Way {
    /// Nothing is sent.
    None,
    /// By the admin listeners of nodes, in turn.
    Http {
        /// Where they are.
        addresses: Vec<HttpAddress>,
        /// The token they ask for.
        token: Option<Arc<str>>,
    },
    /// By plain `XADD`: a URL of a single Redis, and the prefix of the keys.
    Xadd(String, String),
    /// By the SDK: a URL of any kind, and the prefix of the keys.
    Sdk(String, String),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages at a pace to the group that everybody is in.
    Fanout {
        /// A second.
        rate: u64,
    },
    /// As many messages as fast as they can be queued, to groups of the same members by turns.
    Burst {
        /// All of them.
        messages: u64,
        /// How many groups.
        groups: u64,
    },
    /// Messages at a pace to users drawn at random.
    Unicast {
        /// A second.
        rate: u64,
        /// Whether each has an id of its own.
        ids: bool,
        /// What becomes of one that cannot be written at once. Durable ones are acknowledged.
        class: Class,
    },
    /// Connections that do nothing.
    Idle,
    /// Everybody logs in at once, so many times.
    Login {
        /// How often.
        rounds: u64,
    },
    /// Everything at once, for long.
    Soak(Mix),
}

/// What a soak consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Live messages a second to single users.
    pub unicast: u64,
    /// Messages a second to the group.
    pub group: u64,
    /// Durable messages a second to single users.
    pub durable: u64,
    /// Connections that are cut each second and come back.
    pub cuts: u64,
    /// The share of the connections that are cut now and then, in percent. They get durable messages only.
    pub cut_percent: usize,
}

/// What was asked for is nothing that can be measured. Nothing was connected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(Refused(text.into()).into())
}

/// Measures. `tell` gets a line now and then. Must not be called where a runtime runs.
///
/// # Errors
/// [`Refused`], a server that does not answer, a message that was not accepted, a process that is not there.
pub fn run(plan: &Plan, kind: Kind, tell: &mut dyn FnMut(String)) -> Result<Figures> {
    plan.check(kind)?;
    match kind {
        Kind::Fanout { rate } => send::fanout(plan, rate, tell),
        Kind::Burst { messages, groups } => send::burst(plan, messages, groups, tell),
        Kind::Unicast { rate, ids, class } => send::unicast(plan, rate, ids, class, tell),
        Kind::Idle => login::idle(plan, tell),
        Kind::Login { rounds } => login::storm(plan, rounds, tell),
        Kind::Soak(mix) => soak::run(plan, mix, tell),
    }
}

impl Plan {
    /// Refuses what cannot be measured, before anything is connected.
    fn check(&self, kind: Kind) -> Result<()> {
        if self.urls.is_empty() || !(1..=1_000_000).contains(&self.connections) {
            return refuse("there are 1 to 1000000 connections to at least one address");
        }
        if !(1..=256).contains(&self.clients) || self.clients > self.connections {
            return refuse("there are 1 to 256 load clients, no more than connections");
        }
        if !(MIN_PAYLOAD..=MAX_PAYLOAD).contains(&self.payload) {
            return refuse(format!("a payload has {MIN_PAYLOAD} to {MAX_PAYLOAD} bytes"));
        }
        self.uid(0)?;
        self.tgid(0)?;
        let open_files = super::process::raise_open_files()?;
        let each = self.connections.div_ceil(self.clients) as u64 + RESERVE;
        if each > open_files {
            return refuse(format!(
                "each load client would need {each} open files, and may have {open_files}: ask for more with --clients, or \
                 raise the limit (ulimit -n)"
            ));
        }
        kind.check(self)
    }

    /// The uid of a connection.
    fn uid(&self, number: usize) -> Result<Uid> {
        Ok(Uid::parse(&self.work(self.connections).uid(number))
            .map_err(|error| Refused(format!("no uid comes of --users: {error}")))?)
    }

    /// The name of a group.
    fn tgid(&self, number: u64) -> Result<Tgid> {
        let name = format!("{}-{number}", self.group);
        if name.contains(',') {
            return refuse("the name of a group must have no comma here");
        }
        Ok(Tgid::parse(&name).map_err(|error| Refused(format!("no name of a group comes of --group: {error}")))?)
    }

    /// The work of load clients that hold so many connections.
    fn work(&self, hold: usize) -> Work {
        Work { users: self.users.clone(), window: self.window, core: self.core, ..Work::new(self.urls.clone(), hold) }
    }

    fn feed(&self) -> Result<Feed> {
        match &self.way {
            Way::None => Err("nothing was said about how messages get onto the queue".into()),
            Way::Http { addresses, token } => {
                let connect = |address: &HttpAddress| -> Result<Poster> {
                    let poster = Poster::connect(address.resolve()?).map_err(|error| format!("{address}: {error}"))?;
                    Ok(poster.with_token(token.as_deref()))
                };
                Ok(Feed::http(addresses.iter().map(connect).collect::<Result<_>>()?))
            }
            Way::Xadd(url, prefix) => Feed::xadd(url, prefix),
            Way::Sdk(url, prefix) => Feed::sdk(RedisOptions::parse(url)?, prefix),
        }
    }

    fn stage(&self, work: &Work, acks: bool, tell: &mut dyn FnMut(String)) -> Result<Stage> {
        Stage::start(self, &Work { ack: acks, ..work.clone() }, tell)
    }

    /// The uids of those who are connected.
    fn users(&self, connected: u64) -> Result<Vec<Uid>> {
        (0..usize::try_from(connected)?).map(|number| self.uid(number)).collect()
    }

    fn to_json(&self, kind: Value) -> Value {
        let urls: Vec<String> = self.urls.iter().map(ToString::to_string).collect();
        json!({
            "kind": kind, "urls": urls, "connections": self.connections, "clients": self.clients, "payload_bytes": self.payload,
            "seconds": self.seconds, "grace_seconds": self.grace.as_secs_f64(), "window": self.window,
            "processes": self.processes,
        })
    }
}

/// Open files of a load client beside its connections.
const RESERVE: u64 = 16;

impl Kind {
    fn check(self, plan: &Plan) -> Result<()> {
        let rate = |rate: u64, least: u64| match (least..=1_000_000).contains(&rate) {
            true => Ok(()),
            false => refuse("a rate is 1 to 1000000 a second"),
        };
        match self {
            Self::Fanout { rate: per_second } | Self::Unicast { rate: per_second, .. } => rate(per_second, 1)?,
            Self::Burst { messages, groups }
                if !(1..=9).contains(&groups) || !(groups..=1_000_000).contains(&messages) =>
            {
                return refuse("a burst has 1 to 9 groups and at least as many messages, up to 1000000");
            }
            Self::Login { rounds } if !(1..=1_000).contains(&rounds) => return refuse("there are 1 to 1000 rounds"),
            Self::Soak(mix) => {
                [mix.unicast, mix.group, mix.durable].into_iter().try_for_each(|per_second| rate(per_second, 0))?;
                if mix.unicast + mix.group + mix.durable == 0 {
                    return refuse("a soak sends something");
                }
                if mix.cuts > 1_000 || mix.cut_percent > 90 {
                    return refuse("up to 1000 connections are cut a second, of up to 90 percent of all");
                }
            }
            Self::Burst { .. } | Self::Login { .. } | Self::Idle => {}
        }
        match (1..=86_400).contains(&plan.seconds) {
            true => Ok(()),
            false => refuse("a measurement lasts 1 second to a day"),
        }
    }
}

impl std::fmt::Debug for Way {
    /// Without what is secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Http { .. } => "Http",
            Self::Xadd(..) => "Xadd",
            Self::Sdk(..) => "Sdk",
        })
    }
}
