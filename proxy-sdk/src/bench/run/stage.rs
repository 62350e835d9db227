//! Connections that are in, a way onto the queue, and the processes to look at.

use std::time::Duration;

use super::Plan;
use super::watch::{Reading, Watch};
use crate::bench::client::{Clients, Work};
use crate::bench::feed::{Entry, Feed};
use crate::bench::figures::{Figures, Load, LoginFigures, Turn};
use crate::bench::pace::{Batch, Schedule};
use crate::bench::report::{Logins, Report};
use crate::bench::{Result, clock};

pub(super) struct Stage {
    pub(super) clients: Clients,
    pub(super) feed: Feed,
    pub(super) logins: Logins,
    watch: Watch,
    count: usize,
    grace: Duration,
}

/// What was read off around what was sent.
pub(super) struct Measured {
    pub(super) report: Report,
    before: Reading,
    after: Reading,
    lateness: Option<Schedule>,
    sent: u64,
    expected: u64,
    seconds: f64,
}

impl Stage {
    pub(super) fn start(plan: &Plan, work: &Work, tell: &mut dyn FnMut(String)) -> Result<Self> {
        let watch = Watch::find(&plan.processes)?;
        // What stands in the way of sending is better known before everybody has logged in.
        let feed = plan.feed()?;
        let mut clients = Clients::start(plan.role, work, plan.clients)?;
        let logins = clients.logged_in()?;
        if logins.connected == 0 {
            return Err(format!("nobody could connect: {}", logins.trouble.unwrap_or_default()).into());
        }
        tell(format!("{} connections in {:.1} s", logins.connected, logins.seconds));
        Ok(Self { clients, feed, logins, watch, count: plan.clients, grace: plan.grace })
    }

    /// Sends what keeps a pace, and reads everything off before and after. `entry` makes the message due then, of those of
    /// its batch the so manieth.
    pub(super) fn paced(
        &mut self,
        rate: u64,
        messages: u64,
        receivers: u64,
        mut entry: impl FnMut(Batch, u64) -> Result<Entry>,
    ) -> Result<Measured> {
        self.clients.begin()?;
        let before = self.read()?;
        let began = clock::now();
        let mut schedule = Schedule::new(rate);
        let mut left = messages;
        while left > 0 {
            let batch = schedule.wait(left);
            let entries = (0..batch.count).map(|nth| entry(batch, nth)).collect::<Result<Vec<_>>>()?;
            self.feed.put(&entries)?;
            left -= batch.count;
        }
        self.finish(before, began, Some(schedule), messages, messages * receivers)
    }

    /// Sends all of it at once.
    pub(super) fn at_once(&mut self, entries: &[Entry], receivers: u64) -> Result<Measured> {
        self.clients.begin()?;
        let before = self.read()?;
        let began = clock::now();
        self.feed.put(entries)?;
        let messages = entries.len() as u64;
        self.finish(before, began, None, messages, messages * receivers)
    }

    fn finish(
        &mut self,
        before: Reading,
        began: u64,
        lateness: Option<Schedule>,
        sent: u64,
        expected: u64,
    ) -> Result<Measured> {
        // The producer is done; what it does from now on is to wait.
        let sending = self.read()?;
        let arrived = self.clients.arrived(expected, self.grace)?;
        let report = self.clients.end()?;
        let after = self.read()?.with_producer_of(&sending, &before);
        let seconds = arrived.saturating_sub(began) as f64 / 1e9;
        Ok(Measured { report, before, after, lateness, sent, expected, seconds })
    }

    pub(super) fn read(&self) -> Result<Reading> {
        self.watch.read(self.clients.pids())
    }

    /// Puts together what was found.
    pub(super) fn figures(self, what: &'static str, plan: &Plan, measured: Measured) -> Figures {
        let Measured { report, before, after, lateness, sent, expected, seconds } = measured;
        let mut load = Load {
            clients: self.count,
            producer: self.feed.name(),
            busiest_client: report.busy,
            producer_busy: after.producer_busy_since(&before),
            longest_step_us: report.longest_step_us,
            ..Load::default()
        };
        if let Some(schedule) = &lateness {
            load.schedule(schedule.lateness());
        }
        let mut figures = Figures {
            what,
            asked: String::new(),
            settings: serde_json::Value::Null,
            wanted: plan.connections as u64,
            logins: LoginFigures::of(&self.logins),
            servers: self.watch.between(&before, &after, report.arrived()),
            others_cpu_seconds: after.others_since(&before),
            turn: Some(Turn::of(&report, sent, expected, seconds)),
            load,
            notes: Vec::new(),
            problems: Vec::new(),
        };
        let trouble = self.logins.trouble.as_deref().or(report.trouble.as_deref());
        figures.judge(lateness.is_some(), trouble);
        figures
    }
}
