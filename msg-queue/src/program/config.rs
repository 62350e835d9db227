//! The configuration of a worker: the part of a cluster's one file that is about it.
//!
//! Owns which sections a worker reads, and which keys are nodes' alone ([`OTHERS`]): those are passed over, so that nodes
//! and workers can be given the same file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gim_proto::Keys;
use serde::{Deserialize, Serialize};

use crate::config::{
    self, AdminSection, ConfigError, EtcdSection, Invalid, LedgerSection, LogSection, MailboxSection, Mode,
    NodeSection, QueueSection, RedisSection, RpcSection, ShutdownSection, Sources, WorkerSection,
};

/// Keys and sections of nodes.
const OTHERS: &[&str] = &[
    "listen.public",
    "listen.rpc",
    "node.advertise_rpc",
    "node.advertise_public",
    "session",
    "limits",
    "auth",
    "upstream",
    "local",
    "shutdown.drain_rate",
    "shutdown.drain_over",
    "shutdown.hint_spread",
];

/// Everything a worker can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the service stands on. A worker of its own is for mode `cluster`.
    pub mode: Mode,
    /// First part of every key this service writes, so that two can share a store: 1 to 64 of `[A-Za-z0-9._:-]`.
    pub prefix: String,
    /// This process. Without a name of its own it is `<host>-<admin port>`.
    pub node: NodeSection,
    /// Where Redis is.
    pub redis: RedisSection,
    /// Where etcd is.
    pub etcd: EtcdSection,
    /// How processes of the service know each other.
    pub rpc: RpcSection,
    /// Addresses.
    pub listen: ListenSection,
    /// The admin listener's door.
    pub admin: AdminSection,
    /// How much the queue holds.
    pub queue: QueueSection,
    /// How the queue is worked on.
    pub worker: WorkerSection,
    /// How much is kept of each user's durable messages.
    pub mailbox: MailboxSection,
    /// What is written down about messages and users.
    pub ledger: LedgerSection,
    /// Where log lines go.
    pub log: LogSection,
    /// How the worker leaves.
    pub shutdown: ShutdownSection,
}

/// The one listener of a worker. Port 0 takes any free port, which is told in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenSection {
    /// Operators: `/healthz`, `/readyz`, `/sysinfo`, `/metrics`. Beyond loopback it needs `admin.token`.
    #[serde(with = "config::address")]
    pub admin: SocketAddr,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self { admin: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8082) }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            prefix: "gim".to_owned(),
            node: NodeSection::default(),
            redis: RedisSection::default(),
            etcd: EtcdSection::default(),
            rpc: RpcSection::default(),
            listen: ListenSection::default(),
            admin: AdminSection::default(),
            queue: QueueSection::default(),
            worker: WorkerSection::default(),
            mailbox: MailboxSection::default(),
            ledger: LedgerSection::default(),
            log: LogSection::default(),
            shutdown: ShutdownSection::default(),
        }
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The first key that is unknown or holds what it may not, and where it was set. Keys of nodes are not looked at.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        config::load_beside::<Self>(sources, OTHERS)?.validated(Self::validate)
    }

    /// Checks every section and the rules between them.
    ///
    /// # Errors
    /// Names the first key whose value is senseless, alone or together with another.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.mode != Mode::Cluster {
            let allowed = "must be `cluster` for msg-queue: in the modes `local` and `redis` the worker is in the node";
            return Err(Invalid::new("mode", allowed));
        }
        self.keys()?;
        self.node.validate()?;
        self.redis.validate()?;
        self.etcd.validate()?;
        self.rpc.validate()?;
        self.admin.validate()?;
        self.queue.validate()?;
        self.worker.validate()?;
        self.mailbox.validate()?;
        self.ledger.validate()?;
        self.log.validate()?;
        self.shutdown.validate()?;
        self.admin.validate_reach(self.listen.admin)
    }

    /// Makes what spells the keys.
    ///
    /// # Errors
    /// Names `prefix`.
    pub fn keys(&self) -> Result<Keys, Invalid> {
        Keys::new(&self.prefix)
            .map_err(|_| Invalid::new("prefix", "must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -"))
    }
}
