//! When each message is due, and whom it is for.
//!
//! Owns the schedule: a message is due at its moment, whatever became of those before it. Who is behind sends at once
//! what is overdue, stamped with when it was due; how late that was is counted.

use super::clock;
use super::histogram::Histogram;

const SECOND: u64 = 1_000_000_000;
/// Faster rates than one per tick send several at each.
const TICKS: u64 = 1_000;

/// So many messages a second. See the module.
#[derive(Debug)]
pub struct Schedule {
    began: u64,
    per_second: u64,
    /// Messages due so far.
    due: u64,
    tick: u64,
    lateness: Histogram,
}

/// Messages that are due at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// When, on the monotonic clock.
    pub due: u64,
    /// How many. Never none.
    pub count: u64,
}

impl Schedule {
    /// Begins now. A rate of 0 counts as 1.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self::beginning(clock::now(), per_second)
    }

    fn beginning(began: u64, per_second: u64) -> Self {
        Self { began, per_second: per_second.max(1), due: 0, tick: 0, lateness: Histogram::default() }
    }

    /// Waits for the next batch of at most so many.
    pub fn wait(&mut self, most: u64) -> Batch {
        let batch = self.next(most);
        clock::sleep_until(batch.due);
        self.lateness.record(clock::now().saturating_sub(batch.due) / 1_000);
        batch
    }

    /// The next batch, without waiting for it.
    pub fn next(&mut self, most: u64) -> Batch {
        let ticks = self.per_second.min(TICKS);
        loop {
            self.tick += 1;
            let until = u128::from(self.tick) * u128::from(self.per_second) / u128::from(ticks);
            let count = u64::try_from(until).unwrap_or(u64::MAX).saturating_sub(self.due).min(most.max(1));
            if count > 0 {
                self.due += count;
                let after = u128::from(self.tick) * u128::from(SECOND) / u128::from(ticks);
                return Batch { due: self.began + u64::try_from(after).unwrap_or(u64::MAX / 2), count };
            }
        }
    }

    /// When the next batch is due.
    #[must_use]
    pub fn upcoming(&self) -> u64 {
        let ticks = self.per_second.min(TICKS);
        self.began + (self.tick + 1) * SECOND / ticks
    }

    /// How late batches were when they were begun.
    #[must_use]
    pub const fn lateness(&self) -> &Histogram {
        &self.lateness
    }
}

/// Users drawn at random, the same ones in every turn, and the number of the next message to each.
#[derive(Debug)]
pub struct Draw {
    sent: Vec<u64>,
    first: usize,
    random: u64,
}

impl Draw {
    /// Of so many users, from this number on. Of none it draws the first.
    #[must_use]
    pub fn new(first: usize, users: usize) -> Self {
        Self { sent: vec![0; users.max(1)], first, random: 0x9E37_79B9_7F4A_7C15 }
    }

    /// Draws a user; tells which message to them this is, from 1.
    pub fn draw(&mut self) -> (usize, u64) {
        // Marsaglia's xorshift: the quality does not matter, the same sequence in every turn does.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let user = usize::try_from(self.random % self.sent.len() as u64).unwrap_or(0);
        self.sent[user] += 1;
        (self.first + user, self.sent[user])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(per_second: u64, seconds: u64) -> Vec<Batch> {
        let mut schedule = Schedule::beginning(0, per_second);
        std::iter::repeat_with(|| schedule.next(u64::MAX)).take_while(|batch| batch.due <= seconds * SECOND).collect()
    }

    #[test]
    fn every_rate_sends_exactly_as_much_a_second_and_never_too_early() {
        for per_second in [1, 3, 999, 1_000, 1_001, 1_500, 19_999, 20_000] {
            let batches = batches(per_second, 2);
            let sent: u64 = batches.iter().map(|batch| batch.count).sum();
            assert_eq!(sent, 2 * per_second, "{per_second}");
            let mut before = 0;
            for batch in &batches {
                before += batch.count;
                let allowed = u128::from(batch.due) * u128::from(per_second) / u128::from(SECOND);
                assert!(u128::from(before) <= allowed + 1, "{per_second}: {before} by {}", batch.due);
            }
        }
    }

    #[test]
    fn a_slow_rate_is_spread_over_the_second() {
        let due: Vec<u64> = batches(4, 1).into_iter().map(|batch| batch.due).collect();
        assert_eq!(due, [SECOND / 4, SECOND / 2, SECOND / 4 * 3, SECOND]);
    }

    #[test]
    fn who_is_held_up_sends_at_once_what_is_overdue_with_the_time_it_was_due() {
        let began = clock::now() - SECOND;
        let mut schedule = Schedule::beginning(began, 10);
        let batches: Vec<Batch> = (0..10).map(|_| schedule.wait(1)).collect();
        assert!(batches.iter().zip(1..).all(|(batch, nth)| batch.due == began + nth * SECOND / 10));
        // The first was due 0.9 s ago: that counts, although nothing of it was waiting here.
        assert!(schedule.lateness().largest() >= 900_000 && schedule.lateness().total() == 10);
    }

    #[test]
    fn draws_are_the_same_in_every_turn_and_count_by_user() {
        let (mut one, mut other) = (Draw::new(0, 10), Draw::new(100, 10));
        let mut last = [0; 10];
        for _ in 0..1_000 {
            let ((user, number), (same, _)) = (one.draw(), other.draw());
            assert_eq!(user + 100, same);
            assert_eq!(number, last[user] + 1);
            last[user] = number;
        }
        assert!(last.iter().all(|&count| count > 0));
    }
}
