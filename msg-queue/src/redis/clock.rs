//! The clock of the Redis that holds a lane: this machine's, put right each time Redis tells its own.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::Clock;

/// Redis' wall clock, as far as it is known here. Until Redis has told its time it is the machine's.
#[derive(Debug, Default)]
pub struct RedisClock {
    ahead_us: AtomicI64,
}

impl RedisClock {
    /// Takes the time that Redis told, Unix microseconds, between two looks at this machine's clock.
    pub(super) fn learn(&self, told_us: i64, before_us: i64, after_us: i64) {
        let here_us = before_us + (after_us - before_us) / 2;
        self.ahead_us.store(told_us.saturating_sub(here_us), Ordering::Relaxed);
    }
}

impl Clock for RedisClock {
    fn unix_ms(&self) -> u64 {
        let now_us = machine_us().saturating_add(self.ahead_us.load(Ordering::Relaxed));
        u64::try_from(now_us / 1_000).unwrap_or(0)
    }
}

/// Tells this machine's time, Unix microseconds.
pub(super) fn machine_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_is_ahead_or_behind_sets_the_time() {
        let clock = RedisClock::default();
        for ahead_us in [5_000_000, -7_000_000] {
            let now_us = machine_us();
            clock.learn(now_us + ahead_us, now_us - 1_000, now_us + 1_000);
            let expected_ms = (now_us + ahead_us) / 1_000;
            let told_ms = i64::try_from(clock.unix_ms()).unwrap();
            assert!((expected_ms..expected_ms + 2_000).contains(&told_ms), "{told_ms} {expected_ms}");
        }
    }
}
