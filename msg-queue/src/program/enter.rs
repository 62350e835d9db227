//! What has to be so before a worker may begin: lanes agreed on, the nodes known. A Redis that starts at the same time is
//! waited for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use gim_proto::{Keys, NodeId};
use gim_proxy_sdk::directory::DirectoryError;
use gim_proxy_sdk::etcd::Watcher;
use gim_proxy_sdk::lease::node_alone;
use gim_proxy_sdk::mailbox::MailboxError;
use gim_proxy_sdk::membership::{Membership, MembershipOptions};
use gim_proxy_sdk::queue::{LanesError, agree_on_lanes};
use gim_proxy_sdk::store::{Store, StoreError, StoreErrorKind};
use tokio::time::{Duration, Instant, sleep};

use super::config::Config;
use crate::config::Invalid;

/// How long a Redis that does not answer yet is waited for at start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries of what Redis did not answer.
const AGAIN: Duration = Duration::from_millis(200);
/// How long etcd is waited for at start. Without it the worker begins, and holds back what may be for nodes that it does
/// not know of.
const FIRST: Duration = Duration::from_secs(3);

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense, alone or beside what Redis holds.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// The admin listener cannot be opened.
    #[error("listen.admin: cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Redis did not answer in time, or lets nobody in.
    #[error("redis cannot be used")]
    Redis(#[source] StoreError),
    /// A node of mode `redis` lives here, which works on the lanes itself.
    #[error("the node {id} lives at {rpc} in mode `redis` and works on the queue itself; stop it first")]
    Alone {
        /// Its name.
        id: NodeId,
        /// Where it is.
        rpc: String,
    },
    /// The directory could not be opened.
    #[error("the directory cannot be used")]
    Directory(#[from] DirectoryError),
    /// The mailboxes could not be opened.
    #[error("the mailboxes cannot be used")]
    Mailboxes(#[from] MailboxError),
}

/// Agrees on the lanes and learns who lives.
pub(super) async fn enter(
    config: &Config,
    store: &Store,
    keys: &Keys,
) -> Result<(Watcher, Arc<Membership>), StartError> {
    let watcher = Watcher::start(&config.etcd.options()?, keys);
    let give_up = Instant::now() + PATIENCE;
    let membership = loop {
        match try_to_enter(config, store, keys, &watcher).await {
            Err(StartError::Redis(error)) if is_passing(error.kind) && Instant::now() < give_up => {
                tracing::warn!(error = %error, "redis does not answer yet");
                sleep(AGAIN).await;
            }
            other => break other?,
        }
    };
    if watcher.first(FIRST).await.is_none() {
        tracing::warn!("etcd does not answer: nobody is offline before it is known which nodes there are");
    }
    Ok((watcher, membership))
}

async fn try_to_enter(
    config: &Config,
    store: &Store,
    keys: &Keys,
    watcher: &Watcher,
) -> Result<Arc<Membership>, StartError> {
    agree_on_lanes(store, keys, config.queue.lanes).await.map_err(|error| match error {
        LanesError::Store(error) => StartError::Redis(error),
        other => StartError::Config(Invalid::new("queue.lanes", format!("must be as in redis: {other}"))),
    })?;
    if let Some((id, node)) = node_alone(store, keys).await.map_err(StartError::Redis)? {
        return Err(StartError::Alone { id, rpc: node.rpc });
    }
    let options = MembershipOptions::new(keys.clone());
    Membership::start(store, Some(watcher.snapshots()), None, options).await.map_err(StartError::Redis)
}

const fn is_passing(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
}
