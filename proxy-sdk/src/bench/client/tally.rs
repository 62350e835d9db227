//! What a load client counts in one turn.

use super::order::Placed;
use crate::bench::clock;
use crate::bench::message::Stamps;
use crate::bench::report::Report;

#[derive(Default)]
pub(super) struct Tally {
    pub(super) counted: Report,
    /// Where stamps stand in frames.
    pub(super) stamps: Stamps,
    /// When the turn began: of the clock, and CPU time of this process.
    began: (u64, u64),
    /// The same when something was last found to have arrived, and how much that was: waiting for more is no work.
    seen: Option<((u64, u64), u64)>,
}

impl Tally {
    /// Starts a turn.
    pub(super) fn begin(&mut self) {
        self.counted = Report::default();
        self.began = moment();
        self.seen = None;
    }

    /// Tells how much has arrived so far.
    pub(super) fn arrived(&mut self) -> u64 {
        let arrived = self.counted.arrived();
        if self.seen.is_none_or(|(_, before)| arrived > before) {
            self.seen = Some((moment(), arrived));
        }
        arrived
    }

    /// Tells what was counted in the turn.
    pub(super) fn end(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.counted);
        report.busy = busy_between(self.began, self.seen.map_or_else(moment, |(moment, _)| moment));
        report
    }

    pub(super) fn delivered(&mut self, stamp: u64, arrived: u64, size: usize) {
        let (counted, size) = (&mut self.counted, size as u64);
        counted.deliveries += 1;
        counted.latency.record(arrived.saturating_sub(stamp) / 1_000);
        counted.longest_frame = counted.longest_frame.max(size);
        if counted.shortest_frame == 0 || size < counted.shortest_frame {
            counted.shortest_frame = size;
        }
    }

    /// Counts what came twice or late.
    pub(super) fn place(&mut self, placed: Placed) {
        match placed {
            Placed::InOrder => {}
            Placed::Late => self.counted.out_of_order += 1,
            Placed::Repeated => self.counted.repeated += 1,
        }
    }

    /// Takes note of how long one step of the event loop took.
    pub(super) fn step(&mut self, began: u64) {
        let took = clock::now().saturating_sub(began) / 1_000;
        self.counted.longest_step_us = self.counted.longest_step_us.max(took);
    }
}

/// Now: of the clock, and CPU time of this process.
pub(super) fn moment() -> (u64, u64) {
    (clock::now(), clock::cpu())
}

/// The share of a core that this process has used between two moments.
pub(super) fn busy_between(began: (u64, u64), ended: (u64, u64)) -> f64 {
    ended.1.saturating_sub(began.1) as f64 / ended.0.saturating_sub(began.0).max(1) as f64
}
