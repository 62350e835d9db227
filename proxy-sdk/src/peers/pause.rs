//! How long a node that could not be reached is left alone.
//!
//! Owns the numbers. Doubles from try to try; half of each pause is chance, so that processes do not come all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Pause {
    tries: u32,
    chance: RandomState,
}

impl Pause {
    /// Begins anew: the node was reached.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        let share = u32::try_from(self.chance.hash_one(self.tries) % 1_000).unwrap_or(0);
        whole / 2 + whole / 2 * share / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_begin_anew() {
        let mut pause = Pause::default();
        assert!(pause.next() <= FIRST);
        for _ in 0..100 {
            pause.next();
        }
        assert!((LONGEST / 2..=LONGEST).contains(&pause.next()));
        pause.reset();
        assert!(pause.next() <= FIRST);
    }
}
