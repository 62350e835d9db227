//! Holding the place: renewing it, and taking it anew when it was lost.
//!
//! One renewal at a time, whoever asks for it: the timer, a guard that found the lease old, or a look-up that met
//! another run of Redis.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gim_proto::Incarnation;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::boot::BootClock;
use super::guard::TICK;
use super::seat::Renewed;
use super::{Inner, LeaseState, NodeLease, NodeRecord};
use crate::directory::NodeRef;
use crate::store::{Runs, StoreError};

/// Pause after a renewal that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// What a renewal stands on.
pub(super) struct Keeper {
    record: NodeRecord,
    runs: Runs,
    /// The record that is to follow, while it is not known whether it does.
    pending: Option<NodeRecord>,
    ended: bool,
}

impl Keeper {
    pub(super) const fn new(record: NodeRecord, runs: Runs) -> Self {
        Self { record, runs, pending: None, ended: false }
    }

    /// The records that may be this node's now.
    pub(super) fn records(&self) -> impl Iterator<Item = &NodeRecord> {
        std::iter::once(&self.record).chain(&self.pending)
    }

    pub(super) const fn end(&mut self) {
        self.ended = true;
    }
}

/// Begins to hold the place, as long as somebody holds the lease's handle.
pub(super) fn spawn(lease: &NodeLease) {
    tokio::spawn(tick(Arc::downgrade(&lease.0)));
    tokio::spawn(keep(Arc::downgrade(&lease.0), lease.0.options.renew));
}

async fn tick(lease: Weak<Inner>) {
    let mut ticks = interval(TICK);
    // After a pause one tick is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(lease) = lease.upgrade() else { return };
        lease.facts.tick();
    }
}

async fn keep(lease: Weak<Inner>, renew: Duration) {
    let mut pause = renew;
    loop {
        let Some(proof) = lease.upgrade().map(|lease| Arc::clone(&lease.proof)) else { return };
        // Timer or alarm, both mean the same.
        let _ = timeout(pause, proof.alarmed()).await;
        drop(proof);
        let Some(inner) = lease.upgrade() else { return };
        let lease = NodeLease(inner);
        if lease.is_over().await {
            return;
        }
        pause = match lease.renew().await {
            Ok(()) => renew,
            Err(error) => {
                tracing::warn!(error = %error, "the node's lease was not renewed");
                AGAIN
            }
        };
        // A look-up that goes on asking must not turn this into a loop without a pause.
        drop(lease);
        sleep(TICK).await;
    }
}

impl NodeLease {
    async fn is_over(&self) -> bool {
        self.0.keeper.lock().await.ended || *self.0.state.borrow() == LeaseState::Lost
    }

    /// Renews the lease, or takes the place anew under another incarnation.
    // Boxed: it is rare, and otherwise a part of the type of everything that is behind a guard.
    pub(super) fn renew(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            let renewed = self.try_to_renew().await;
            if renewed.is_err() {
                self.0.facts.not_renewed();
            }
            renewed
        }
        .boxed()
    }

    async fn try_to_renew(&self) -> Result<(), StoreError> {
        let asked = BootClock::now_ms();
        let mut keeper = self.0.keeper.lock().await;
        let is_over = keeper.ended || *self.0.state.borrow() == LeaseState::Lost;
        // Of many who ask at once one does it for all.
        if is_over || self.0.facts.is_renewed_since(asked) {
            return Ok(());
        }
        let begun = BootClock::now_ms();
        let renewed = match keeper.pending {
            // What was begun is finished first: the key may hold that record already.
            Some(_) => Renewed::Gone,
            None => {
                keeper.record.asserted = self.0.proof.is_asserted_in(&keeper.runs).then(|| keeper.runs.name());
                self.0.seat.renew(&keeper.record).await?
            }
        };
        let runs = self.0.proof.read().await?;
        match renewed {
            Renewed::Held if runs == keeper.runs => {}
            Renewed::Held | Renewed::Gone => self.begin_anew(&mut keeper, runs).await?,
            Renewed::Taken => self.lose(),
        }
        self.0.facts.renewed(begun);
        Ok(())
    }

    async fn begin_anew(&self, keeper: &mut Keeper, runs: Runs) -> Result<(), StoreError> {
        let fresh = || NodeRecord { incarnation: Incarnation::mint(), asserted: None, ..keeper.record.clone() };
        let record = keeper.pending.clone().unwrap_or_else(fresh);
        let incarnation = record.incarnation;
        keeper.pending = Some(record.clone());
        self.0.proof.doubt();
        if !self.0.seat.follow(&keeper.record, &record).await? {
            self.lose();
            return Ok(());
        }
        keeper.pending = None;
        tracing::warn!(
            before = %keeper.record.incarnation,
            now = %incarnation,
            another_run = runs != keeper.runs,
            "the node's lease was lost or Redis is another run: what it held may be older; a new incarnation begins"
        );
        keeper.record = record;
        keeper.runs = runs.clone();
        let node = Arc::new(NodeRef { id: self.0.options.id.clone(), incarnation });
        *self.now() = Arc::clone(&node);
        self.0.state.send_replace(LeaseState::Held { node, runs });
        Ok(())
    }

    fn lose(&self) {
        tracing::error!(node = %self.0.options.id, "somebody else has this node's place: it may not act any more");
        self.0.facts.lose();
        self.0.state.send_replace(LeaseState::Lost);
    }
}
