//! What the load client counts in one turn, and when the turn is over.

use std::time::Duration;

use serde_json::{Value, json};

use super::order::Placed;
use crate::message::Stamps;
use crate::{Result, clock};

#[derive(Default)]
pub(super) struct Tally {
    /// All bytes read, of whatever.
    pub(super) bytes: u64,
    /// Frames that are no message: welcome, notices.
    pub(super) other: u64,
    /// Connections that ended.
    pub(super) ended: usize,
    /// Microseconds from when each message was due to when it was read, in the order of arrival.
    latencies: Vec<u32>,
    /// Where stamps stand in frames.
    pub(super) stamps: Stamps,
    repeated: usize,
    out_of_order: usize,
    shortest: usize,
    longest: usize,
    expected: Option<Expected>,
}

struct Expected {
    deliveries: usize,
    deadline: u64,
    is_complete: bool,
}

/// What comes twice may come after everything came once.
const LINGER: Duration = Duration::from_millis(200);

impl Tally {
    /// `expect <deliveries> <milliseconds>`: starts a turn, which ends with that many or at that time.
    pub(super) fn expect(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["expect", deliveries, within] = words[..] else {
            return Err(format!("the load client does not know {line:?}").into());
        };
        let deadline = clock::deadline(Duration::from_millis(within.parse()?));
        let expected = Expected { deliveries: deliveries.parse()?, deadline, is_complete: false };
        // The room is taken before the turn, so that the turn does not move megabytes about.
        let latencies = Vec::with_capacity(expected.deliveries);
        *self = Self { latencies, shortest: usize::MAX, expected: Some(expected), ..Self::default() };
        Ok(())
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.expected.as_ref().map(|expected| expected.deadline)
    }

    pub(super) fn delivered(&mut self, stamp: u64, arrived: u64, size: usize) {
        let micros = arrived.saturating_sub(stamp) / 1_000;
        self.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
        self.shortest = self.shortest.min(size);
        self.longest = self.longest.max(size);
    }

    /// Counts what came twice or late.
    pub(super) fn place(&mut self, placed: Placed) {
        match placed {
            Placed::InOrder => {}
            Placed::Late => self.out_of_order += 1,
            Placed::Repeated => self.repeated += 1,
        }
    }

    /// The report of the turn, once, when it is over.
    pub(super) fn finished(&mut self) -> Option<Value> {
        let arrived = self.latencies.len() - self.repeated;
        let expected = self.expected.as_mut()?;
        if !expected.is_complete && arrived >= expected.deliveries {
            expected.is_complete = true;
            expected.deadline = clock::deadline(LINGER);
        }
        if clock::now() < expected.deadline {
            return None;
        }
        self.expected = None;
        self.latencies.sort_unstable();
        Some(json!({
            "deliveries": self.latencies.len(), "bytes": self.bytes, "other": self.other, "ended": self.ended,
            "repeated": self.repeated, "out_of_order": self.out_of_order,
            "shortest_frame": self.shortest.min(self.longest), "longest_frame": self.longest,
            "p50_us": self.quantile(50), "p99_us": self.quantile(99), "max_us": self.quantile(100),
            "by_ms": self.by_ms(),
        }))
    }

    /// How many arrived within each millisecond, of those in which any did. What several load clients say can be added.
    fn by_ms(&self) -> Vec<(u32, usize)> {
        let same = |a: &u32, b: &u32| a / 1_000 == b / 1_000;
        self.latencies.chunk_by(same).filter_map(|some| Some((some.first()? / 1_000, some.len()))).collect()
    }

    /// Nearest-rank percentile over all deliveries of the turn.
    fn quantile(&self, percent: usize) -> u32 {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_over_all_deliveries() {
        let mut tally = Tally::default();
        tally.expect("expect 100 60000").unwrap();
        for number in (1..=100_u64).rev() {
            assert!(tally.finished().is_none());
            tally.delivered(0, number * 1_000_000, 230);
        }
        let report = loop {
            match tally.finished() {
                Some(report) => break report,
                None => clock::sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(
            (&report["p50_us"], &report["p99_us"], &report["max_us"]),
            (&json!(50_000), &json!(99_000), &json!(100_000))
        );
        assert!(tally.finished().is_none(), "a turn is reported once");
    }

    #[test]
    fn deliveries_are_counted_by_millisecond() {
        let tally = Tally { latencies: vec![1, 999, 1_000, 7_500], ..Tally::default() };
        assert_eq!(tally.by_ms(), [(0, 2), (1, 1), (7, 1)]);
    }

    #[test]
    fn a_turn_without_deliveries_ends_at_its_deadline() {
        let mut tally = Tally::default();
        tally.expect("expect 5 0").unwrap();
        assert_eq!(tally.finished().unwrap()["deliveries"], 0);
    }
}
