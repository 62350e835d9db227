//! Whether this process may still act as the node.
//!
//! Owns the answer between two renewals. A process that was frozen does not know it: when it goes on, its lease may be
//! over, or somebody may have taken its place because it did not answer a probe. So every batch is preceded by a look at
//! a clock that does not stop: too long since the last renewal, or since this process last ran at all, and Redis is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::boot::BootClock;
use super::{LeaseOptions, NodeLease};

/// What of the time to live is left for a batch that begins just before its end.
const MARGIN: Duration = Duration::from_secs(2);
/// How often the process notes that it runs.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Lets a batch pass while the lease is proven. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    lease: NodeLease,
}

/// The lease could not be proven: Redis did not answer, or somebody else has the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's lease is not proven")]
pub struct Unproven;

/// What is known without asking.
pub(super) struct Facts {
    /// When the last renewal that succeeded was begun.
    renewed_ms: AtomicU64,
    ticked_ms: AtomicU64,
    /// When this process found that it had not run for a while.
    paused_ms: AtomicU64,
    lost: AtomicBool,
    /// The last renewal was answered.
    answering: AtomicBool,
    lease_ms: u64,
    unnoticed_ms: u64,
}

impl Facts {
    pub(super) fn new(renewed_ms: u64, options: &LeaseOptions) -> Self {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            renewed_ms: AtomicU64::new(renewed_ms),
            ticked_ms: AtomicU64::new(BootClock::now_ms()),
            paused_ms: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            answering: AtomicBool::new(true),
            lease_ms: millis(options.ttl.saturating_sub(MARGIN)),
            // A pause shorter than a probe cost nobody his place, whenever it began within a tick.
            unnoticed_ms: millis((options.probe * 2 / 3).max(TICK)),
        }
    }

    pub(super) fn renewed(&self, begun_ms: u64) {
        self.renewed_ms.fetch_max(begun_ms, Ordering::AcqRel);
        self.answering.store(true, Ordering::Release);
    }

    pub(super) fn is_renewed_since(&self, asked_ms: u64) -> bool {
        self.renewed_ms.load(Ordering::Acquire) > asked_ms
    }

    pub(super) fn not_renewed(&self) {
        self.answering.store(false, Ordering::Release);
    }

    pub(super) fn tick(&self) {
        let now = BootClock::now_ms();
        let before = self.ticked_ms.swap(now, Ordering::AcqRel);
        if now.saturating_sub(before) >= self.unnoticed_ms {
            // The tick itself must not wipe out the trace of the pause: only a renewal begun after it does.
            self.paused_ms.store(now, Ordering::Release);
        }
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    fn is_proven(&self) -> bool {
        let now = BootClock::now_ms();
        let since = |at: &AtomicU64| now.saturating_sub(at.load(Ordering::Acquire));
        let renewed_ms = self.renewed_ms.load(Ordering::Acquire);
        now.saturating_sub(renewed_ms) < self.lease_ms
            && renewed_ms >= self.paused_ms.load(Ordering::Acquire)
            && since(&self.ticked_ms) < self.unnoticed_ms
    }
}

/// Pause between two questions that Redis did not answer.
const AGAIN: Duration = Duration::from_millis(200);

impl Guard {
    pub(super) fn new(lease: NodeLease) -> Self {
        Self { lease }
    }

    /// Tells, as of the last renewal, whether Redis answers and has everything this node holds. Asks nobody.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let facts = &self.lease.0.facts;
        !facts.is_lost() && facts.answering.load(Ordering::Acquire) && self.lease.0.proof.is_asserted()
    }

    /// Tells whether the lease is proven right now. Asks nobody, and takes some ten nanoseconds: a look at a clock.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let facts = &self.lease.0.facts;
        !facts.is_lost() && facts.is_proven()
    }

    /// Lets the caller pass, or asks Redis first. Takes no time while all is well.
    ///
    /// # Errors
    /// The lease is lost, or nobody can tell.
    pub async fn pass(&self) -> Result<(), Unproven> {
        let facts: &Arc<Facts> = &self.lease.0.facts;
        if self.is_proven() {
            return Ok(());
        }
        if facts.is_lost() {
            return Err(Unproven);
        }
        self.lease.renew().await.map_err(|_| Unproven)?;
        if facts.is_lost() { Err(Unproven) } else { Ok(()) }
    }

    /// Lets the caller pass as soon as the lease is proven, for whoever is in the middle of something that must not be
    /// done twice. Waits as long as Redis is away.
    ///
    /// # Errors
    /// The lease is lost, for good.
    pub async fn wait(&self) -> Result<(), Unproven> {
        while self.pass().await.is_err() {
            if self.lease.0.facts.is_lost() {
                return Err(Unproven);
            }
            sleep(AGAIN).await;
        }
        Ok(())
    }
}
