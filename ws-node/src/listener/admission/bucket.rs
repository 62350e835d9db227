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
    /// Of that, what would not be if no token had been lent.
    lent: u64,
}

impl Bucket {
    /// Makes a full one. Both are at least 1.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        // Rounded up: never more than the rate.
        let every = 1_000_000_000_u64.div_ceil(u64::from(per_second.max(1)));
        Self { every, depth: every.saturating_mul(u64::from(burst.max(1))), full_at: 0, lent: 0 }
    }

    pub(super) const fn every(&self) -> u64 {
        self.every
    }

    /// Lends a token, to be kept or given back. False: there is none.
    pub(super) fn lend(&mut self, now: u64) -> bool {
        let full_at = self.full_at.max(now).saturating_add(self.every);
        let is_there = full_at - now <= self.depth;
        if is_there {
            self.refill(now);
            self.full_at = full_at;
            self.lent = self.lent.saturating_add(self.every);
        }
        is_there
    }

    /// A token that was lent is used.
    pub(super) const fn keep(&mut self) {
        self.lent = self.lent.saturating_sub(self.every);
    }

    /// A token that was lent was of no use. One that has come again by itself meanwhile is not there twice.
    pub(super) fn give_back(&mut self, now: u64) {
        self.refill(now);
        let back = self.lent.min(self.every);
        self.lent -= back;
        self.full_at -= back;
    }

    /// Without what is lent it would have been full before, and what comes to a full one is lost.
    fn refill(&mut self, now: u64) {
        self.lent = self.lent.min(self.full_at.saturating_sub(now));
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

    fn take(bucket: &mut Bucket, now: u64) -> bool {
        let is_there = bucket.lend(now);
        if is_there {
            bucket.keep();
        }
        is_there
    }

    #[test]
    fn a_full_bucket_lets_exactly_the_burst_through_at_once() {
        let mut bucket = Bucket::new(3, 10);
        assert_eq!((0..100).filter(|_| take(&mut bucket, 5 * SECOND)).count(), 10);
        assert!(!take(&mut bucket, 5 * SECOND + SECOND / 3));
        assert!(take(&mut bucket, 5 * SECOND + SECOND / 3 + 1));
    }

    #[test]
    fn a_bucket_that_nobody_takes_from_is_full_and_no_more() {
        let mut bucket = Bucket::new(3, 10);
        assert_eq!((0..10).filter(|_| take(&mut bucket, 0)).count(), 10);
        assert_eq!((0..100).filter(|_| take(&mut bucket, 3_600 * SECOND)).count(), 10);
    }

    #[test]
    fn a_token_that_is_given_back_is_there_for_the_next() {
        let mut bucket = Bucket::new(1, 3);
        assert_eq!((0..5).filter(|_| bucket.lend(0)).count(), 3);
        bucket.keep();
        bucket.give_back(0);
        bucket.give_back(0);
        assert_eq!((0..5).filter(|_| bucket.lend(0)).count(), 2);
    }

    #[test]
    fn a_token_that_is_given_back_to_a_full_bucket_is_none() {
        let mut bucket = Bucket::new(1, 3);
        assert!(bucket.lend(0));
        assert_eq!((0..5).filter(|_| take(&mut bucket, 60 * SECOND)).count(), 3);
        bucket.give_back(60 * SECOND);
        assert!(!take(&mut bucket, 60 * SECOND));
    }

    /// `admitted`: when, in order.
    fn no_window_sees_more(admitted: &[u64], per_second: u32, burst: u32) -> Result<(), TestCaseError> {
        for (first, from) in admitted.iter().enumerate() {
            for (last, to) in admitted.iter().enumerate().skip(first) {
                let most = f64::from(per_second) * (to - from) as f64 / SECOND as f64 + f64::from(burst);
                prop_assert!((last - first + 1) as f64 <= most + 1e-6, "{} in {} ns", last - first + 1, to - from);
            }
        }
        Ok(())
    }

    proptest! {
        /// As if those who gave theirs back had never come, in whatever order they do.
        #[test]
        fn tokens_given_back_let_no_more_through_than_the_rate_and_the_burst(
            per_second in 1..500_u32,
            burst in 1..50_u32,
            steps in prop::collection::vec((0..SECOND / 20, 0..3_u8), 1..300),
        ) {
            let mut bucket = Bucket::new(per_second, burst);
            let mut now = 0;
            let (mut lent, mut kept) = (Vec::new(), Vec::new());
            for (pause, what) in steps {
                now += pause;
                match what {
                    0 if bucket.lend(now) => lent.push(now),
                    1 if !lent.is_empty() => {
                        bucket.keep();
                        kept.push(lent.swap_remove(now as usize % lent.len()));
                    }
                    2 if lent.pop().is_some() => bucket.give_back(now),
                    _ => {}
                }
            }
            kept.sort_unstable();
            no_window_sees_more(&kept, per_second, burst)?;
        }

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
                admitted.extend((0..asked).filter(|_| take(&mut bucket, now)).map(|_| now));
            }
            no_window_sees_more(&admitted, per_second, burst)?;
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
                take(&mut bucket, now);
            }
            let next = bucket.next(now);
            prop_assert!(next >= now && next <= now + bucket.every());
            prop_assert!(next == now || !take(&mut bucket.clone(), next - 1));
            prop_assert!(take(&mut bucket, next));
        }
    }
}
