//! The command line: what to measure and with which numbers, and the roles of the children.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use gim_proxy_sdk::bench::client::Work;
use gim_proxy_sdk::bench::message::{MAX_PAYLOAD, MIN_PAYLOAD};
use serde_json::{Value, json};

use crate::Result;
use crate::masters::CLUSTER;

/// Measures the node beside a floor that does nothing but send.
#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) what: Option<What>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Subcommand)]
pub(crate) enum What {
    /// Memory per idle connection and CPU per login
    Idle(Idle),
    /// Deliveries per second of server CPU, beside the floor
    Fanout,
    /// Mode redis: from a stream entry to the socket of one user, beside a floor
    Unicast,
    /// Mode redis: messages that wait on the queue, to two groups of the same members by turns, as fast as it goes
    Burst,
    /// Mode redis: entries enqueued and settled per second
    Stream,
    /// Mode redis: durable messages to single users and to a group, with and without receipts, beside live ones
    Durable,
    /// Mode cluster: a group over two nodes beside the same on one, worker and nodes in processes of their own. Not part of
    /// all
    Spread,
    /// Mode cluster: the same logins and messages over one Redis and over a Redis Cluster of several masters. Not part of all
    Masters,
    /// Mode redis: everything at once for ten minutes, on 19,000 connections of which some break. Not part of all
    Soak,
    /// Mode cluster: one group over five nodes, 90,000 connections. Not part of all
    Cluster,
    /// What programs that count what they run are told to do, before they are built again with what they counted: `make
    /// pgo`. Measures nothing. Not part of all
    Train,
    /// All of these (the default) but spread, masters, soak, cluster and train; idle in both modes
    All,
    /// A child: the floor
    #[command(hide = true)]
    ServeFloor(Place),
    /// A child: the floor of unicast
    #[command(hide = true)]
    ServeRelay(Place),
    /// A child: the load client
    #[command(hide = true)]
    Load(Box<Work>),
}

/// On what the node of `idle` stands.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Idle {
    /// Of the program ws-node: `local`, or `redis` beside a Redis of the bench's own
    #[arg(long, value_enum, default_value_t = Mode::Local)]
    pub(crate) mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    Local,
    Redis,
}

/// Numbers that a reader of the table may want to change.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Idle connections, each with a uid claimed and in one group
    #[arg(long, global = true, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Each connection joins a group of its own, not one and the same
    #[arg(long, global = true)]
    pub(crate) own_groups: bool,
    /// Members of the group that is sent to; users of unicast
    #[arg(long, global = true, default_value_t = 5_000)]
    pub(crate) members: usize,
    /// Turns of floor and node
    #[arg(long, global = true, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How long each turn sends, in seconds
    #[arg(long, global = true, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Messages per second to the group
    #[arg(long, global = true, default_value_t = 10)]
    pub(crate) rate: u64,
    /// Messages per second to single users, in steps of 1000
    #[arg(long, global = true, default_value_t = 20_000)]
    pub(crate) unicast_rate: u64,
    /// Messages per second to single users in durable, in steps of 1000
    #[arg(long, global = true, default_value_t = 5_000)]
    pub(crate) durable_rate: u64,
    /// Messages per second to the group in durable
    #[arg(long, global = true, default_value_t = 1)]
    pub(crate) durable_group_rate: u64,
    /// Messages to single users have ids of their own, so that a repeat has no effect
    #[arg(long, global = true)]
    pub(crate) unicast_ids: bool,
    /// Messages of each turn of burst, no more than a session lets wait
    #[arg(long, global = true, default_value_t = 2_000)]
    pub(crate) burst_messages: u64,
    /// Groups of burst, which have the same members and get a message by turns
    #[arg(long, global = true, default_value_t = 2)]
    pub(crate) burst_groups: u64,
    /// Entries of each turn of stream
    #[arg(long, global = true, default_value_t = 300_000)]
    pub(crate) entries: u64,
    /// Turns of stream more: entries with receipts, and entries whose steps are written down
    #[arg(long, global = true)]
    pub(crate) kept: bool,
    /// Masters of Redis in each run of masters: 1, or 3 and more
    #[arg(long, global = true, value_delimiter = ',', default_values_t = [1, 3, 6])]
    pub(crate) masters: Vec<usize>,
    /// Lanes of masters
    #[arg(long, global = true, default_value_t = 8)]
    pub(crate) lanes: u16,
    /// In masters, lanes and rates are of each master: with more of them there is more to do
    #[arg(long, global = true)]
    pub(crate) each_master: bool,
    /// Connections of soak
    #[arg(long, global = true, default_value_t = 19_000)]
    pub(crate) soak_connections: usize,
    /// How long soak lasts, in seconds
    #[arg(long, global = true, default_value_t = 600)]
    pub(crate) soak_seconds: u64,
    /// Nodes of cluster
    #[arg(long, global = true, default_value_t = 5)]
    pub(crate) nodes: usize,
    /// Connections at each node of cluster
    #[arg(long, global = true, default_value_t = 18_000)]
    pub(crate) each: usize,
    /// Messages to the group of cluster, one after the other
    #[arg(long, global = true, default_value_t = 10)]
    pub(crate) group_messages: u64,
    /// The bench's Redis writes an append-only file, fsynced every second
    #[arg(long, global = true)]
    pub(crate) appendonly: bool,
    /// Bytes of payload in each message; the frame around it is the node's
    #[arg(long, global = true, default_value_t = 128)]
    pub(crate) payload: usize,
    /// The programs beside this one were built with a profile, as `make pgo` does: the table says so
    #[arg(long, global = true)]
    pub(crate) profiled: bool,
    /// Write everything measured to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the table as bench.md and everything measured as bench.json into this folder
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        let counts = [self.connections, self.members, self.rounds];
        if counts.contains(&0) || !(1..=3_600).contains(&self.seconds) || !(1..=1_000).contains(&self.rate) {
            return Err("connections, members and rounds start at 1, seconds at most 3600, rate at most 1000".into());
        }
        let rate = |rate: u64| (1_000..=1_000_000).contains(&rate) && rate.is_multiple_of(1_000);
        if !rate(self.unicast_rate) || !rate(self.durable_rate) || !(1..=1_000).contains(&self.durable_group_rate) {
            return Err("rates to single users are multiples of 1000 up to 1000000, to the group 1 to 1000".into());
        }
        if !(1..=4_000_000).contains(&self.entries) {
            return Err("entries are 1 to 4000000".into());
        }
        if !(1..=9).contains(&self.burst_groups) || !(self.burst_groups..=4_000).contains(&self.burst_messages) {
            return Err("groups of burst are 1 to 9, its messages as many as groups to 4000".into());
        }
        if !(1..=100).contains(&self.nodes) || self.each == 0 || self.group_messages == 0 {
            return Err("nodes are 1 to 100, connections at each and messages to the group start at 1".into());
        }
        let is_store = |&masters: &usize| masters == 1 || (CLUSTER..=16).contains(&masters);
        let lanes = self.masters.iter().map(|&masters| self.times(masters) * u64::from(self.lanes));
        if self.masters.is_empty()
            || !self.masters.iter().all(is_store)
            || !lanes.into_iter().all(|lanes| (1..=64).contains(&lanes))
        {
            return Err("masters are 1, or 3 to 16, lanes of all of them together are 1 to 64".into());
        }
        if !(MIN_PAYLOAD..=MAX_PAYLOAD).contains(&self.payload) {
            return Err(format!("a payload has {MIN_PAYLOAD} to {MAX_PAYLOAD} bytes").into());
        }
        Ok(())
    }

    /// What lanes and rates of `masters` are multiplied by.
    pub(crate) fn times(&self, masters: usize) -> u64 {
        if self.each_master { masters as u64 } else { 1 }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.seconds * self.rate
    }

    /// What was asked for, in words.
    pub(crate) fn words(&self) -> String {
        format!(
            "{} idle connections; {} members or users; {} rounds of {} s; {} messages/s to the group, {} to single users, {} \
             durable ones; bursts of {} to {} groups; {} entries; {} bytes of payload; append-only file: {}",
            self.connections,
            self.members,
            self.rounds,
            self.seconds,
            self.rate,
            self.unicast_rate,
            self.durable_rate,
            self.burst_messages,
            self.burst_groups,
            self.entries,
            self.payload,
            self.appendonly
        )
    }

    pub(crate) fn to_json(&self, open_files: u64) -> Value {
        json!({
            "connections": self.connections, "members": self.members, "rounds": self.rounds,
            "seconds": self.seconds, "messages_per_second": self.rate, "payload_bytes": self.payload,
            "own_groups": self.own_groups, "unicast_ids": self.unicast_ids, "unicast_per_second": self.unicast_rate,
            "durable_per_second": self.durable_rate, "durable_group_per_second": self.durable_group_rate, "entries": self.entries,
            "burst_messages": self.burst_messages, "burst_groups": self.burst_groups, "soak_connections": self.soak_connections, "soak_seconds": self.soak_seconds, "masters": self.masters, "lanes": self.lanes, "each_master": self.each_master, "nodes": self.nodes, "connections_each": self.each, "group_messages": self.group_messages,
            "appendonly": self.appendonly, "open_files": open_files,
        })
    }
}

/// Where a child runs.
#[derive(Clone, clap::Args)]
pub(crate) struct Place {
    /// The core it is pinned to; without it, wherever the kernel likes
    #[arg(long)]
    pub(crate) core: Option<usize>,
}
