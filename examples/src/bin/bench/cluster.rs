//! One group over all nodes of a cluster: five nodes with 18,000 connections each, unless told otherwise.
//!
//! A message at a time goes on the stream by plain `XADD`, and is waited for until the last socket has it. Each node has
//! a load client of its own, because a process may open 20,000 files.

use std::time::Duration;

use gim_proxy_sdk::bench::report::Report;
use serde_json::{Value, json};

use crate::args::Settings;
use crate::fanout::GROUP;
use crate::load::Load;
use crate::machine::Cores;
use crate::process::{Memory, memory};
use crate::service::{Batches, Service, Usage};
use crate::turn::{Outcome, median_of};
use crate::{Result, clock, message};

/// Before figures are read: what starts late has started, what is given back has been given back.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the connections are watched doing nothing.
const IDLE: Duration = Duration::from_secs(10);
/// How long a message may take to reach everybody.
const MESSAGE: Duration = Duration::from_secs(60);
/// Between two looks whether everything is settled.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Cluster {
    pub(crate) wanted: usize,
    pub(crate) connected: u64,
    /// Why there are fewer than wanted.
    pub(crate) trouble: Vec<String>,
    pub(crate) claimed: u64,
    pub(crate) redis_version: String,
    pub(crate) login: Usage,
    /// Of each node, before its first connection and after its last.
    pub(crate) memory: Vec<(Memory, Memory)>,
    /// While nothing was sent.
    pub(crate) idle: Usage,
    /// The first one takes first allocations and congestion windows on it: it does not count.
    pub(crate) first: Message,
    pub(crate) messages: Vec<Message>,
}

/// One message to everybody.
pub(crate) struct Message {
    pub(crate) outcome: Outcome,
    /// Milliseconds from `XADD` until half of the sockets had it, 99 of 100, the last one.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) batches: Batches,
    pub(crate) usage: Usage,
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(u64, &Message)) -> Result<Cluster> {
    let mut service = Service::start(settings.nodes, settings, cores)?;
    clock::sleep(SETTLE);
    let memories =
        |service: &Service| service.servers.nodes.iter().map(|node| memory(node.pid())).collect::<Result<Vec<_>>>();
    let memory_before = memories(&service)?;
    let before = service.usage(&[])?;
    let mut loads = log_in(&service, settings, cores)?;
    let logins = loads.iter_mut().map(|load| load.logins()).collect::<Result<Vec<_>>>()?;
    let login = service.usage(&loads)?.since(&before);
    clock::sleep(SETTLE);
    let memory_after = memories(&service)?;
    let before = service.usage(&loads)?;
    clock::sleep(IDLE);
    let idle = service.usage(&loads)?.since(&before);
    let holds: Vec<u64> = logins.iter().map(|login| login.connected).collect();
    let first = send(&mut service, &mut loads, &holds, 1, settings)?;
    seen(0, &first);
    let mut messages = Vec::new();
    for number in 1..=settings.group_messages {
        let message = send(&mut service, &mut loads, &holds, number + 1, settings)?;
        seen(number, &message);
        messages.push(message);
    }
    if service.redis.set_aside()? > 0 {
        return Err("entries were put aside or are dead".into());
    }
    Ok(Cluster {
        wanted: settings.nodes * settings.each,
        connected: holds.iter().sum(),
        trouble: logins.into_iter().filter_map(|login| login.trouble).collect(),
        claimed: service.redis.claimed()?,
        redis_version: service.redis.version()?,
        login,
        memory: memory_before.into_iter().zip(memory_after).collect(),
        idle,
        first,
        messages,
    })
}

/// Starts a load client for each node, all at once.
fn log_in(service: &Service, settings: &Settings, cores: Cores) -> Result<Vec<Load>> {
    let start = |(number, node): (usize, &crate::node::Node)| {
        Load::start_from(number * settings.each, &node.public, settings.each, Some(GROUP), cores)
    };
    service.servers.nodes.iter().enumerate().map(start).collect()
}

/// One message, from the entry until every socket has it and the queue is done with it.
fn send(service: &mut Service, loads: &mut [Load], holds: &[u64], number: u64, settings: &Settings) -> Result<Message> {
    let batches = service.batches()?;
    loads.iter_mut().try_for_each(Load::begin)?;
    let before = service.usage(loads)?;
    service.push(None, &message::payload(clock::now(), number, settings.payload))?;
    let ends = loads.iter_mut().zip(holds).map(|(load, &hold)| load.end(hold, MESSAGE));
    let report = ends.collect::<Result<Vec<_>>>()?.into_iter().fold(Report::default(), Report::and);
    service.redis.settled(LOOK, MESSAGE)?;
    let usage = service.usage(loads)?.since(&before);
    let batches = service.batches()?.since(batches);
    Ok(Message::new(&report, holds.iter().sum(), batches, usage))
}

impl Message {
    fn new(report: &Report, expected: u64, batches: Batches, usage: Usage) -> Self {
        let ms = |share: u64| report.latency.per_mille(share) as f64 / 1e3;
        Self { outcome: report.outcome(expected), p50_ms: ms(500), p99_ms: ms(990), max_ms: ms(1_000), batches, usage }
    }

    fn to_json(&self) -> Value {
        let Self { outcome, p50_ms, p99_ms, max_ms, batches, usage } = self;
        json!({
            "outcome": outcome, "p50_ms": p50_ms, "p99_ms": p99_ms, "max_ms": max_ms,
            "batches_done": batches.done, "batches_not_done": batches.not_done, "cpu_seconds": usage.to_json(),
        })
    }
}

impl Cluster {
    /// Of the messages that count, together.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.messages.iter().map(|message| message.usage.clone()).reduce(|all, one| all.and(&one))
    }

    /// Deliveries of the messages that count.
    pub(crate) fn deliveries(&self) -> u64 {
        let lost: u64 = self.messages.iter().map(|message| message.outcome.lost).sum();
        self.connected * self.messages.len() as u64 - lost
    }

    /// Messages of which something was lost, came twice or was overtaken, the first one too.
    pub(crate) fn unclean(&self) -> usize {
        self.all().filter(|message| !message.outcome.is_clean()).count()
    }

    /// Messages that took another number of batches than there are nodes: a node that has not answered in time is asked
    /// again, and answers from memory.
    pub(crate) fn asked_again(&self) -> usize {
        let fits = Batches { done: self.memory.len() as u64, not_done: 0 };
        self.all().filter(|message| message.batches != fits).count()
    }

    fn all(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().chain([&self.first])
    }

    /// Median over the messages that count.
    pub(crate) fn median(&self, of: impl Fn(&Message) -> f64) -> f64 {
        median_of(self.messages.iter().map(of).collect())
    }

    pub(crate) fn to_json(&self) -> Value {
        let memory =
            |(before, after): &(Memory, Memory)| json!({ "before_bytes": before.rss, "after_bytes": after.rss });
        json!({
            "wanted": self.wanted, "connected": self.connected, "trouble": self.trouble, "claimed": self.claimed,
            "redis_version": self.redis_version, "login_cpu_seconds": self.login.to_json(),
            "rss_per_node": self.memory.iter().map(memory).collect::<Vec<_>>(),
            "idle_cpu_seconds": self.idle.to_json(), "first_message": self.first.to_json(),
            "messages": self.messages.iter().map(Message::to_json).collect::<Vec<_>>(),
            "deliveries": self.deliveries(), "cpu_seconds": self.usage().map(|usage| usage.to_json()),
            "deliveries_per_cpu_second": self.usage().map(|usage| self.deliveries() as f64 / usage.whole()),
            "unclean_messages": self.unclean(), "messages_asked_again": self.asked_again(),
        })
    }
}
