//! Paced fan-out: one message at a time to every member of one group, floor and node turn by turn.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Settings;
use crate::child::Child;
use crate::machine::Cores;
use crate::node::NodeChild;
use crate::post::Poster;
use crate::process::Cpu;
use crate::{Result, clock, load, message, process};

/// The group that everybody is in.
pub(crate) const GROUP: &str = "bench";
/// The share of the floor that a node should reach, at least.
pub(crate) const TARGET: f64 = 0.85;
/// How many times the floor's p99 a node's may be.
pub(crate) const TARGET_P99: f64 = 1.5;

const START: Duration = Duration::from_secs(10);
const LOGIN: Duration = Duration::from_secs(70);
/// How long after its last message a turn may take.
const GRACE: Duration = Duration::from_secs(10);

/// One turn of one server.
pub(crate) struct Turn {
    pub(crate) members: u64,
    pub(crate) expected: u64,
    pub(crate) deliveries: u64,
    pub(crate) cpu_seconds: f64,
    /// The part of it that is not the kernel's.
    pub(crate) user_seconds: f64,
    /// CPU time that programs other than this bench took meanwhile, on all cores.
    pub(crate) others_seconds: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    pub(crate) bytes: u64,
    pub(crate) frame: u64,
}

pub(crate) struct Round {
    pub(crate) floor: Turn,
    pub(crate) node: Turn,
}

pub(crate) struct Fanout {
    pub(crate) rounds: Vec<Round>,
}

/// CPU time, in seconds.
struct Spent {
    server: Cpu,
    /// By everything on the machine but the bench.
    others: f64,
}

enum Server {
    Floor { child: Child, address: String },
    Node { node: NodeChild, poster: Poster },
}

pub(crate) fn measure(settings: &Settings, cores: Cores, seen: impl Fn(usize, &Round)) -> Result<Fanout> {
    let mut rounds = Vec::with_capacity(settings.rounds);
    for number in 1..=settings.rounds {
        let floor = turn(Server::floor(cores)?, settings, cores)?;
        let node = turn(Server::node(cores)?, settings, cores)?;
        if floor.frame != node.frame {
            return Err(format!("frames differ: floor {} bytes, node {}", floor.frame, node.frame).into());
        }
        let round = Round { floor, node };
        seen(number, &round);
        rounds.push(round);
    }
    Ok(Fanout { rounds })
}

/// A fresh server and a fresh client: no turn inherits anything from the one before.
fn turn(mut server: Server, settings: &Settings, cores: Cores) -> Result<Turn> {
    let mut load = server.log_in(settings.members, cores)?;
    let login = load.hear(LOGIN)?;
    let members = login["connected"].as_u64().unwrap_or(0);
    if members == 0 {
        return Err(format!("nobody could connect: {}", login["trouble"]).into());
    }
    // A second of messages that nobody counts: first allocations, caches, congestion windows.
    send(&mut server, &mut load, settings, members, settings.rate)?;
    let before = Spent::until_now(&server, &load)?;
    let report = send(&mut server, &mut load, settings, members, settings.messages())?;
    let spent = Spent::until_now(&server, &load)?;
    if report["shortest_frame"] != report["longest_frame"] {
        return Err("frames of one server differ in length".into());
    }
    let number = |key: &str| report[key].as_u64().unwrap_or(0);
    Ok(Turn {
        members,
        expected: settings.messages() * members,
        deliveries: number("deliveries"),
        cpu_seconds: spent.server.total - before.server.total,
        user_seconds: spent.server.user - before.server.user,
        others_seconds: (spent.others - before.others).max(0.0),
        p50_us: number("p50_us"),
        p99_us: number("p99_us"),
        max_us: number("max_us"),
        bytes: number("bytes"),
        frame: number("longest_frame"),
    })
}

fn send(server: &mut Server, load: &mut Child, settings: &Settings, members: u64, messages: u64) -> Result<Value> {
    let sending = Duration::from_nanos(clock::interval(settings.rate) * messages);
    let within = sending + GRACE;
    load.tell(&format!("expect {} {}", members * messages, within.as_millis()))?;
    match server {
        Server::Floor { child, .. } => {
            child.tell(&format!("send {messages} {} {}", settings.rate, settings.payload))?;
            child.hear(within)?;
        }
        Server::Node { poster, .. } => post(poster, settings, messages)?,
    }
    load.hear(within)
}

/// One message per tick into the node's queue, over the road that applications take.
fn post(poster: &mut Poster, settings: &Settings, messages: u64) -> Result<()> {
    let interval = clock::interval(settings.rate);
    let mut due = clock::now();
    for _ in 0..messages {
        due += interval;
        clock::sleep_until(due);
        // Stamped, like the floor's, with the time it was due: lateness of the conductor counts against the node.
        let data: Value = serde_json::from_str(&message::payload(due, settings.payload))?;
        poster.enqueue(&json!({ "tgid": GROUP, "id": message::id(due), "data": data }))?;
    }
    Ok(())
}

impl Server {
    fn floor(cores: Cores) -> Result<Self> {
        let mut child = Child::start("serve-floor", cores.server, &[])?;
        let address = child.hear(START)?["address"].as_str().ok_or("the floor has no address")?.to_owned();
        Ok(Self::Floor { child, address })
    }

    fn node(cores: Cores) -> Result<Self> {
        let node = NodeChild::start(cores)?;
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
    fn log_in(&self, members: usize, cores: Cores) -> Result<Child> {
        match self {
            Self::Floor { address, .. } => load::start(address, members, None, cores),
            Self::Node { node, .. } => load::start(&node.public, members, Some(GROUP), cores),
        }
    }
}

impl Spent {
    fn until_now(server: &Server, load: &Child) -> Result<Self> {
        let spent = process::cpu(server.pid())?;
        let ours = spent.total + process::cpu(load.pid())?.total + process::cpu(std::process::id())?.total;
        Ok(Self { server: spent, others: process::machine_busy_seconds()? - ours })
    }
}

impl Turn {
    /// Deliveries that arrived, by CPU time of the server.
    pub(crate) fn per_cpu_second(&self) -> f64 {
        self.deliveries as f64 / self.cpu_seconds.max(f64::MIN_POSITIVE)
    }

    /// Share of what was expected that arrived.
    pub(crate) fn ratio(&self) -> f64 {
        self.deliveries as f64 / self.expected.max(1) as f64
    }

    fn to_json(&self) -> Value {
        json!({
            "members": self.members, "expected": self.expected, "deliveries": self.deliveries,
            "delivery_ratio": self.ratio(), "server_cpu_seconds": self.cpu_seconds, "server_user_seconds": self.user_seconds,
            "others_cpu_seconds": self.others_seconds,
            "deliveries_per_cpu_second": self.per_cpu_second(), "p50_us": self.p50_us, "p99_us": self.p99_us,
            "max_us": self.max_us, "bytes_received": self.bytes, "frame_bytes": self.frame,
        })
    }
}

impl Round {
    /// The node as a share of the floor of the same round.
    pub(crate) fn ratio(&self) -> f64 {
        self.node.per_cpu_second() / self.floor.per_cpu_second()
    }

    /// The node's p99 as a multiple of the floor's.
    pub(crate) fn p99_ratio(&self) -> f64 {
        self.node.p99_us as f64 / self.floor.p99_us.max(1) as f64
    }

    fn to_json(&self) -> Value {
        json!({ "floor": self.floor.to_json(), "node": self.node.to_json(), "ratio": self.ratio() })
    }
}

impl Fanout {
    /// The median over all rounds of something of a round.
    pub(crate) fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        match (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2)) {
            (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
            _ => f64::NAN,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let ratio = self.median(Round::ratio);
        let latency = self.median(Round::p99_ratio);
        json!({
            "median_p99_ratio": latency, "target_p99_ratio": TARGET_P99, "p99_met": latency <= TARGET_P99,
            "rounds": self.rounds.iter().map(Round::to_json).collect::<Vec<_>>(),
            "median_ratio": ratio, "target_ratio": TARGET, "met": ratio >= TARGET,
        })
    }
}
