//! Logins in a storm: what one costs the node, beside a floor that accepts and answers the handshake and does nothing else.
//!
//! The same number of connections each time, as many at once as the load client has under way, against fresh processes.

use serde_json::{Value, json};

use crate::Result;
use crate::args::{Mode, Settings};
use crate::fanout::{self, GROUP};
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::turn::{Pids, Spent, median_of};

/// Storms of one mode: a node's first one also says what an idle connection takes.
const STORMS: usize = 3;

/// CPU time per login in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Storm {
    /// Accept and 101 only: nobody joins.
    pub(crate) floor: f64,
    /// Accept to claimed and joined.
    pub(crate) node: f64,
    pub(crate) redis: f64,
}

/// The storms of one mode.
pub(crate) struct Storms(Vec<Storm>);

/// What a storm took of one server.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(crate) connected: u64,
    pub(crate) spent: Spent,
}

impl Took {
    fn micros(self, seconds: f64) -> f64 {
        seconds * 1e6 / self.connected.max(1) as f64
    }

    /// Of the server.
    pub(crate) fn server_micros(self) -> f64 {
        self.micros(self.spent.server.total)
    }

    pub(crate) fn redis_micros(self) -> f64 {
        self.micros(self.spent.redis)
    }
}

/// Everybody logs in and joins. What it took of the node and of Redis, the clients, and why they are fewer than wanted.
pub(crate) fn storm(
    node: &Node,
    redis: Option<&Redis>,
    settings: &Settings,
    cores: Cores,
) -> Result<(Took, Load, Option<String>)> {
    let group = if settings.own_groups { "bench-{}" } else { GROUP };
    let pids = |load| Pids { server: node.pid(), load, redis: redis.map(Redis::pid) };
    let before = Spent::until_now(pids(None))?;
    let mut load = Load::start(&node.public, settings.connections, Some(group), cores)?;
    let logins = load.logins()?;
    let spent = Spent::until_now(pids(Some(load.pid())))?.since(before).shown();
    Ok((Took { connected: logins.connected, spent }, load, logins.trouble))
}

/// The floor knows no groups: nobody joins one there.
pub(crate) fn floor(settings: &Settings, cores: Cores) -> Result<Took> {
    let (floor, address) = fanout::start_floor(cores)?;
    let pids = |load| Pids { server: floor.pid(), load, redis: None };
    let before = Spent::until_now(pids(None))?;
    let mut load = Load::start(&address, settings.connections, None, cores)?;
    let connected = load.logged_in()?;
    Ok(Took { connected, spent: Spent::until_now(pids(Some(load.pid())))?.since(before).shown() })
}

impl Storms {
    /// Those of a mode whose first one was measured along with the memory; the rest follow, each behind a floor's.
    pub(crate) fn behind(first: Storm, mode: Mode, settings: &Settings, cores: Cores) -> Result<Self> {
        let mut storms = vec![first];
        while storms.len() < STORMS {
            let floor = floor(settings, cores)?;
            let node = node(mode, settings, cores)?;
            storms.push(Storm::new(floor, node));
        }
        Ok(Self(storms))
    }

    pub(crate) fn node(&self) -> f64 {
        self.median(|storm| storm.node)
    }

    pub(crate) fn floor(&self) -> f64 {
        self.median(|storm| storm.floor)
    }

    pub(crate) fn redis(&self) -> f64 {
        self.median(|storm| storm.redis)
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Storm> {
        self.0.iter()
    }

    fn median(&self, of: impl Fn(&Storm) -> f64) -> f64 {
        median_of(self.0.iter().map(of).collect())
    }

    pub(crate) fn to_json(&self) -> Value {
        let storm =
            |Storm { floor, node, redis }: &Storm| json!({ "floor_us": floor, "node_us": node, "redis_us": redis });
        json!({
            "storms": self.0.iter().map(storm).collect::<Vec<_>>(),
            "median_node_us": self.node(), "median_floor_us": self.floor(), "median_redis_us": self.redis(),
        })
    }
}

impl Storm {
    pub(crate) fn new(floor: Took, node: Took) -> Self {
        Self { floor: floor.server_micros(), node: node.server_micros(), redis: node.redis_micros() }
    }
}

fn node(mode: Mode, settings: &Settings, cores: Cores) -> Result<Took> {
    let redis = (mode == Mode::Redis).then(|| Redis::start(settings)).transpose()?;
    let node = redis.as_ref().map_or_else(|| Node::local(cores), |redis| Node::on(redis, cores))?;
    Ok(storm(&node, redis.as_ref(), settings, cores)?.0)
}
