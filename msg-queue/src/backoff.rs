//! How long to wait before the next attempt: doubling, bounded, with half of it jitter.
//!
//! Not all of it: with bad luck every attempt would be over before a dead node's lease is, and what should be offline dead.
//!
//! Owns the arithmetic. Never sleeps, and draws its random numbers from a seed it was given.

use std::time::Duration;

/// The waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The longest wait after the first failure. It doubles with each further one.
    pub first: Duration,
    /// The longest wait of all.
    pub max: Duration,
}

impl Backoff {
    /// Tells the longest wait after so many failures, at least 1.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).and_then(|factor| self.first.checked_mul(factor));
        doubled.map_or(self.max, |wait| wait.min(self.max))
    }

    /// Draws the wait after so many failures: anything from half of [`ceiling`](Self::ceiling) to all of it, in
    /// milliseconds.
    pub fn wait(&self, failures: u32, jitter: &mut Jitter) -> Duration {
        let ceiling = u64::try_from(self.ceiling(failures).as_millis()).unwrap_or(u64::MAX);
        let half = ceiling / 2;
        Duration::from_millis(half + jitter.up_to(ceiling - half))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), max: Duration::from_mins(1) }
    }
}

/// A source of random numbers that gives the same ones for the same seed (SplitMix64). Good for spreading waits, for
/// nothing that must not be guessed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts from a seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts from a seed that differs from process to process.
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(0))
    }

    /// Draws a number from 0 to a bound, the bound included.
    pub fn up_to(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        bound.checked_add(1).map_or(mixed, |count| mixed % count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let ceilings: Vec<u128> = (1..=11).map(|failures| backoff.ceiling(failures).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000]);
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_mins(1));
    }

    #[test]
    fn jitter_reaches_both_ends_and_the_middle() {
        let mut jitter = Jitter::seeded(7);
        let drawn: Vec<u64> = (0..1_000).map(|_| jitter.up_to(9)).collect();
        for number in 0..=9 {
            let times = drawn.iter().filter(|drawn| **drawn == number).count();
            assert!((50..200).contains(&times), "{number} was drawn {times} times of 1,000");
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_between_half_of_its_ceiling_and_all_of_it(failures in 1..100_u32, seed: u64) {
            let backoff = Backoff::default();
            let wait = backoff.wait(failures, &mut Jitter::seeded(seed));
            let ceiling = backoff.ceiling(failures);
            prop_assert!((ceiling / 2..=ceiling).contains(&wait));
        }
    }
}
