//! One outbox with a socket that takes as much as it is told to.

use std::io;

use bytes::Bytes;

use super::{Drained, Keep, Offer, Outbox, OutboxBounds, OutboxTotal, Part};

/// An outbox, open, with nothing in it.
pub struct Waiter {
    outbox: Outbox,
    bounds: OutboxBounds,
}

impl Waiter {
    /// Makes one with the bounds of the default configuration.
    #[must_use]
    pub fn new() -> Self {
        let bounds =
            OutboxBounds { bytes: 1 << 20, frames: 4_096, close_when_full: false, total: OutboxTotal::new(256 << 20) };
        let outbox = Outbox::held();
        let _taken = outbox.open(&bounds, b"101".to_vec(), |bytes| Ok(bytes.len()));
        Self { outbox, bounds }
    }

    /// Offers a frame to a socket that takes everything. False: it had to wait.
    pub fn offer_taken(&self, frame: &Bytes) -> bool {
        let parts = || [Part::new(frame.clone(), Keep::Live)];
        let (offer, dropped) = self.outbox.offer(&self.bounds, frame, parts, |bytes| Ok(bytes.len()));
        offer == Offer::Taken && dropped == 0
    }

    /// Offers a frame to a socket that takes nothing. Returns how many older ones were dropped for it.
    pub fn offer_waiting(&self, frame: &Bytes) -> u64 {
        let parts = || [Part::new(frame.clone(), Keep::Live)];
        let blocked = |_: &[u8]| Err(io::ErrorKind::WouldBlock.into());
        self.outbox.offer(&self.bounds, frame, parts, blocked).1
    }

    /// Writes all that waits to a socket that takes so many bytes at a time. Returns how many bytes.
    pub fn drain(&self, step: usize) -> usize {
        let mut all = 0;
        loop {
            let drained = self.outbox.drain(|slices| {
                let sent = slices.iter().map(|slice| slice.len()).sum::<usize>().min(step);
                all += sent;
                Ok(sent)
            });
            match drained {
                Ok(Drained::Progress) => {}
                Ok(Drained::Empty { .. } | Drained::Blocked) | Err(_) => return all,
            }
        }
    }
}

impl Default for Waiter {
    fn default() -> Self {
        Self::new()
    }
}
