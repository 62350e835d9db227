//! What an idle connection costs: memory while it waits, CPU time to log in. Its uid is claimed, one group joined.
//!
//! In mode `redis` the claim and the group are there, and it is asked how many claims it has.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::{Mode, Settings};
use crate::fanout::GROUP;
use crate::load::Load;
use crate::login::{self, Storm, Storms, Took};
use crate::machine::Cores;
use crate::node::Node;
use crate::post::Poster;
use crate::process::{Memory, memory};
use crate::redis::{Commands, Redis};
use crate::turn::Outcome;
use crate::unicast::pace::{Pace, Sink};
use crate::{Result, burst, clock, message};

/// Bytes of RSS that one idle connection may cost.
pub(crate) const TARGET_BYTES: f64 = 2_048.0;
/// Microseconds of server CPU that one login may cost.
pub(crate) const TARGET_LOGIN: f64 = 40.0;

/// Before memory is read: what starts late has started, what is given back has been given back.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the traffic of either kind may take.
const WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether everything is settled.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Idle {
    pub(crate) mode: Mode,
    pub(crate) wanted: usize,
    pub(crate) connected: u64,
    /// Why there are fewer than wanted.
    pub(crate) trouble: Option<String>,
    /// Sessions and groups as the node itself counts them.
    pub(crate) counted: Value,
    before: Memory,
    after: Memory,
    /// In mode `redis`: after traffic on the same connections.
    later: Option<Memory>,
    /// What the logins took whose connections these are.
    pub(crate) took: Took,
    /// These logins, and more of their kind.
    pub(crate) storms: Storms,
    pub(crate) redis: Option<InRedis>,
}

/// What the logins left in Redis.
pub(crate) struct InRedis {
    pub(crate) claimed: u64,
    /// Bytes.
    grown: u64,
    pub(crate) commands: Commands,
}

/// Redis before the logins.
struct Before {
    memory: u64,
    commands: Commands,
}

pub(crate) fn measure(mode: Mode, settings: &Settings, cores: Cores) -> Result<Idle> {
    let floor = login::floor(settings, cores)?;
    let mut redis = (mode == Mode::Redis).then(|| Redis::start(settings)).transpose()?;
    let node = redis.as_ref().map_or_else(|| Node::local(cores), |redis| Node::told(&burst::ROOM, redis, cores))?;
    clock::sleep(SETTLE);
    let before = memory(node.pid())?;
    let redis_before = redis.as_mut().map(Before::read).transpose()?;
    let (took, mut load, trouble) = login::storm(&node, redis.as_ref(), settings, cores)?;
    clock::sleep(SETTLE);
    let after = memory(node.pid())?;
    // Asked only now, because answering takes memory too.
    let counted = Poster::connect(node.admin)?.sysinfo()?["managerInfo"].take();
    let connected = took.connected;
    let of_redis = |(redis, before): (&mut Redis, &Before)| InRedis::read(redis, before);
    let of_redis = redis.as_mut().zip(redis_before.as_ref()).map(of_redis).transpose()?;
    let later = match &mut redis {
        Some(redis) if connected > 0 && !settings.own_groups => {
            traffic(redis, &mut load, connected, settings)?;
            clock::sleep(SETTLE);
            Some(memory(node.pid())?)
        }
        _ => None,
    };
    // Of what follows nothing may be beside them.
    drop((load, node, redis));
    let storms = Storms::behind(Storm::new(floor, took), mode, settings, cores)?;
    Ok(Idle {
        mode,
        wanted: settings.connections,
        connected,
        trouble,
        counted,
        before,
        after,
        later,
        took,
        storms,
        redis: of_redis,
    })
}

/// Three seconds of messages to single users, then as many to the group at once as in a burst.
fn traffic(redis: &mut Redis, load: &mut Load, connected: u64, settings: &Settings) -> Result<()> {
    let unicast = 3 * settings.unicast_rate;
    load.begin()?;
    Pace::new(connected, settings).send(unicast, Sink::Stream(redis))?;
    let single = load.end(unicast, WITHIN)?.outcome(unicast);
    let expected = settings.burst_messages * connected;
    load.begin()?;
    let payload = |nth| message::payload(clock::now(), message::numbered(1, nth), settings.payload);
    redis.add_at_once((1..=settings.burst_messages).map(|nth| (GROUP.to_owned(), payload(nth))))?;
    let group = load.end(expected, WITHIN)?.outcome(expected);
    redis.settled(LOOK, WITHIN)?;
    match single.and(group) {
        outcome if outcome.is_clean() => Ok(()),
        Outcome { lost, repeated, out_of_order } => {
            Err(format!("traffic of idle: {lost} lost, {repeated} repeated, {out_of_order} out of order").into())
        }
    }
}

impl Before {
    fn read(redis: &mut Redis) -> Result<Self> {
        Ok(Self { memory: redis.memory()?, commands: redis.commands()? })
    }
}

impl InRedis {
    fn read(redis: &mut Redis, before: &Before) -> Result<Self> {
        let commands = redis.commands()?.since(&before.commands);
        let grown = redis.memory()?.saturating_sub(before.memory);
        Ok(Self { claimed: redis.claimed()?, grown, commands })
    }
}

impl Idle {
    /// Growth of RSS since before the first connection, per connection.
    pub(crate) fn rss_per_connection(&self) -> f64 {
        self.per_connection(self.before.rss, self.after.rss)
    }

    /// The same after traffic on these connections.
    pub(crate) fn rss_after_traffic(&self) -> Option<f64> {
        self.later.map(|later| self.per_connection(self.before.rss, later.rss))
    }

    /// The part of it that is no file: heap and stacks.
    pub(crate) fn anonymous_per_connection(&self) -> f64 {
        self.per_connection(self.before.anonymous, self.after.anonymous)
    }

    pub(crate) fn rss_before(&self) -> u64 {
        self.before.rss
    }

    /// Growth of Redis' memory per connection.
    pub(crate) fn redis_bytes(&self, redis: &InRedis) -> f64 {
        redis.grown as f64 / self.connected.max(1) as f64
    }

    fn per_connection(&self, before: u64, after: u64) -> f64 {
        (after as f64 - before as f64) / self.connected.max(1) as f64
    }

    pub(crate) fn to_json(&self) -> Value {
        let redis = |redis: &InRedis| {
            let (bytes, asked) = (self.redis_bytes(redis), redis.commands.to_json(self.connected));
            json!({ "claimed": redis.claimed, "redis_commands": asked, "bytes_per_connection": bytes })
        };
        let memory = |memory: Memory| json!({ "rss_bytes": memory.rss, "anonymous_bytes": memory.anonymous });
        json!({
            "mode": format!("{:?}", self.mode).to_lowercase(), "wanted": self.wanted, "connected": self.connected, "trouble": self.trouble, "counted": self.counted,
            "before": memory(self.before), "after": memory(self.after),
            "rss_per_connection": self.rss_per_connection(), "rss_per_connection_after_traffic": self.rss_after_traffic(),
            "anonymous_per_connection": self.anonymous_per_connection(), "target_bytes": TARGET_BYTES,
            "met": self.rss_per_connection() <= TARGET_BYTES,
            "logins": self.storms.to_json(), "login_met": self.storms.node() <= TARGET_LOGIN,
            "others_cpu_seconds": self.took.spent.others,
            "redis": self.redis.as_ref().map(redis),
        })
    }
}
