//! When those who were refused are told to come back: one after the other, as fast as they can be let in.
//!
//! Owns the places it has given away, as one number: when the last of them is. Keeps nothing of the clients, who may come
//! or not. Times are nanoseconds since the same moment, whichever that is.

/// The longest wait.
pub(super) const LONGEST: u64 = 59_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// The last place that was given away.
    last: u64,
    /// Who found all places within the longest wait given away.
    beyond: u64,
}

impl Returns {
    /// Gives away the next place and tells the wait for it: not before `first`, and `every` after the one before it.
    pub(super) fn next(&mut self, now: u64, first: u64, every: u64) -> u64 {
        let place = first.max(now).max(self.last.saturating_add(every));
        let wait = place - now;
        if wait <= LONGEST {
            self.last = place;
            return wait;
        }
        self.scattered()
    }

    /// How far ahead the next place is.
    pub(super) const fn backlog(&self, now: u64) -> u64 {
        self.last.saturating_sub(now)
    }

    /// Somewhere in the second half of the longest wait, evenly: all of these at its end would be a storm of their own. A
    /// stride coprime to the modulus visits all values before it repeats one, and neighbours are far apart.
    const fn scattered(&mut self) -> u64 {
        const STEPS: u64 = 1_000;
        const STRIDE: u64 = 617;
        self.beyond = self.beyond.wrapping_add(1);
        let step = self.beyond.wrapping_mul(STRIDE) % STEPS;
        LONGEST / 2 + LONGEST / 2 / STEPS * step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn those_for_whom_there_is_no_place_are_scattered_evenly() {
        let mut returns = Returns::default();
        let waits: Vec<u64> = (0..4_000).map(|_| returns.next(0, 0, 100 * SECOND)).collect();
        assert!(waits.iter().all(|wait| (LONGEST / 2..=LONGEST).contains(wait)));
        for second in 30..59 {
            let then = waits.iter().filter(|wait| *wait / SECOND == second).count();
            assert!((100..180).contains(&then), "{then} of 4,000 in second {second}");
        }
    }

    proptest! {
        /// Of a crowd that is refused at once each second gets as many as can be let in, until everybody has a place.
        #[test]
        fn the_backlog_is_covered_evenly(per_second in 1..5_000_u64, crowd in 1..20_000_u64, now in 0..SECOND) {
            let every = SECOND.div_ceil(per_second);
            let mut returns = Returns::default();
            let waits: Vec<u64> = (0..crowd).map(|_| returns.next(now, now + every, every)).collect();
            prop_assert!(waits.iter().all(|wait| *wait <= LONGEST));
            let placed = crowd.min(LONGEST / every);
            for (number, wait) in (1..=placed).zip(&waits) {
                prop_assert_eq!(*wait, number * every);
            }
            for second in 0..placed / per_second {
                let then = waits.iter().take(usize::try_from(placed).unwrap()).filter(|wait| *wait / SECOND == second);
                prop_assert!(then.count().abs_diff(usize::try_from(per_second).unwrap()) <= 1);
            }
        }

        /// Nobody is told a time that somebody else was told, nor one sooner than it makes sense.
        #[test]
        fn places_are_apart_and_not_before_the_first(
            every in SECOND / 100..SECOND,
            moments in prop::collection::vec((0..SECOND, 0..2 * SECOND), 1..30),
        ) {
            let mut returns = Returns::default();
            let (mut now, mut last) = (0, None::<u64>);
            for (pause, ahead) in moments {
                now += pause;
                let place = now + returns.next(now, now + ahead, every);
                prop_assert!(place >= now + ahead);
                prop_assert!(last.is_none_or(|last| place - now > LONGEST / 2 || place >= last + every));
                prop_assert!(returns.backlog(now) == place - now || place - now > LONGEST / 2);
                last = Some(place);
            }
        }
    }
}
