//! How much may be on its way at once.
//!
//! Owns two bounds, calls and bytes. Whoever comes when one is reached waits its turn, up to the deadline of its call.

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::Bounds;
use crate::queue::{QueueError, QueueErrorKind};

/// Bytes that one permit stands for.
const UNIT: usize = 1_024;

#[derive(Debug)]
pub(super) struct Gate {
    calls: Semaphore,
    bytes: Semaphore,
    units: u32,
}

/// A place on the way, given back when dropped.
pub(super) struct Place<'a>(#[expect(dead_code, reason = "held, not read")] [SemaphorePermit<'a>; 2]);

impl Gate {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let units = units(bounds.bytes_in_flight);
        let calls = bounds.calls_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self { calls: Semaphore::new(calls), bytes: Semaphore::new(units as usize), units }
    }

    /// Waits for a place for a call of this size.
    ///
    /// # Errors
    /// `Full`: there was none before the deadline.
    pub(super) async fn enter(&self, bytes: usize, end: Instant) -> Result<Place<'_>, QueueError> {
        match timeout_at(end, self.take(units(bytes).min(self.units))).await {
            // A place that is free only when the time is up is of no use: nothing has been sent yet, and may still not be.
            Ok(Ok(place)) if Instant::now() < end => Ok(place),
            _ => Err(QueueError::new(QueueErrorKind::Full, "too much is on its way to redis")),
        }
    }

    async fn take(&self, units: u32) -> Result<Place<'_>, AcquireError> {
        let call = self.calls.acquire().await?;
        Ok(Place([call, self.bytes.acquire_many(units).await?]))
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, 1 << 28)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gate(calls: usize, bytes: usize) -> Gate {
        Gate::new(&Bounds { calls_in_flight: calls, bytes_in_flight: bytes, ..Bounds::default() })
    }

    async fn is_full(gate: &Gate, bytes: usize) -> bool {
        let end = Instant::now() + Duration::from_secs(1);
        gate.enter(bytes, end).await.is_err_and(|error| error.kind == QueueErrorKind::Full)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_place_waits_until_the_deadline_and_no_longer() {
        let gate = gate(1, 1 << 20);
        let end = Instant::now() + Duration::from_secs(1);
        let place = gate.enter(1, end).await.unwrap();
        assert!(is_full(&gate, 1).await);
        assert_eq!(Instant::now(), end);
        drop(place);
        assert!(!is_full(&gate, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_larger_than_the_bound_goes_alone() {
        let gate = gate(8, 64 * UNIT);
        let end = Instant::now() + Duration::from_secs(1);
        let place = gate.enter(usize::MAX, end).await.unwrap();
        assert!(is_full(&gate, 0).await);
        drop(place);
        let _half = gate.enter(63 * UNIT, end + Duration::from_secs(1)).await.unwrap();
        assert!(!is_full(&gate, UNIT).await && is_full(&gate, UNIT + 1).await);
    }
}
