//! The configuration of a node.
//!
//! Owns the schema: one section per concern, each with its defaults and its bounds, and the rules between them.
//! `Config::default()` is the default of mode `local`; who embeds the node builds one in code. Never reads the
//! process environment: [`crate::cli`] is given it.

mod auth;
mod limits;
mod listen;
mod session;
#[cfg(test)]
mod tests;
mod upstream;

use std::net::{IpAddr, Ipv4Addr};

use gim_msg_queue::config as shared;
use gim_proto::Keys;
use serde::{Deserialize, Serialize};

pub use gim_msg_queue::config::{
    AdminSection, ByteSize, ConfigError, ConfigErrorKind, EtcdSection, Fsync, Invalid, LedgerSection, LocalSection,
    LogFormat, LogRotation, LogSection, LogTarget, MailboxSection, Mode, NodeSection, Origin, QueueSection,
    RedisSection, RpcSection, Secret, ShutdownSection, Sources, WorkerSection,
};
pub use gim_proxy_sdk::directory::OnDuplicate;

pub use auth::{AuthMode, AuthSection};
pub use limits::LimitsSection;
pub use listen::ListenSection;
pub use session::{OnSlow, SessionSection};
pub use upstream::UpstreamSection;

/// Everything a node can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the service stands on.
    pub mode: Mode,
    /// First part of every key this service writes, so that two can share a store: 1 to 64 of `[A-Za-z0-9._:-]`.
    pub prefix: String,
    /// This process.
    pub node: NodeSection,
    /// What outlives the process, in mode `local`.
    pub local: LocalSection,
    /// Where Redis is, in mode `redis`.
    pub redis: RedisSection,
    /// Where etcd is and how to get in.
    pub etcd: EtcdSection,
    /// Addresses.
    pub listen: ListenSection,
    /// The admin listener's door.
    pub admin: AdminSection,
    /// How processes of the service know each other.
    pub rpc: RpcSection,
    /// How one session lives.
    pub session: SessionSection,
    /// What the public listener lets in.
    pub limits: LimitsSection,
    /// How a client proves who it is.
    pub auth: AuthSection,
    /// How much the queue holds.
    pub queue: QueueSection,
    /// How the queue is worked on.
    pub worker: WorkerSection,
    /// How much is kept of each user's durable messages.
    pub mailbox: MailboxSection,
    /// What is written down about messages and users.
    pub ledger: LedgerSection,
    /// What becomes of commands nobody here handles.
    pub upstream: UpstreamSection,
    /// Where log lines go.
    pub log: LogSection,
    /// How the node leaves.
    pub shutdown: ShutdownSection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            prefix: "gim".to_owned(),
            node: NodeSection::default(),
            local: LocalSection::default(),
            redis: RedisSection::default(),
            etcd: EtcdSection::default(),
            listen: ListenSection::default(),
            admin: AdminSection::default(),
            rpc: RpcSection::default(),
            session: SessionSection::default(),
            limits: LimitsSection::default(),
            auth: AuthSection::default(),
            queue: QueueSection::default(),
            worker: WorkerSection::default(),
            mailbox: MailboxSection::default(),
            ledger: LedgerSection::default(),
            upstream: UpstreamSection::default(),
            log: LogSection::default(),
            shutdown: ShutdownSection::default(),
        }
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The first key that is unknown or holds what it may not, and where it was set.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut loaded = shared::load::<Self>(sources)?;
        let is_default = |key| loaded.origin(key) == Origin::Default;
        let believes_anybody = is_default("auth.mode");
        let (rpc_is_default, embedded_is_default) = (is_default("listen.rpc"), is_default("worker.embedded"));
        if loaded.value.mode == Mode::Cluster {
            // What a node of a cluster is as a rule: reached from elsewhere, and without a worker of its own.
            if rpc_is_default {
                loaded.value.listen.rpc.set_ip(Ipv4Addr::UNSPECIFIED.into());
            }
            if embedded_is_default {
                loaded.value.worker.embedded = false;
            }
        }
        loaded.validated(|config| {
            config.validate()?;
            if config.mode != Mode::Local && believes_anybody {
                let allowed = "must be set beyond mode `local`; `none` believes every client the uid it names";
                return Err(Invalid::against("auth.mode", "mode", allowed));
            }
            Ok(())
        })
    }

    /// Checks every section and the rules between them.
    ///
    /// # Errors
    /// Names the first key whose value is senseless, alone or together with another.
    pub fn validate(&self) -> Result<(), Invalid> {
        Keys::new(&self.prefix)
            .map_err(|_| Invalid::new("prefix", "must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -"))?;
        self.node.validate()?;
        self.local.validate()?;
        self.redis.validate()?;
        self.etcd.validate()?;
        self.listen.validate()?;
        self.admin.validate()?;
        self.rpc.validate()?;
        self.session.validate()?;
        self.limits.validate()?;
        self.queue.validate()?;
        self.worker.validate()?;
        self.mailbox.validate()?;
        self.ledger.validate()?;
        self.upstream.validate()?;
        self.log.validate()?;
        self.shutdown.validate()?;
        self.validate_reach()
    }

    /// Checks that nobody reaches from outside what has no lock.
    fn validate_reach(&self) -> Result<(), Invalid> {
        self.admin.validate_reach(self.listen.admin)?;
        match self.mode {
            Mode::Local | Mode::Redis => self.validate_alone()?,
            Mode::Cluster => self.validate_cluster()?,
        }
        if self.mode == Mode::Local && self.upstream.enabled {
            let allowed = "must be false in mode `local`: there is no stream to put commands on";
            return Err(Invalid::against("upstream.enabled", "mode", allowed));
        }
        Ok(())
    }

    fn validate_alone(&self) -> Result<(), Invalid> {
        if !self.worker.embedded {
            let allowed = "must be true in the modes `local` and `redis`: the worker runs inside the one node";
            return Err(Invalid::against("worker.embedded", "mode", allowed));
        }
        if !self.listen.rpc.ip().is_loopback() {
            let allowed = "must be a loopback address in the modes `local` and `redis`";
            return Err(Invalid::against("listen.rpc", "mode", allowed));
        }
        Ok(())
    }

    fn validate_cluster(&self) -> Result<(), Invalid> {
        if !self.listen.rpc.ip().is_loopback() && self.rpc.token.is_none() {
            let allowed = "must be a loopback address unless rpc.token is set";
            return Err(Invalid::against("listen.rpc", "rpc.token", allowed));
        }
        let Some(advertised) = &self.node.advertise_rpc else {
            let allowed = "must be set in mode `cluster`: where other nodes, workers and services reach listen.rpc";
            return Err(Invalid::against("node.advertise_rpc", "mode", allowed));
        };
        if self.listen.rpc.ip().is_loopback() && !is_loopback(advertised) {
            let allowed = "must not be a loopback address where node.advertise_rpc is none: nobody would reach it";
            return Err(Invalid::against("listen.rpc", "node.advertise_rpc", allowed));
        }
        Ok(())
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
