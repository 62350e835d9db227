//! What an idle connection costs: memory while it waits, CPU time to log in. Its uid is claimed, one group joined.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Settings;
use crate::fanout::GROUP;
use crate::machine::Cores;
use crate::node::NodeChild;
use crate::post::Poster;
use crate::process::{Memory, cpu, memory};
use crate::{Result, clock, load};

/// Bytes of RSS that one idle connection may cost.
pub(crate) const TARGET_BYTES: f64 = 2_048.0;
/// Microseconds of server CPU that one login may cost.
pub(crate) const TARGET_LOGIN: f64 = 40.0;

const LOGIN: Duration = Duration::from_secs(70);
/// Before memory is read: what starts late has started, what is given back has been given back.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) struct Idle {
    pub(crate) wanted: usize,
    pub(crate) connected: u64,
    /// Why there are fewer than wanted.
    pub(crate) trouble: Option<String>,
    /// Sessions and groups as the node itself counts them.
    pub(crate) counted: Value,
    before: Memory,
    after: Memory,
    login_seconds: f64,
}

pub(crate) fn measure(settings: &Settings, cores: Cores) -> Result<Idle> {
    let node = NodeChild::start(cores)?;
    clock::sleep(SETTLE);
    let before = memory(node.pid())?;
    let cpu_before = cpu(node.pid())?.total;
    let mut load = load::start(&node.public, settings.connections, Some(GROUP), cores)?;
    let login = load.hear(LOGIN)?;
    let login_seconds = cpu(node.pid())?.total - cpu_before;
    clock::sleep(SETTLE);
    let after = memory(node.pid())?;
    // Asked only now, because answering takes memory too.
    let counted = Poster::connect(node.admin)?.sysinfo()?["managerInfo"].take();
    Ok(Idle {
        wanted: settings.connections,
        connected: login["connected"].as_u64().unwrap_or(0),
        trouble: login["trouble"].as_str().map(str::to_owned),
        counted,
        before,
        after,
        login_seconds,
    })
}

impl Idle {
    /// Growth of RSS since before the first connection, per connection.
    pub(crate) fn rss_per_connection(&self) -> f64 {
        self.per_connection(self.before.rss, self.after.rss)
    }

    /// The part of it that is no file: heap and stacks.
    pub(crate) fn anonymous_per_connection(&self) -> f64 {
        self.per_connection(self.before.anonymous, self.after.anonymous)
    }

    pub(crate) fn rss_before(&self) -> u64 {
        self.before.rss
    }

    pub(crate) fn login_micros(&self) -> f64 {
        self.login_seconds * 1e6 / self.connected.max(1) as f64
    }

    fn per_connection(&self, before: u64, after: u64) -> f64 {
        (after as f64 - before as f64) / self.connected.max(1) as f64
    }

    pub(crate) fn to_json(&self) -> Value {
        let memory = |memory: Memory| json!({ "rss_bytes": memory.rss, "anonymous_bytes": memory.anonymous });
        json!({
            "wanted": self.wanted, "connected": self.connected, "trouble": self.trouble, "counted": self.counted,
            "before": memory(self.before), "after": memory(self.after),
            "rss_per_connection": self.rss_per_connection(),
            "anonymous_per_connection": self.anonymous_per_connection(), "target_bytes": TARGET_BYTES,
            "met": self.rss_per_connection() <= TARGET_BYTES,
            "login_cpu_seconds": self.login_seconds, "login_cpu_us": self.login_micros(),
        })
    }
}
