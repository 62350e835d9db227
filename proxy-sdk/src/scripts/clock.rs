//! What time it is in Redis, never ahead of it.
//!
//! Owns the estimate. Redis' own answer is older than its arrival, so that the estimate lags by the way of the answer
//! and never leads, as long as both clocks run equally fast. A limit computed from it (now + deadline) lies before the
//! moment at which the caller gives up: what the scripts refuse beyond it cannot take effect behind the caller's back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// Redis' time when this clock started, in us since 1970. 0 (everything is too late) until it is told.
    offset_us: AtomicI64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), offset_us: AtomicI64::new(0) }
    }

    /// Takes note of a time that has just arrived.
    pub(super) fn learn(&self, redis_us: i64) {
        self.offset_us.store(redis_us.saturating_sub(us(self.start.elapsed())), Ordering::Relaxed);
    }

    /// The limit for a call that is given up after a while from now.
    pub(super) fn limit_us(&self, left: Duration) -> i64 {
        self.offset_us.load(Ordering::Relaxed).saturating_add(us(self.start.elapsed())).saturating_add(us(left))
    }
}

fn us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_moves_with_the_time_and_follows_corrections() {
        let clock = Clock::new();
        clock.learn(1_000_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.limit_us(Duration::from_secs(2)), 4_000_000);
        clock.learn(500_000);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(clock.limit_us(Duration::ZERO), 501_000);
    }
}
