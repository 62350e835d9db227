//! The list of all nodes, kept as etcd has it.
//!
//! Owns the last snapshot, and a task that lists, watches from there on, and lists anew whenever the watch has ended for
//! whatever reason. Never empties the list because etcd is away.

mod follow;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gim_proto::Keys;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use self::follow::Follower;
use super::options::EtcdOptions;
use super::snapshot::Snapshot;
use crate::lease::boot::BootClock;

/// Watches who is registered, until its last handle is gone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    facts: Arc<Facts>,
    /// How long etcd may be unheard while it counts as connected.
    patience: Duration,
    task: AbortHandle,
}

/// What a watcher has seen, for metrics. Counted since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatcherStats {
    /// Lists after the first.
    pub relists: u64,
    /// Keys met that could not be read or had no room, each once per value.
    pub unreadable: u64,
    /// Snapshots that differ from the one before.
    pub snapshots: u64,
    /// Whether etcd is heard.
    pub is_connected: bool,
}

/// What the task leaves behind for its handles.
#[derive(Debug, Default)]
struct Facts {
    lists: AtomicU64,
    unreadable: AtomicU64,
    snapshots: AtomicU64,
    /// On the boot clock. 0: never.
    heard_ms: AtomicU64,
}

impl Watcher {
    /// Begins to watch. Returns at once; an etcd that is away is waited for in the background.
    #[must_use]
    pub fn start(options: &EtcdOptions, keys: &Keys) -> Self {
        let facts = Arc::new(Facts::default());
        let (published, snapshots) = watch::channel(Arc::default());
        let follower = Follower::new(options.clone(), keys, published, Arc::clone(&facts));
        let task = tokio::spawn(follower.run()).abort_handle();
        // Twice silent and once slow is not yet away.
        Self(Arc::new(Inner { snapshots, facts, patience: options.keep_alive * 3, task }))
    }

    /// Watches the snapshots. The first is empty with revision 0, until etcd has been heard.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.snapshots.clone()
    }

    /// Shows the last snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.snapshots.borrow())
    }

    /// Waits for the first snapshot that etcd has told. None: there was none in this time.
    pub async fn first(&self, within: Duration) -> Option<Arc<Snapshot>> {
        let mut snapshots = self.snapshots();
        let first = timeout(within, snapshots.wait_for(|snapshot| snapshot.is_known())).await.ok()?;
        first.ok().map(|snapshot| Arc::clone(&snapshot))
    }

    /// Tells whether etcd has been heard lately.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let heard = self.0.facts.heard_ms.load(Ordering::Relaxed);
        let silent = Duration::from_millis(BootClock::now_ms().saturating_sub(heard));
        heard > 0 && silent <= self.0.patience
    }

    /// Tells what it has seen.
    #[must_use]
    pub fn stats(&self) -> WatcherStats {
        let facts = &self.0.facts;
        WatcherStats {
            relists: facts.lists.load(Ordering::Relaxed).saturating_sub(1),
            unreadable: facts.unreadable.load(Ordering::Relaxed),
            snapshots: facts.snapshots.load(Ordering::Relaxed),
            is_connected: self.is_connected(),
        }
    }
}

impl Facts {
    fn heard(&self) {
        self.heard_ms.store(BootClock::now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}
