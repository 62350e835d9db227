//! What a measurement found, for people and for programs, and whether it may be believed.

mod show;

use serde::Serialize;
use serde_json::Value;

use super::histogram::Histogram;
use super::report::{Logins, Outcome, Report};

/// A load client that uses more of a core than this measures itself.
pub const BUSY: f64 = 0.9;
/// A schedule is kept as long as 99 of 100 batches are begun this soon after they are due, in microseconds.
pub const LATE_US: u64 = 10_000;

/// All that one measurement found.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What was measured.
    pub what: &'static str,
    /// What was asked for, in words.
    pub asked: String,
    /// The same for programs.
    pub settings: Value,
    /// Connections asked for.
    pub wanted: u64,
    /// How they came to be.
    pub logins: LoginFigures,
    /// What was delivered, where something was sent.
    pub turn: Option<Turn>,
    /// What the processes named have spent.
    pub servers: Vec<Server>,
    /// CPU seconds that programs took that are neither named nor part of the bench.
    pub others_cpu_seconds: f64,
    /// Whether the load side was the bound.
    pub load: Load,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// Why these figures are not to be believed, or not good. Empty: everything is well.
    pub problems: Vec<String>,
}

/// How the logins went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoginFigures {
    /// Connections that were in.
    pub connected: u64,
    /// Answers that said to come back later, which was done.
    pub put_off: u64,
    /// How long all took together, in seconds.
    pub seconds: f64,
    /// From setting out to being in, with the groups.
    pub latency: Percentiles,
}

/// What was delivered.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Turn {
    /// Messages put on the queue.
    pub sent: u64,
    /// Deliveries they were to have.
    pub expected: u64,
    /// Deliveries, each counted once.
    pub delivered: u64,
    /// The share of the former.
    pub delivery_ratio: f64,
    /// What became of the others.
    pub outcome: Outcome,
    /// Connections that ended meanwhile.
    pub ended: u64,
    /// Connections that were cut on purpose, and came back.
    pub cut: u64,
    /// From the first message until everything was there.
    pub seconds: f64,
    /// Deliveries in each of these seconds.
    pub deliveries_per_second: f64,
    /// From when each message was due to when a client read it.
    pub latency: Percentiles,
}

/// Percentiles over everything, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Half do not exceed it.
    pub p50_us: u64,
    /// 90 of 100.
    pub p90_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1,000.
    pub p999_us: u64,
    /// The largest.
    pub max_us: u64,
}

/// What processes of one name have spent.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// As they were named.
    pub name: String,
    /// Their process ids.
    pub pids: Vec<u32>,
    /// CPU time, user and system.
    pub cpu_seconds: f64,
    /// Per delivery; where nothing was sent, per login.
    pub cpu_us_each: f64,
    /// Resident memory before.
    pub rss_before_bytes: u64,
    /// Resident memory after.
    pub rss_after_bytes: u64,
}

/// Whether the load side was the bound.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Load {
    /// Processes that held connections.
    pub clients: usize,
    /// How messages got onto the queue.
    pub producer: &'static str,
    /// The share of a core that the busiest of the load clients used.
    pub busiest_client: f64,
    /// The share of a core that the producer used.
    pub producer_busy: f64,
    /// How late 99 of 100 batches were begun at most, in microseconds. None: there was no schedule.
    pub late_p99_us: Option<u64>,
    /// How late the latest was begun.
    pub late_max_us: Option<u64>,
    /// The longest time in which a load client did not look for anything new, in microseconds.
    pub longest_step_us: u64,
}

impl Percentiles {
    /// Those of a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Self {
        Self {
            p50_us: histogram.per_mille(500),
            p90_us: histogram.per_mille(900),
            p99_us: histogram.per_mille(990),
            p999_us: histogram.per_mille(999),
            max_us: histogram.largest(),
        }
    }
}

impl LoginFigures {
    /// Those of what load clients said.
    #[must_use]
    pub fn of(logins: &Logins) -> Self {
        let Logins { connected, put_off, latency, seconds, .. } = logins;
        Self { connected: *connected, put_off: *put_off, seconds: *seconds, latency: Percentiles::of(latency) }
    }
}

impl Turn {
    /// Those of what load clients said.
    #[must_use]
    pub fn of(report: &Report, sent: u64, expected: u64, seconds: f64) -> Self {
        let delivered = report.arrived();
        Self {
            sent,
            expected,
            delivered,
            delivery_ratio: delivered as f64 / expected.max(1) as f64,
            outcome: report.outcome(expected),
            ended: report.ended,
            cut: report.cut,
            seconds,
            deliveries_per_second: delivered as f64 / seconds.max(f64::MIN_POSITIVE),
            latency: Percentiles::of(&report.latency),
        }
    }
}

impl Load {
    /// Takes note of a schedule that was to be kept.
    pub fn schedule(&mut self, lateness: &Histogram) {
        self.late_p99_us = Some(lateness.per_mille(990));
        self.late_max_us = Some(lateness.largest());
    }

    /// Why the load side was the bound, if it was.
    fn saturation(&self) -> Option<String> {
        if self.busiest_client > BUSY {
            let share = self.busiest_client * 100.0;
            return Some(format!(
                "the load clients were saturated: the busiest used {share:.0} % of a core. Latencies are theirs; give them \
                 more processes (--clients), or ask for less"
            ));
        }
        if self.producer_busy > BUSY {
            let share = self.producer_busy * 100.0;
            return Some(format!("the producer was saturated: it used {share:.0} % of a core"));
        }
        let late = self.late_p99_us.filter(|&late| late > LATE_US)?;
        Some(format!(
            "the rate was not kept: one batch in a hundred was begun {:.1} ms late or later. The way onto the queue is too \
             slow for it, or this machine is too busy; the latencies count it",
            late as f64 / 1e3
        ))
    }
}

impl Figures {
    /// Looks for reasons not to believe the figures, or not to like them. `is_paced`: a rate was to be kept, so that a load
    /// side that is the bound is a mistake; else it is only said.
    pub fn judge(&mut self, is_paced: bool, trouble: Option<&str>) {
        let cause = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
        if self.logins.connected < self.wanted {
            self.problems
                .push(format!("only {} of {} connections came to be{cause}", self.logins.connected, self.wanted));
        }
        if let Some(turn) = &self.turn {
            let Outcome { lost, repeated, out_of_order } = turn.outcome;
            for (count, what) in [(lost, "lost"), (repeated, "delivered twice"), (out_of_order, "out of order")] {
                if count > 0 {
                    self.problems.push(format!("{count} of {} deliveries were {what}", turn.expected));
                }
            }
            if turn.ended > 0 {
                self.problems.push(format!("{} connections ended{cause}", turn.ended));
            }
        }
        match self.load.saturation() {
            Some(saturation) if is_paced => self.problems.push(saturation),
            Some(saturation) => self.notes.push(saturation),
            None => {}
        }
    }

    /// Whether nothing was lost, came twice or out of order, and the load side was not the bound.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

#[cfg(test)]
mod tests;
