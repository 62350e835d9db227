//! What a ledger has written and not written, in figures.

use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of a ledger since its process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Receipts.
    pub receipts: u64,
    /// Users that came or went.
    pub presence: u64,
    /// Steps of journeys.
    pub hops: u64,
    /// Steps that were not written: too many at once, too many of one journey, or the store did not answer.
    pub dropped: u64,
    /// Calls for receipts or presence that failed.
    pub failures: u64,
}

/// The same while it grows.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) receipts: AtomicU64,
    pub(super) presence: AtomicU64,
    pub(super) hops: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Counts {
    pub(super) fn written(&self) -> Written {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Written {
            receipts: read(&self.receipts),
            presence: read(&self.presence),
            hops: read(&self.hops),
            dropped: read(&self.dropped),
            failures: read(&self.failures),
        }
    }
}

pub(super) fn add(figure: &AtomicU64, more: usize) {
    figure.fetch_add(more as u64, Ordering::Relaxed);
}
