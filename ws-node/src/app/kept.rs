//! What a service that is one process stands on: queue, directory and mailboxes in memory, and a store for what outlives it.
//!
//! Owns the order in which they begin with what the store has kept, and its end. Never lets a damaged store pass for an
//! empty one.

use std::sync::Arc;

use gim_msg_queue::clock::SystemClock;
use gim_msg_queue::local::LocalQueue;
use gim_msg_queue::local::store::{LocalStore, Policy, Rows, StoreError, StoreErrorKind};
use gim_msg_queue::observe::Observer;
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::journal::{Journal, Table};
use gim_proxy_sdk::ledger::Ledger;
use gim_proxy_sdk::ledger::local::LocalLedger;
use gim_proxy_sdk::mailbox::local::{IsMember, LocalMailboxes, MailRows};

use crate::config::Config;
use crate::node::StartError;

/// See the module.
pub(super) struct Local {
    pub(super) queue: Arc<LocalQueue>,
    pub(super) directory: Arc<LocalDirectory>,
    pub(super) mailboxes: Arc<LocalMailboxes>,
    pub(super) ledger: Arc<dyn Ledger>,
    /// None: everything is lost with the process.
    pub(super) store: Option<Arc<LocalStore>>,
}

impl Local {
    /// Opens the store, if there is one, and begins with what it has kept.
    pub(super) async fn open(
        config: &Config,
        node: &NodeRef,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        let Some(path) = config.local.folder().map(ToOwned::to_owned) else {
            tracing::warn!("local.path is none: what is accepted is lost with this process");
            return Ok(Self::in_memory(config, node, observer));
        };
        let (policy, config) = (Policy::from(&config.local), config.clone());
        let (node, observer) = (node.clone(), Arc::clone(observer));
        let restored = tokio::task::spawn_blocking(move || {
            let (store, rows) = LocalStore::open(&path, policy)?;
            tracing::info!(path = %path.display(), fsync = ?policy.fsync, "what is accepted outlives this process");
            Self::restored(&config, &node, &observer, store, &rows)
        });
        // It is cancelled with the runtime alone.
        let local = restored.await.map_err(|error| StartError::Task(error.to_string()))?;
        Ok(local?)
    }

    fn in_memory(config: &Config, node: &NodeRef, observer: &Arc<dyn Observer>) -> Self {
        let queue = LocalQueue::with(config.queue.clone(), Arc::new(SystemClock), Arc::clone(observer));
        let ledger = ledger(config);
        let directory = telling(LocalDirectory::new(node.clone()), config, &ledger);
        let mailboxes = LocalMailboxes::new(config.mailbox.bounds(), is_member(&directory));
        let mailboxes = Arc::new(mailboxes.within(config.mailbox.total_bytes.as_u64()));
        Self { queue, directory, mailboxes, ledger, store: None }
    }

    fn restored(
        config: &Config,
        node: &NodeRef,
        observer: &Arc<dyn Observer>,
        store: Arc<LocalStore>,
        rows: &Rows,
    ) -> Result<Self, StoreError> {
        let journal = Arc::clone(&store) as Arc<dyn Journal>;
        let (section, clock) = (config.queue.clone(), Arc::new(SystemClock));
        let queue = LocalQueue::restored(section, clock, Arc::clone(observer), Arc::clone(&journal), rows)?;
        let ledger = ledger(config);
        let directory = LocalDirectory::kept(node.clone(), Arc::clone(&journal), rows.of(Table::Members)?);
        let refuse = |_| rows.refuse(StoreErrorKind::Corrupt, "a row of a durable member is not what was written");
        let directory = telling(directory.map_err(refuse)?, config, &ledger);
        let kept = MailRows {
            letters: rows.of(Table::Letters)?,
            mailboxes: rows.of(Table::Mailboxes)?,
            latest: rows.of(Table::Latest)?,
        };
        let mailboxes = LocalMailboxes::restored(config.mailbox.bounds(), is_member(&directory), journal, &kept);
        let refuse = |_| rows.refuse(StoreErrorKind::Corrupt, "a row of a mailbox is not what was written");
        let mailboxes = mailboxes.map_err(refuse)?.within(config.mailbox.total_bytes.as_u64());
        Ok(Self { queue, directory, mailboxes: Arc::new(mailboxes), ledger, store: Some(store) })
    }
}

fn ledger(config: &Config) -> Arc<dyn Ledger> {
    Arc::new(LocalLedger::new(config.ledger.bounds()))
}

/// Has the directory write down who comes and goes, if that is asked for.
fn telling(directory: LocalDirectory, config: &Config, ledger: &Arc<dyn Ledger>) -> Arc<LocalDirectory> {
    match config.ledger.presence {
        true => Arc::new(directory.with_presence(Arc::clone(ledger))),
        false => Arc::new(directory),
    }
}

fn is_member(directory: &Arc<LocalDirectory>) -> IsMember {
    let members = Arc::clone(directory);
    Arc::new(move |uid, tgids| members.is_member(uid, tgids))
}

/// Has everything reach the disk, and lets go of the store.
pub(super) async fn close(store: Option<Arc<LocalStore>>) {
    let Some(store) = store else { return };
    if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
        tracing::error!(%error, "the store was not closed");
    }
}
