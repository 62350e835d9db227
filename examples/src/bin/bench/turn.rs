//! One turn of one server: what was delivered, what it cost, and what else took CPU meanwhile.

use serde_json::{Value, json};

pub(crate) use gim_proxy_sdk::bench::report::Outcome;
use gim_proxy_sdk::bench::report::Report;

use crate::args::Settings;
use crate::process::{self, Cpu};
use crate::redis::Commands;
use crate::{Result, clock};

/// Frames have one length but for the digits of an id and of an offset.
const SAME: u64 = 6;

/// One turn of one server.
pub(crate) struct Turn {
    pub(crate) members: u64,
    pub(crate) expected: u64,
    /// All that arrived, whatever came twice included.
    pub(crate) deliveries: u64,
    pub(crate) outcome: Outcome,
    pub(crate) spent: Spent,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    pub(crate) bytes: u64,
    pub(crate) frame: u64,
    /// What Redis was asked, where there is one.
    pub(crate) commands: Option<Commands>,
}

/// Whose CPU time is read.
#[derive(Clone, Copy)]
pub(crate) struct Pids {
    pub(crate) server: u32,
    pub(crate) load: Option<u32>,
    pub(crate) redis: Option<u32>,
}

/// A server and its clients, up and warm.
pub(crate) trait Paced: Sized {
    /// Sends for a second, and waits until all of it has arrived.
    fn second(&mut self, settings: &Settings) -> Result<()>;

    /// Ends it, and tells what became of all its seconds.
    fn end(self) -> Result<Turn>;

    /// All its seconds in a row.
    fn alone(mut self, settings: &Settings) -> Result<Turn> {
        for _ in 0..settings.seconds {
            self.second(settings)?;
        }
        self.end()
    }
}

/// CPU time in seconds: since each process began, or of one turn.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) server: Cpu,
    pub(crate) redis: f64,
    pub(crate) conductor: f64,
    /// By everything on the machine but the bench.
    pub(crate) others: f64,
    /// Wall clock.
    pub(crate) wall: f64,
}

pub(crate) struct Round {
    pub(crate) floor: Turn,
    pub(crate) node: Turn,
}

impl Spent {
    pub(crate) fn until_now(pids: Pids) -> Result<Self> {
        let of = |pid: Option<u32>| pid.map_or(Ok(0.0), |pid| process::cpu(pid).map(|cpu| cpu.total));
        let server = process::cpu(pids.server)?;
        let (redis, load, conductor) = (of(pids.redis)?, of(pids.load)?, of(Some(std::process::id()))?);
        let others = process::machine_busy_seconds()? - server.total - redis - load - conductor;
        Ok(Self { server, redis, conductor, others, wall: clock::now() as f64 / 1e9 })
    }

    /// What was spent since an earlier reading of the same processes.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            server: self.server.since(before.server),
            redis: self.redis - before.redis,
            conductor: self.conductor - before.conductor,
            others: self.others - before.others,
            wall: self.wall - before.wall,
        }
    }

    /// As a figure: of clocks that tick every 10 ms, a little less than nothing may be left for others.
    pub(crate) fn shown(self) -> Self {
        Self { others: self.others.max(0.0), ..self }
    }

    /// What was spent in either of two turns.
    pub(crate) fn and(self, other: Self) -> Self {
        let (one, two) = (self.server, other.server);
        Self {
            server: Cpu { user: one.user + two.user, total: one.total + two.total },
            redis: self.redis + other.redis,
            conductor: self.conductor + other.conductor,
            others: self.others + other.others,
            wall: self.wall + other.wall,
        }
    }

    /// A worker in a process of its own belongs to the server, not to the others.
    pub(crate) fn add_worker(&mut self, worker: Cpu) {
        self.server.user += worker.user;
        self.server.total += worker.total;
        self.others -= worker.total;
    }
}

impl Turn {
    /// Reads the load client's report of a turn in which `members` were to get `expected` messages together.
    pub(crate) fn new(report: &Report, members: u64, expected: u64, spent: Spent) -> Result<Self> {
        if report.longest_frame > report.shortest_frame + SAME {
            return Err("frames of one server differ in length".into());
        }
        Ok(Self {
            members,
            expected,
            deliveries: report.deliveries,
            outcome: report.outcome(expected),
            spent: spent.shown(),
            p50_us: report.latency.per_mille(500),
            p99_us: report.latency.per_mille(990),
            max_us: report.latency.largest(),
            bytes: report.bytes,
            frame: report.longest_frame,
            commands: None,
        })
    }

    /// Deliveries that arrived, by CPU time of the server.
    /// What took less CPU than the clock can tell counts as one step of it.
    pub(crate) fn per_cpu_second(&self) -> f64 {
        const STEP: f64 = 0.01;
        (self.deliveries - self.outcome.repeated) as f64 / self.spent.server.total.max(STEP)
    }

    /// Share of what was expected that arrived.
    pub(crate) fn ratio(&self) -> f64 {
        (self.deliveries - self.outcome.repeated) as f64 / self.expected.max(1) as f64
    }

    pub(crate) fn to_json(&self) -> Value {
        let Self { members, expected, deliveries, spent, p50_us, p99_us, max_us, bytes, frame, .. } = self;
        json!({
            "members": members, "expected": expected, "deliveries": deliveries, "delivery_ratio": self.ratio(),
            "outcome": self.outcome, "server_cpu_seconds": spent.server.total,
            "server_user_seconds": spent.server.user, "redis_cpu_seconds": spent.redis,
            "others_cpu_seconds": spent.others, "deliveries_per_cpu_second": self.per_cpu_second(),
            "p50_us": p50_us, "p99_us": p99_us, "max_us": max_us, "bytes_received": bytes, "frame_bytes": frame,
            "redis_commands": self.commands.as_ref().map(|commands| commands.to_json(*expected)),
        })
    }
}

impl Round {
    /// Both get a second each by turns: the machine is not as fast in one minute as in the next. None follows the other more
    /// often than the other way round.
    pub(crate) fn by_turns<P: Paced>(mut floor: P, mut node: P, settings: &Settings) -> Result<Self> {
        for second in 0..settings.seconds {
            let pair = if second % 2 == 0 { [&mut floor, &mut node] } else { [&mut node, &mut floor] };
            for stage in pair {
                stage.second(settings)?;
            }
        }
        Self::new(floor.end()?, node.end()?)
    }

    /// Puts two turns together. Frames of both must have one length, but for the digits of an id.
    pub(crate) fn new(floor: Turn, node: Turn) -> Result<Self> {
        match floor.frame.abs_diff(node.frame) <= SAME {
            true => Ok(Self { floor, node }),
            false => Err(format!("frames differ: floor {} bytes, node {}", floor.frame, node.frame).into()),
        }
    }

    /// The node as a share of the floor of the same round.
    pub(crate) fn ratio(&self) -> f64 {
        self.node.per_cpu_second() / self.floor.per_cpu_second()
    }

    /// The node's p99 as a multiple of the floor's.
    pub(crate) fn p99_ratio(&self) -> f64 {
        self.node.p99_us as f64 / self.floor.p99_us.max(1) as f64
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "floor": self.floor.to_json(), "node": self.node.to_json(), "ratio": self.ratio() })
    }
}

/// The median over all rounds of something of a round.
pub(crate) fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    median_of(rounds.iter().map(of).collect())
}

pub(crate) fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2)) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => f64::NAN,
    }
}
