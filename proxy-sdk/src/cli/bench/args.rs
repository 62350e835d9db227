//! The flags of `gim bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};

use super::super::time;
use crate::bench::address::{HttpAddress, WsAddress};
use crate::bench::feed::Class;
use crate::bench::run::{Kind, Mix};

/// Heads the flags that every kind of load takes.
const EVERY: &str = "Every load";

#[derive(Debug, Args)]
pub(in crate::cli) struct Bench {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    load: Load,
}

/// What is the same for every kind of load.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Where clients connect; several get connections in turn. {uid} in it stands for the uid, otherwise the query names it
    #[arg(long, global = true, help_heading = EVERY, value_name = "URL,URL", value_delimiter = ',', default_value = "ws://127.0.0.1:8080/ws")]
    pub(super) url: Vec<WsAddress>,
    /// How many connections, each a user
    #[arg(long, global = true, help_heading = EVERY, default_value_t = 1_000)]
    pub(super) connections: usize,
    /// Processes that hold them
    #[arg(long, global = true, help_heading = EVERY, default_value_t = 1)]
    pub(super) clients: usize,
    /// Posts messages to these admin listeners in turn
    #[arg(long, global = true, help_heading = EVERY, value_name = "URL,URL", value_delimiter = ',', default_value = "http://127.0.0.1:8081", conflicts_with = "redis")]
    pub(super) http: Vec<HttpAddress>,
    /// A file with the token that the admin listeners ask for; without it the variable GIM_ADMIN__TOKEN is read
    #[arg(long, global = true, help_heading = EVERY, value_name = "FILE", conflicts_with = "redis")]
    pub(super) admin_token_file: Option<PathBuf>,
    /// Puts messages on the streams in this Redis, by plain XADD; its keys begin with --prefix. Without user and password
    #[arg(long, global = true, help_heading = EVERY, value_name = "URL")]
    pub(super) redis: Option<String>,
    /// The user that Redis asks for; without it the variable GIM_REDIS__USERNAME counts
    #[arg(long, global = true, help_heading = EVERY, value_name = "NAME", requires = "redis")]
    pub(super) redis_username: Option<String>,
    /// A file with its password; without it the variable GIM_REDIS__PASSWORD is read
    #[arg(long, global = true, help_heading = EVERY, value_name = "FILE", requires = "redis")]
    pub(super) redis_password_file: Option<PathBuf>,
    /// The same by the producer of the SDK, also with redis-sentinel:// and redis-cluster://
    #[arg(long, global = true, help_heading = EVERY, requires = "redis", action = ArgAction::SetTrue)]
    pub(super) sdk: bool,
    /// What the uids begin with; a number follows
    #[arg(long, global = true, help_heading = EVERY, value_name = "TEXT", default_value = "bench-")]
    pub(super) users: String,
    /// What the names of groups begin with; a number follows
    #[arg(long, global = true, help_heading = EVERY, value_name = "TEXT", default_value = "bench")]
    pub(super) group: String,
    /// Bytes of data in each message; the frame around it comes on top
    #[arg(long, global = true, help_heading = EVERY, value_name = "BYTES", default_value_t = 128)]
    pub(super) payload: usize,
    /// Processes on this machine whose CPU time and memory are read: names such as ws-node, or process ids
    #[arg(long, global = true, help_heading = EVERY, value_name = "NAME,NAME", value_delimiter = ',')]
    pub(super) process: Vec<String>,
    /// How long after the last message something may still come, before it counts as lost
    #[arg(long, global = true, help_heading = EVERY, value_name = "DURATION", default_value = "10s", value_parser = time::positive)]
    pub(super) grace: Duration,
    /// Logins under way at once, of each process that holds connections
    #[arg(long, global = true, help_heading = EVERY, default_value_t = 128, value_parser = window)]
    pub(super) window: usize,
}

fn window(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=100_000).contains(count));
    count.ok_or_else(|| "must be 1 to 100000".to_owned())
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Load {
    /// Messages at a pace to a group that everybody is in
    Fanout {
        /// Messages a second
        #[arg(long, default_value_t = 10)]
        rate: u64,
        /// How long
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// As many messages as fast as they can be queued, by turns to groups of the same members
    Burst {
        /// How many
        #[arg(long, default_value_t = 1_000)]
        messages: u64,
        /// To how many groups
        #[arg(long, default_value_t = 2)]
        groups: u64,
    },
    /// Messages at a pace to users drawn at random
    Unicast {
        /// Messages a second
        #[arg(long, default_value_t = 1_000)]
        rate: u64,
        /// How long
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Each has an id of its own, so that a repeat has no effect
        #[arg(long)]
        ids: bool,
    },
    /// The same with durable messages, which the users acknowledge
    Durable {
        /// Messages a second
        #[arg(long, default_value_t = 500)]
        rate: u64,
        /// How long
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Each has an id of its own, so that a repeat has no effect
        #[arg(long)]
        ids: bool,
        /// What becomes of each is written to the receipts
        #[arg(long)]
        receipts: bool,
    },
    /// Connections that do nothing: what they cost in memory and CPU
    Idle {
        /// How long
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Everybody logs in at once, again and again
    Login {
        /// How often
        #[arg(long, default_value_t = 3)]
        rounds: u64,
    },
    /// Everything at once, for long: single users, a group, durable messages, connections that break and come back
    Soak {
        /// How long
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Live messages a second to users that are never cut
        #[arg(long, default_value_t = 500)]
        unicast: u64,
        /// Messages a second to a group of those who are never cut
        #[arg(long, default_value_t = 1)]
        group_rate: u64,
        /// Durable messages a second to everybody
        #[arg(long, default_value_t = 200)]
        durable: u64,
        /// Connections cut each second; they come back at once
        #[arg(long, default_value_t = 10)]
        cuts: u64,
        /// How many of the connections may be cut, in percent
        #[arg(long, default_value_t = 10)]
        cut_percent: usize,
    },
}

impl Bench {
    pub(super) const fn common(&self) -> &Common {
        &self.common
    }

    pub(super) const fn seconds(&self) -> u64 {
        match self.load {
            Load::Fanout { seconds, .. }
            | Load::Unicast { seconds, .. }
            | Load::Durable { seconds, .. }
            | Load::Idle { seconds }
            | Load::Soak { seconds, .. } => seconds,
            Load::Burst { .. } | Load::Login { .. } => 1,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self.load {
            Load::Fanout { rate, .. } => Kind::Fanout { rate },
            Load::Burst { messages, groups } => Kind::Burst { messages, groups },
            Load::Unicast { rate, ids, .. } => Kind::Unicast { rate, ids, class: Class::Live },
            Load::Durable { rate, ids, receipts, .. } => {
                let class = if receipts { Class::DurableWithReceipt } else { Class::Durable };
                Kind::Unicast { rate, ids, class }
            }
            Load::Idle { .. } => Kind::Idle,
            Load::Login { rounds } => Kind::Login { rounds },
            Load::Soak { unicast, group_rate, durable, cuts, cut_percent, .. } => {
                Kind::Soak(Mix { unicast, group: group_rate, durable, cuts, cut_percent })
            }
        }
    }
}
