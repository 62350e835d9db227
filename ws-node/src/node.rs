//! A node as an application sees it: built, started, sending, stopped.
//!
//! Owns the facade alone. What it is made of is wired in [`crate::app`].

mod builder;

use std::net::SocketAddr;
use std::sync::Arc;

use gim_proxy_sdk::mailbox::Mailboxes;

pub use self::builder::NodeBuilder;
pub(crate) use self::builder::RESERVED;
use crate::app::Running;
use crate::config::Config;
use crate::proxy::Proxy;
use crate::shutdown::ShutdownReport;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not acceptable.
    #[error(transparent)]
    Config(#[from] gim_msg_queue::config::Invalid),
    /// A listener could not be opened.
    #[error("cannot listen on {address} ({key})")]
    Listen {
        /// The configuration key of the listener.
        key: &'static str,
        /// The address tried.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Redis does not answer, or not as it should.
    #[error("redis cannot be used")]
    Redis(#[source] gim_proxy_sdk::store::StoreError),
    /// The store of mode `local` cannot be used: somebody else has it, it is damaged, or of another version.
    #[error(transparent)]
    Store(#[from] gim_msg_queue::local::store::StoreError),
    /// What the store has kept was not read to its end.
    #[error("the start was broken off: {0}")]
    Task(String),
    /// The directory cannot be opened.
    #[error("the directory cannot be opened")]
    Directory(#[from] gim_proxy_sdk::directory::DirectoryError),
    /// The mailboxes could not be opened.
    #[error("the mailboxes cannot be used")]
    Mailboxes(#[from] gim_proxy_sdk::mailbox::MailboxError),
    /// Somebody who lives has the node's place.
    #[error(transparent)]
    Place(gim_proxy_sdk::lease::LeaseError),
    /// A command is registered twice, or under a name the node itself answers.
    #[error("the command `{name}` {why}")]
    Command {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A running node. Dropping it stops nothing in order: call [`Node::shutdown`].
pub struct Node {
    running: Arc<Running>,
}

impl Node {
    /// Begins a node with this configuration.
    #[must_use]
    pub fn builder(config: Config) -> NodeBuilder {
        NodeBuilder::new(config)
    }

    /// Where clients connect.
    #[must_use]
    pub fn public_addr(&self) -> SocketAddr {
        self.running.public
    }

    /// Where operators and backends ask.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.running.admin
    }

    /// Where SDKs and the `gim` command call.
    #[must_use]
    pub fn rpc_addr(&self) -> SocketAddr {
        self.running.rpc
    }

    /// Sends to users and groups.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        self.running.core.proxy()
    }

    /// The mailboxes this node reads, for applications that store durable messages themselves, or look at what is stored.
    #[must_use]
    pub fn mailboxes(&self) -> Arc<dyn Mailboxes> {
        Arc::clone(&self.running.core.mailboxes)
    }

    /// Completes when this node may not go on, because another run of it, or another node, has its place. It has closed
    /// its sessions then; what is left is [`Node::shutdown`]. In mode `local` it never does.
    pub async fn lost(&self) {
        self.running.lost().await;
    }

    /// Stops in phases: takes nothing new, delivers what was accepted and is due, closes the sessions in waves with
    /// 1012 and a hint, within `shutdown.deadline`. A second call waits for the first and returns its report.
    pub async fn shutdown(&self) -> ShutdownReport {
        self.running.shutdown().await
    }
}
