//! One lane, as a node sees it: whose batches count, and whose turn it is.
//!
//! Owns the highest term seen, the turn, and which losses were told of. A new owner's term is seen before its turn comes, so that what an earlier owner
//! has waiting is refused.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Duration, timeout};

use super::Declined;
use super::memory::Memory;
use super::told::Told;

/// How long a batch waits for the one before it, which may wait for Redis. Less than a sender waits for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Lane {
    highest: AtomicU64,
    memory: Mutex<Memory>,
    told: std::sync::Mutex<Told>,
}

impl Lane {
    pub(super) fn new(memory: Memory) -> Self {
        Self { highest: AtomicU64::new(0), memory: Mutex::new(memory), told: std::sync::Mutex::default() }
    }

    /// Waits for the turn of a batch of this term.
    pub(super) async fn enter(&self, term: u64) -> Result<MutexGuard<'_, Memory>, Declined> {
        self.admit(term)?;
        let turn = timeout(PATIENCE, self.memory.lock()).await.map_err(|_| Declined::Suspended)?;
        self.admit(term)?;
        Ok(turn)
    }

    /// Which losses its batches have told of.
    pub(super) fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane's earlier owner may not know yet that it is none any more.
    fn admit(&self, term: u64) -> Result<(), Declined> {
        let highest = self.highest.fetch_max(term, Ordering::AcqRel);
        if term < highest { Err(Declined::Refused) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane::new(Memory::new(false))
    }

    #[tokio::test]
    async fn a_term_below_the_highest_seen_is_refused() {
        let lane = lane();
        for term in [3, 3, 7] {
            assert!(lane.enter(term).await.is_ok(), "{term}");
        }
        assert_eq!(lane.enter(6).await.err(), Some(Declined::Refused));
        assert!(lane.enter(7).await.is_ok());
    }

    #[tokio::test]
    async fn what_an_earlier_owner_has_waiting_is_refused_when_a_later_one_comes() {
        let lane = lane();
        let first = lane.enter(1).await.ok();
        let mut earlier = Box::pin(lane.enter(1));
        assert!(futures_util::poll!(&mut earlier).is_pending());
        let mut later = Box::pin(lane.enter(2));
        assert!(futures_util::poll!(&mut later).is_pending());
        drop(first);
        assert_eq!(earlier.await.err(), Some(Declined::Refused));
        assert!(later.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_does_not_wait_for_ever_for_the_one_before_it() {
        let lane = lane();
        let _stuck = lane.enter(1).await.ok();
        assert_eq!(lane.enter(1).await.err(), Some(Declined::Suspended));
    }
}
