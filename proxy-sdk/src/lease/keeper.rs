//! Holding the place: renewing it, and taking it anew when it was lost.
//!
//! One renewal at a time, whoever asks for it: the timer, a guard that found the lease old, or a look-up that met
//! another run of Redis.

use std::sync::{Arc, Weak};
use std::time::Duration;

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
    ended: bool,
}

impl Keeper {
    pub(super) const fn new(record: NodeRecord, runs: Runs) -> Self {
        Self { record, runs, ended: false }
    }

    pub(super) const fn record(&self) -> &NodeRecord {
        &self.record
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
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let renewed = self.try_to_renew().await;
        if renewed.is_err() {
            self.0.facts.not_renewed();
        }
        renewed
    }

    async fn try_to_renew(&self) -> Result<(), StoreError> {
        let mut keeper = self.0.keeper.lock().await;
        if keeper.ended || *self.0.state.borrow() == LeaseState::Lost {
            return Ok(());
        }
        let begun = BootClock::now_ms();
        let renewed = self.0.seat.renew(&keeper.record).await?;
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
        let incarnation = Incarnation::mint();
        let record = NodeRecord { incarnation, ..keeper.record.clone() };
        self.0.proof.doubt();
        if !self.0.seat.follow(&keeper.record, &record).await? {
            self.lose();
            return Ok(());
        }
        tracing::warn!(
            before = %keeper.record.incarnation,
            now = %incarnation,
            another_run = runs != keeper.runs,
            "the node's lease was lost or Redis is another run: what it held may be older; a new incarnation begins"
        );
        keeper.record = record;
        keeper.runs = runs.clone();
        self.own().push(incarnation);
        let node = Arc::new(NodeRef { id: self.0.options.id.clone(), incarnation });
        self.0.state.send_replace(LeaseState::Held { node, runs });
        Ok(())
    }

    fn lose(&self) {
        tracing::error!(node = %self.0.options.id, "somebody else has this node's place: it may not act any more");
        self.0.facts.lose();
        self.0.state.send_replace(LeaseState::Lost);
    }
}
