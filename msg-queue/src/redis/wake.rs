//! Ending a wait before its time: of a read that blocks in Redis, and of a worker that waits for a lane.
//!
//! A blocked read is never dropped; it is told to return (CLIENT UNBLOCK, over another connection). Where that is not
//! allowed, its time is waited out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Duration, sleep, timeout};

use super::shared::Shared;

/// A read that is on its way and does not block yet is rung again after this time.
const AGAIN: Duration = Duration::from_millis(2);
/// A read that has not begun to block by then had something to read.
const RINGS: usize = 50;

#[derive(Debug)]
pub(super) struct Wake {
    stopping: AtomicBool,
    /// Client id of the read that waits. 0: none does.
    waiting: AtomicU64,
    /// When something that was put aside is due, Unix milliseconds. `u64::MAX`: nothing is.
    due_ms: AtomicU64,
    lease: Notify,
}

impl Default for Wake {
    fn default() -> Self {
        let due_ms = AtomicU64::new(u64::MAX);
        Self { stopping: AtomicBool::default(), waiting: AtomicU64::default(), due_ms, lease: Notify::new() }
    }
}

/// Says that a read waits, as long as it lives.
pub(super) struct Waiting<'a>(&'a Wake);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.store(0, Ordering::SeqCst);
    }
}

impl Wake {
    /// Says that a read is about to wait. Whoever rings from now on wakes it; why one might is looked up afterwards.
    pub(super) fn waiting(&self, client: u64) -> Waiting<'_> {
        self.waiting.store(client, Ordering::SeqCst);
        Waiting(self)
    }

    /// Lets nobody wait any more.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.lease.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Tells when something is due, Unix milliseconds.
    pub(super) fn due_ms(&self) -> Option<u64> {
        Some(self.due_ms.load(Ordering::SeqCst)).filter(|due_ms| *due_ms != u64::MAX)
    }

    /// Forgets when something is due. To be called before it is asked, so that what is put aside meanwhile counts.
    pub(super) fn forget_due(&self) {
        self.due_ms.store(u64::MAX, Ordering::SeqCst);
    }

    /// Takes note that something is due at a time. True: earlier than everything known.
    pub(super) fn is_due_at(&self, due_ms: u64) -> bool {
        self.due_ms.fetch_min(due_ms, Ordering::SeqCst) > due_ms
    }

    /// Waits for a lane that somebody else owns.
    pub(super) async fn lease_wait(&self, most: Duration) {
        if !self.is_stopping() {
            // Either way it is looked at again.
            let _ = timeout(most, self.lease.notified()).await;
        }
    }

    pub(super) fn end_lease_wait(&self) {
        self.lease.notify_one();
    }
}

impl Shared {
    /// Makes the read that waits return. Does not wait for it.
    pub(super) fn ring(self: &Arc<Self>) {
        if self.wake.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let shared = Arc::clone(self);
            runtime.spawn(async move { shared.unblock().await });
        }
    }

    async fn unblock(&self) {
        for _ in 0..RINGS {
            let client = self.wake.waiting.load(Ordering::SeqCst);
            if client == 0 {
                return;
            }
            let mut unblock = ::redis::cmd("CLIENT");
            match self.link.query::<i64>(unblock.arg("UNBLOCK").arg(client)).await {
                Ok(0) => sleep(AGAIN).await,
                // Done; or it may not be done, and the read waits its time out.
                _ => return,
            }
        }
    }
}
