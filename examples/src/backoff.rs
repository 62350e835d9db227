//! How long to wait before trying again.
//!
//! Owns the wait and its jitter. Whether to try again at all is for the caller, who knows why it failed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// Hints come in whole seconds: those who were given the same one come spread over so much.
const SPREAD: Duration = Duration::from_secs(1);

/// Waits that double up to a bound, each drawn at random from zero up ("full jitter").
///
/// Without the random part all clients of a node that restarts would come back in the same moment, again and again. A
/// server that says when to come back has reckoned with that: nobody comes sooner, nor much later.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// Makes one whose first wait is below `first` and whose later ones stay below `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 0 }
    }

    /// Starts over: to be called after a success.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Returns the next wait.
    pub fn next_wait(&mut self) -> Duration {
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        random_below(bound)
    }

    /// Returns the next wait where the server may have given a hint: that and up to a second more. No hint is zero.
    pub fn next_wait_after(&mut self, hint: Duration) -> Duration {
        let wait = self.next_wait();
        if hint.is_zero() { wait } else { hint.saturating_add(random_below(SPREAD)) }
    }

    fn bound(&self) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(self.attempts)).min(self.longest)
    }
}

/// Draws evenly from zero to `bound`. The standard library's hash keys are the only randomness needed here.
fn random_below(bound: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    bound.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        for doubled in [1, 2, 4, 8, 16, 32, 64, 128] {
            assert_eq!(backoff.bound(), FIRST * doubled);
            assert!(backoff.next_wait() <= FIRST * doubled);
        }
        assert_eq!(backoff.bound(), LONGEST);
        backoff.reset();
        assert_eq!(backoff.bound(), FIRST);
    }

    #[test]
    fn a_hint_is_never_undercut_nor_passed_by_much() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let hint = Duration::from_secs(7);
        assert!((0..50).all(|_| (hint..=hint + SPREAD).contains(&backoff.next_wait_after(hint))));
        assert!((0..50).any(|_| backoff.next_wait_after(Duration::ZERO) > SPREAD), "without a hint it doubles");
    }

    #[test]
    fn two_clients_do_not_wait_for_the_same_time() {
        let waits: Vec<Duration> = (0..20).map(|_| Backoff::new(LONGEST, LONGEST).next_wait()).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
