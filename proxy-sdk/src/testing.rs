//! Real servers for tests and benches, on free ports of 127.0.0.1, gone when their handle is.
//!
//! Owns processes and their folders. A server that is not installed is a loud failure that says how to install it.
//! Everything here panics instead of returning errors: a test that cannot start its servers has failed.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot start its servers fails loudly")]

mod acl;
mod cluster;
mod etcd;
mod instance;
mod process;
mod redis;
mod sentinel;
mod tls;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

pub use self::acl::{Denial, denials, sentinel_users_of, users_of};
pub use self::cluster::RedisCluster;
pub use self::etcd::{EtcdServer, EtcdSet, shared_etcd};
pub use self::process::Process;
pub use self::redis::{RedisServer, shared_redis};
pub use self::sentinel::SentinelSet;
pub use self::tls::{Certificates, ClientCertificate, TlsServer};

/// How long a server may take to do what was asked. Far above what it takes, so that a busy machine fails nothing.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Makes a prefix for keys that nobody else uses.
#[must_use]
pub fn prefix() -> String {
    format!("t-{}", gim_proto::SessionId::mint()).to_lowercase()
}

/// Finds a port that nobody listens on right now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("the port").port()
}
