//! A token bucket: how often something may happen, and how often in a row.
//!
//! Owns the arithmetic. Asks no clock: times are nanoseconds since the same moment, whichever that is.

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// From one token to the next.
    every: u64,
    /// From empty to full.
    depth: u64,
    /// When it will be full again, if nobody takes anything.
    full_at: u64,
}

impl Bucket {
    /// Makes a full one. Both are at least 1.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        // Rounded up: never more than the rate.
        let every = 1_000_000_000_u64.div_ceil(u64::from(per_second.max(1)));
        Self { every, depth: every.saturating_mul(u64::from(burst.max(1))), full_at: 0 }
    }

    pub(super) const fn every(&self) -> u64 {
        self.every
    }

    /// Takes a token. False: there is none.
    pub(super) fn take(&mut self, now: u64) -> bool {
        let full_at = self.full_at.max(now).saturating_add(self.every);
        let is_there = full_at - now <= self.depth;
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }

    /// When the next token is there.
    pub(super) fn next(&self, now: u64) -> u64 {
        self.full_at.saturating_add(self.every).saturating_sub(self.depth).max(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_full_bucket_lets_exactly_the_burst_through_at_once() {
        let mut bucket = Bucket::new(3, 10);
        assert_eq!((0..100).filter(|_| bucket.take(5 * SECOND)).count(), 10);
        assert!(!bucket.take(5 * SECOND + SECOND / 3));
        assert!(bucket.take(5 * SECOND + SECOND / 3 + 1));
    }

    #[test]
    fn a_bucket_that_nobody_takes_from_is_full_and_no_more() {
        let mut bucket = Bucket::new(3, 10);
        assert_eq!((0..10).filter(|_| bucket.take(0)).count(), 10);
        assert_eq!((0..100).filter(|_| bucket.take(3_600 * SECOND)).count(), 10);
    }

    proptest! {
        /// Whoever comes whenever: no window sees more than its rate and one burst.
        #[test]
        fn no_window_admits_more_than_the_rate_and_the_burst(
            per_second in 1..5_000_u32,
            burst in 1..500_u32,
            steps in prop::collection::vec((0..SECOND / 50, 1..20_u32), 1..60),
        ) {
            let mut bucket = Bucket::new(per_second, burst);
            let mut admitted = Vec::new();
            let mut now = 0;
            for (pause, asked) in steps {
                now += pause;
                admitted.extend((0..asked).filter(|_| bucket.take(now)).map(|_| now));
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let most = f64::from(per_second) * (to - from) as f64 / SECOND as f64 + f64::from(burst);
                    prop_assert!((last - first + 1) as f64 <= most + 1e-6, "{} in {} ns", last - first + 1, to - from);
                }
            }
        }

        /// It keeps nobody waiting for longer than it says, and lets nobody in sooner.
        #[test]
        fn the_next_token_is_there_when_it_was_said_to_be(
            per_second in 1..5_000_u32,
            burst in 1..50_u32,
            taken in 0..100_u32,
            now in 0..SECOND,
        ) {
            let mut bucket = Bucket::new(per_second, burst);
            for _ in 0..taken {
                bucket.take(now);
            }
            let next = bucket.next(now);
            prop_assert!(next >= now && next <= now + bucket.every());
            prop_assert!(next == now || !bucket.clone().take(next - 1));
            prop_assert!(bucket.take(next));
        }
    }
}
