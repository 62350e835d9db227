//! The task that looks: every second, when somebody asks, when a hint or the own lease changes, and on alarm.
//!
//! Owns what follows from a look, and its order: doubt first, then the view, then the assertion. So a look-up that saw
//! an older view never passes for one that counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gim_proto::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::look::{Found, Sight};
use super::standing::Awaited;
use super::{Inner, Names, lock};
use crate::directory::NodeRef;
use crate::lease::{NodeRecord, Since};
use crate::members::Member;
use crate::store::StoreError;

/// Pause between two alarms that are heard: while somebody is waited for every look-up rings.
const DEAF: Duration = Duration::from_millis(100);
/// So many times as often is looked while somebody is waited for.
const IMPATIENT: u32 = 5;

/// See the module.
pub(super) struct Watcher<N> {
    inner: Arc<Inner>,
    hints: Option<watch::Receiver<Arc<N>>>,
}

impl<N: Names> Watcher<N> {
    pub(super) fn new(inner: Arc<Inner>, hints: Option<watch::Receiver<Arc<N>>>) -> Self {
        Self { inner, hints }
    }

    pub(super) async fn run(self) {
        let mut hints = self.hints.clone();
        let mut own = self.inner.own.as_ref().map(|lease| lease.state());
        let mut deaf_until = Instant::now();
        loop {
            let alarm = async {
                sleep_until(deaf_until).await;
                self.inner.proof.alarmed().await;
            };
            tokio::select! {
                () = sleep_until(Instant::now() + self.pause()) => {}
                () = self.inner.turns.wanted() => {}
                () = changed(&mut hints) => {}
                () = changed(&mut own) => {}
                () = alarm => {
                    deaf_until = Instant::now() + DEAF;
                    self.wake_lease();
                }
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "nobody knows who lives; the last view stands");
            }
        }
    }

    fn pause(&self) -> Duration {
        let every = self.inner.options.every;
        if lock(&self.inner.stats).awaited.is_nobody() { every } else { every / IMPATIENT }
    }

    /// Looks once, within a bounded time.
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        let number = inner.turns.begin();
        let looked = timeout(inner.most, self.try_to_look()).await;
        let looked = looked.unwrap_or_else(|_| Err(StoreError::unanswered()));
        {
            let mut stats = lock(&inner.stats);
            let count = if looked.is_ok() { &mut stats.looks } else { &mut stats.failed };
            *count += 1;
        }
        inner.turns.end(number, &looked);
        looked
    }

    async fn try_to_look(&self) -> Result<(), StoreError> {
        let since = self.inner.proof.begin();
        let hints = self.hints.as_ref().map(|hints| Arc::clone(&hints.borrow()));
        let named = hints.as_ref().map_or_else(Vec::new, |hints| hints.names());
        let mut ids: BTreeSet<NodeId> = lock(&self.inner.ground).known().clone();
        ids.extend(named.iter().cloned());
        ids.extend(self.inner.own.as_ref().map(|lease| lease.node().id.clone()));
        let sight = self.inner.looker.look(&self.inner.proof, &ids).await?;
        let are_known = hints.is_none_or(|hints| hints.are_known());
        let awaited = lock(&self.inner.ground).judge(&sight, are_known.then_some(named.as_slice()));
        self.follow(&sight, awaited, since);
        Ok(())
    }

    fn follow(&self, sight: &Sight, awaited: Awaited, since: Since) {
        let inner = &self.inner;
        let stands = awaited.is_nobody();
        if !stands && inner.proof.is_asserted() {
            inner.proof.doubt();
        }
        self.note(sight, awaited);
        self.set_view(sight);
        if stands {
            inner.proof.assert(since, sight.runs.clone());
        }
        if let Some(own) = inner.own.as_ref().map(|lease| lease.node()) {
            let record = sight.found.get(&own.id).and_then(Found::record);
            if record.is_none_or(|record| record.incarnation != own.incarnation) {
                self.wake_lease();
            }
        }
    }

    fn set_view(&self, sight: &Sight) {
        let records = sight.found.iter().filter_map(|(id, found)| Some((id, found.record()?)));
        let members: Vec<Member> = records.map(|(id, record)| member(id, record)).collect();
        let view = self.inner.live.view();
        if view.is_known() && view.members() == members {
            return;
        }
        self.inner.live.set(members);
        let now = self.inner.live.view();
        let mut dead = lock(&self.inner.dead);
        now.members().iter().for_each(|member| dead.revive(&member.node.incarnation));
        let over = view.members().iter().map(|member| member.node.incarnation).filter(|run| now.find(run).is_none());
        over.for_each(|run| dead.add(run));
        drop(dead);
        self.inner.changed.send_modify(|count| *count += 1);
    }

    /// Says once who is waited for and whose record cannot be read.
    fn note(&self, sight: &Sight, awaited: Awaited) {
        let unreadable: Vec<_> = sight.found.iter().filter_map(|(id, found)| Some((id, found.error()?))).collect();
        let mut stats = lock(&self.inner.stats);
        stats.unreadable = unreadable.len() as u64;
        if stats.awaited == awaited {
            return;
        }
        for (node, error) in unreadable {
            tracing::error!(%node, %error, "a node lives that cannot be called");
        }
        if awaited.is_nobody() {
            tracing::info!("every node has recorded what it holds: who is not on the records is not there");
        } else {
            let Awaited { nodes, names } = &awaited;
            tracing::warn!(
                ?nodes,
                etcd = names,
                "nobody is taken for offline before these have recorded what they hold"
            );
        }
        stats.awaited = awaited;
    }

    fn wake_lease(&self) {
        if let Some(lease) = &self.inner.own {
            lease.proof().ring();
        }
    }
}

fn member(id: &NodeId, record: &NodeRecord) -> Member {
    Member {
        node: NodeRef { id: id.clone(), incarnation: record.incarnation },
        rpc: record.rpc.as_str().into(),
        public: record.public.as_str().into(),
        version: record.version.as_str().into(),
        started_ms: record.started_ms,
    }
}

/// Completes when there is something new. Never, once there will not be.
async fn changed<T>(watched: &mut Option<watch::Receiver<T>>) {
    if let Some(receiver) = watched
        && receiver.changed().await.is_ok()
    {
        return;
    }
    *watched = None;
    std::future::pending::<()>().await;
}
