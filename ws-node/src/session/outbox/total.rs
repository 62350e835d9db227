//! What waits in all outboxes of a node together.
//!
//! Owns the count and the rule for when there is too much: then an outbox may hold no more than its fair minimum, so that
//! those who do not read cannot take the memory of those who do. Costs nothing where nothing waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What every outbox may hold, however full the node is.
pub(crate) const FAIR: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct OutboxTotal {
    most: usize,
    bytes: AtomicUsize,
    reached: AtomicU64,
}

impl OutboxTotal {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, bytes: AtomicUsize::new(0), reached: AtomicU64::new(0) })
    }

    /// Counts bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts frames that met the bound.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// Tells what an outbox may hold now that may hold so much by itself.
    pub(crate) fn allow(&self, bytes: usize) -> usize {
        if self.bytes() > self.most { bytes.min(FAIR) } else { bytes }
    }

    pub(super) fn note_reached(&self) {
        self.reached.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one outbox holds of the total. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    total: Arc<OutboxTotal>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(total: &Arc<OutboxTotal>) -> Self {
        Self { total: Arc::clone(total), bytes: 0 }
    }

    pub(super) fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.total.bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.total.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}
