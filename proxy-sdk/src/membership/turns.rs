//! Looks, one after the other, and who waits for one.
//!
//! Owns their numbers. A look counts for a waiter if it began after the waiter came; many who wait share one.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use crate::store::{StoreError, StoreErrorKind};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    begun: AtomicU64,
    wanted: Notify,
    ended: watch::Sender<Ended>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    number: u64,
    failed: Option<StoreErrorKind>,
}

impl Turns {
    /// Begins a look.
    pub(super) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Ends the look of this number.
    pub(super) fn end(&self, number: u64, result: &Result<(), StoreError>) {
        let failed = result.as_ref().err().map(|error| error.kind);
        self.ended.send_replace(Ended { number, failed });
    }

    /// Completes when somebody waits for a look that has not begun.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits for a look that began after this call.
    pub(super) async fn wait(&self) -> Result<(), StoreError> {
        let mut ended = self.ended.subscribe();
        let before = self.begun.load(Ordering::SeqCst);
        self.wanted.notify_one();
        let ended = ended.wait_for(|ended| ended.number > before).await;
        let failed = ended.map_or(Some(StoreErrorKind::Unavailable), |ended| ended.failed);
        failed.map_or(Ok(()), |kind| Err(StoreError { kind, code: None, source: None }))
    }
}
