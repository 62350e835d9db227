//! How long to wait before etcd is asked again: doubling, bounded, with jitter.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);

/// Failures in a row, and the wait that follows from them.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and tells how long to wait: at least half of what doubling says.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = SHORTEST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        ceiling / 2 + ceiling.mul_f64(chance() / 2.0)
    }

    /// Whether there was a failure before.
    pub(super) const fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Forgets the failures.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Draws a number from 0 to 1.
fn chance() -> f64 {
    f64::from(draw(u32::MAX)) / f64::from(u32::MAX)
}

/// Draws a number below a bound that is not 0.
pub(super) fn draw(below: u32) -> u32 {
    // Every RandomState has keys of its own.
    let drawn = RandomState::new().build_hasher().finish() % u64::from(below.max(1));
    u32::try_from(drawn).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] >= SHORTEST / 2 && waits[0] <= SHORTEST, "{:?}", waits[0]);
        assert!(waits[10..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST));
        backoff.reset();
        assert!(backoff.next() <= SHORTEST);
    }
}
