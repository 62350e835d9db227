//! Who lives in a cluster, and whether what is missing in Redis was never there: one task of each process, node or worker.
//!
//! Owns the view ([`LiveNodes`]) and the proof of the cluster ([`Proof`]). Redis decides who lives: a run does while its
//! node's key names it. What etcd names is where to look further, and who has to be waited for before absence counts:
//! nobody is offline before every node that may live has recorded what it holds. Never renews a lease, never calls a
//! node. A look that fails leaves the view standing.

mod dead;
mod look;
mod standing;
mod turns;
mod watcher;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gim_proto::{Incarnation, Keys, NodeId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use self::standing::Awaited;

use self::dead::Dead;
use self::look::Looker;
use self::standing::Ground;
use self::turns::Turns;
use self::watcher::Watcher;
use crate::lease::{NodeLease, Proof};
use crate::members::{Judge, LiveNodes, Unjudged, View};
use crate::store::{Store, StoreError};

/// Calls that a look may take, each with its deadline: it is given up afterwards.
const LOOK: u32 = 3;

/// How the members of a cluster are watched.
#[derive(Clone, Debug)]
pub struct MembershipOptions {
    /// Spells the keys.
    pub keys: Keys,
    /// How often is looked. Default 1 s.
    pub every: Duration,
    /// How long a node's lease lasts without renewal. Default 10 s.
    pub ttl: Duration,
    /// What a node gets on top of that before it is not waited for any more. Default 2 s.
    pub margin: Duration,
}

impl MembershipOptions {
    /// Takes the defaults.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        let [every, ttl, margin] = [1, 10, 2].map(Duration::from_secs);
        Self { keys, every, ttl, margin }
    }
}

/// Nodes that somebody outside Redis says are there, such as a snapshot of etcd.
pub trait Names: Send + Sync + 'static {
    /// Names them.
    fn names(&self) -> Vec<NodeId>;

    /// Tells whether it is known yet who is there. Until it is, nobody is known to be missing either.
    fn are_known(&self) -> bool {
        true
    }
}

impl Names for BTreeSet<NodeId> {
    fn names(&self) -> Vec<NodeId> {
        self.iter().cloned().collect()
    }
}

/// Figures of a membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipStats {
    /// Runs that live.
    pub living: u64,
    /// Looks that were answered.
    pub looks: u64,
    /// Looks that were not.
    pub failed: u64,
    /// Records of nodes that live and cannot be read by this version, as of the last look.
    pub unreadable: u64,
    /// Runs known to be dead.
    pub dead: u64,
    /// Whom everybody waits for: absence in Redis counts for nothing meanwhile.
    pub awaited: Awaited,
}

/// See the module. The task ends when this is dropped.
#[derive(Debug)]
pub struct Membership {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    live: LiveNodes,
    proof: Arc<Proof>,
    looker: Looker,
    turns: Turns,
    dead: Mutex<Dead>,
    ground: Mutex<Ground>,
    changed: watch::Sender<u64>,
    /// All but what is read elsewhere.
    stats: Mutex<MembershipStats>,
    /// What a look may take.
    most: Duration,
    /// What whoever has met a stranger waits for one.
    deadline: Duration,
    /// The lease of this process's node, if it is one.
    own: Option<NodeLease>,
    options: MembershipOptions,
}

impl Membership {
    /// Looks for the first time, and goes on from then. `hints`: who else may be there; `own`: the lease of this process's
    /// node, if it is one.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn start<N: Names>(
        store: &Store,
        hints: Option<watch::Receiver<Arc<N>>>,
        own: Option<NodeLease>,
        options: MembershipOptions,
    ) -> Result<Arc<Self>, StoreError> {
        let inner = Arc::new(Inner {
            live: LiveNodes::new(),
            proof: Arc::new(Proof::new(store, &options.keys)),
            looker: Looker::new(store, &options.keys),
            turns: Turns::default(),
            dead: Mutex::default(),
            ground: Mutex::new(Ground::new(&options)),
            changed: watch::Sender::new(0),
            stats: Mutex::default(),
            most: store.options().deadline() * LOOK,
            deadline: store.options().deadline(),
            own,
            options,
        });
        let watcher = Watcher::new(Arc::clone(&inner), hints);
        watcher.look().await?;
        Ok(Arc::new(Self { inner, task: tokio::spawn(watcher.run()) }))
    }

    /// Shows who lives.
    #[must_use]
    pub fn live(&self) -> &LiveNodes {
        &self.inner.live
    }

    /// Tells whether what is missing in Redis was never there: every node that may live has recorded what it holds.
    #[must_use]
    pub fn proof(&self) -> &Arc<Proof> {
        &self.inner.proof
    }

    /// Completes when the view is of a moment after this call. Who asks meanwhile shares the look.
    ///
    /// # Errors
    /// Redis did not answer; the view is as it was.
    pub async fn look(&self) -> Result<(), StoreError> {
        // One may be on its way, which does not count.
        let waiting = timeout(self.inner.most * 3, self.inner.turns.wait());
        waiting.await.unwrap_or_else(|_| Err(StoreError::unreachable()))
    }

    /// Tells whether a run is known to be dead. It never lives again.
    #[must_use]
    pub fn is_dead(&self, incarnation: &Incarnation) -> bool {
        lock(&self.inner.dead).contains(incarnation)
    }

    /// Watches for views that differ from the one before.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Counts what happened, and tells what is so now.
    #[must_use]
    pub fn stats(&self) -> MembershipStats {
        let living = self.inner.live.view().members().len() as u64;
        let dead = lock(&self.inner.dead).len() as u64;
        MembershipStats { living, dead, ..lock(&self.inner.stats).clone() }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Judge for Membership {
    async fn judge(&self, incarnations: &[Incarnation]) -> Result<(), Unjudged> {
        let strangers = |view: &View, dead: &Dead| -> Vec<Incarnation> {
            let known = |run: &&Incarnation| view.find(run).is_some() || dead.contains(run);
            incarnations.iter().filter(|run| !known(run)).copied().collect()
        };
        let met = strangers(&self.inner.live.view(), &lock(&self.inner.dead));
        if met.is_empty() {
            return Ok(());
        }
        let looked = timeout(self.inner.deadline, self.look()).await;
        looked.map_err(|_| Unjudged)?.map_err(|_| Unjudged)?;
        let view = self.inner.live.view();
        let mut dead = lock(&self.inner.dead);
        met.into_iter().filter(|run| view.find(run).is_none()).for_each(|run| dead.add(run));
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
