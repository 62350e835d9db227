//! How fast logins are done, measured while others wait: with nobody waiting it says how many came, not how many could.
//!
//! Owns the estimate. Times are nanoseconds since the same moment, whichever that is.

/// Over how long it is measured, at least.
const SPAN: u64 = 1_000_000_000;
/// 1,000 in a second, until something was measured: what a small node does.
const AT_FIRST: u64 = 1_000_000;
/// 50 in a second, also where hardly anything is done: who waits for a store that is gone comes back in a minute.
const SLOWEST: u64 = 20_000_000;
/// 100,000 in a second.
const FASTEST: u64 = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// From one login to the next.
    every: u64,
    since: u64,
    done: u64,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { every: AT_FIRST, since: 0, done: 0 }
    }

    pub(super) const fn every(&self) -> u64 {
        self.every
    }

    /// Somebody waits, and nobody did before.
    pub(super) const fn begin(&mut self, now: u64) {
        self.since = now;
        self.done = 0;
    }

    /// A login is done while another waits.
    pub(super) fn done(&mut self, now: u64) {
        self.done += 1;
        let span = now.saturating_sub(self.since);
        if span >= SPAN {
            self.every = self.every.midpoint(span / self.done).clamp(FASTEST, SLOWEST);
            self.begin(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, per_second: u64) -> Pace {
        let mut pace = Pace::new();
        pace.begin(7);
        (1..=seconds * per_second).for_each(|number| pace.done(7 + number * SPAN / per_second));
        pace
    }

    #[test]
    fn the_pace_nears_what_is_done() {
        for per_second in [100, 4_000, 20_000] {
            let found = SPAN / after(10, per_second).every();
            assert!(found.abs_diff(per_second) <= per_second / 50, "{found} of {per_second}");
        }
    }

    #[test]
    fn the_pace_stays_within_its_bounds() {
        assert_eq!(after(20, 1).every(), SLOWEST);
        assert_eq!(after(20, 300_000).every(), FASTEST);
    }

    #[test]
    fn the_time_in_which_nobody_waited_does_not_count() {
        let mut pace = after(10, 4_000);
        let (before, later) = (pace.every(), 3_600 * SPAN);
        pace.begin(later);
        pace.done(later + SPAN / 4_000);
        assert_eq!(pace.every(), before);
    }
}
