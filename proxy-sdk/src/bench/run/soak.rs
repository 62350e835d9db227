//! Everything at once, for long: single users, a group, durable messages, and connections that break and come back.
//!
//! Those that are cut get durable messages only, and are in no group: what is live and comes while somebody is away is
//! lost by definition, and would hide what is lost by mistake.

use std::time::Duration;

use serde_json::json;

use super::{Mix, Plan};
use crate::bench::client::{Clients, Work};
use crate::bench::feed::{Class, Entry, To};
use crate::bench::figures::{Figures, Load, LoginFigures, Turn};
use crate::bench::histogram::Histogram;
use crate::bench::pace::{Draw, Schedule};
use crate::bench::report::{Logins, Report};
use crate::bench::{Result, clock, message};
use crate::{Tgid, Uid};

use super::watch::{Reading, Watch};

/// Between two lines that say how it goes.
const EVERY: u64 = 10_000_000_000;
/// Memory is compared with what it was after this share of the time, one in so many.
const WARM: u64 = 10;

/// The series of each kind: what is in order among itself.
const LIVE: u64 = 0;
const GROUP: u64 = 1;
const DURABLE: u64 = 2;

struct Soak<'a> {
    plan: &'a Plan,
    stable: Clients,
    cut: Option<Clients>,
    users: Vec<Uid>,
    group: Tgid,
    /// How many are never cut.
    members: u64,
    sources: Vec<Source>,
    sent: u64,
    expected: u64,
}

/// One of the kinds of messages.
struct Source {
    series: u64,
    schedule: Schedule,
    draw: Draw,
    number: u64,
}

pub(super) fn run(plan: &Plan, mix: Mix, tell: &mut dyn FnMut(String)) -> Result<Figures> {
    let watch = Watch::find(&plan.processes)?;
    let mut feed = plan.feed()?;
    let (mut soak, logins) = Soak::start(plan, mix)?;
    tell(format!("{} connections in {:.1} s", logins.connected, logins.seconds));
    soak.begin()?;
    if let Some(clients) = soak.cut.as_mut().filter(|_| mix.cuts > 0) {
        clients.cut(Duration::from_secs(1) / u32::try_from(mix.cuts).unwrap_or(u32::MAX))?;
    }
    let before = watch.read(soak.pids())?;
    let began = clock::now();
    let end = began + plan.seconds * 1_000_000_000;
    let (mut next, mut warm) = (began + EVERY, None);
    soak.set_out(mix);
    while let Some(source) = soak.upcoming(end) {
        let entries = soak.batch(source)?;
        feed.put(&entries)?;
        let now = clock::now();
        if now > began + (end - began) / WARM && warm.is_none() {
            warm = Some(watch.read(soak.pids())?);
        }
        if now > next {
            next += EVERY;
            tell(soak.line((now - began) / 1_000_000_000, &watch.read(soak.pids())?)?);
        }
    }
    let sending = watch.read(soak.pids())?;
    let report = soak.end()?;
    let after = watch.read(soak.pids())?;
    let mut load = Load {
        clients: plan.clients + usize::from(soak.cut.is_some()),
        producer: feed.name(),
        busiest_client: report.busy,
        producer_busy: sending.producer_busy_since(&before),
        longest_step_us: report.longest_step_us,
        ..Load::default()
    };
    load.schedule(&soak.lateness());
    let mut figures = Figures {
        what: "soak",
        asked: format!(
            "{} to users, {} to a group of {}, {} durable messages/s; {} cuts/s among {} connections; for {} s",
            mix.unicast,
            mix.group,
            soak.members,
            mix.durable,
            mix.cuts,
            logins.connected - soak.members,
            plan.seconds
        ),
        settings: plan.to_json(json!({ "soak": {
            "unicast": mix.unicast, "group": mix.group, "durable": mix.durable, "cuts": mix.cuts, "cut_percent": mix.cut_percent,
        } })),
        wanted: plan.connections as u64,
        logins: LoginFigures::of(&logins),
        servers: watch.between(&before, &after, report.arrived()),
        others_cpu_seconds: after.others_since(&before),
        turn: Some(Turn::of(&report, soak.sent, soak.expected, sending.seconds_since(&before))),
        load,
        notes: Vec::new(),
        problems: Vec::new(),
    };
    let warm = warm.unwrap_or(before);
    for server in watch.between(&warm, &after, 1) {
        let (early, late) = (server.rss_before_bytes, server.rss_after_bytes);
        let grown = 100.0 * (late as f64 - early as f64) / early.max(1) as f64;
        figures.notes.push(format!("{}: RSS changed by {grown:+.1} % after the first tenth of the time", server.name));
    }
    figures.judge(true, logins.trouble.as_deref().or(report.trouble.as_deref()));
    Ok(figures)
}

impl<'a> Soak<'a> {
    fn start(plan: &'a Plan, mix: Mix) -> Result<(Self, Logins)> {
        let some = if mix.cuts == 0 { 0 } else { plan.connections * mix.cut_percent / 100 };
        let group = plan.tgid(0)?;
        let stable = plan.connections - some;
        let work = Work { ack: true, join: vec![group.to_string()], ..plan.work(stable) };
        let mut clients = Clients::start(plan.role, &work, plan.clients)?;
        let mut logins = clients.logged_in()?;
        let members = logins.connected;
        if members < stable as u64 {
            return Err(
                format!("only {members} of {stable} could connect: {}", logins.trouble.unwrap_or_default()).into()
            );
        }
        let cut = match some {
            0 => None,
            some => {
                let work = Work { ack: true, first: stable, ..plan.work(some) };
                let mut clients = Clients::start(plan.role, &work, 1)?;
                logins = logins.and(clients.logged_in()?);
                Some(clients)
            }
        };
        let users = plan.users(logins.connected)?;
        let soak =
            Self { plan, stable: clients, cut, users, group, members, sources: Vec::new(), sent: 0, expected: 0 };
        Ok((soak, logins))
    }

    fn clients(&mut self) -> impl Iterator<Item = &mut Clients> {
        [&mut self.stable].into_iter().chain(&mut self.cut)
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.stable.pids().chain(self.cut.iter().flat_map(Clients::pids))
    }

    fn begin(&mut self) -> Result<()> {
        self.clients().try_for_each(Clients::begin)
    }

    /// The schedules begin now.
    fn set_out(&mut self, mix: Mix) {
        let stable = usize::try_from(self.members).unwrap_or(usize::MAX);
        let rates = [(LIVE, mix.unicast, stable), (GROUP, mix.group, 1), (DURABLE, mix.durable, self.users.len())];
        let source = |(series, rate, users): (u64, u64, usize)| Source {
            series,
            schedule: Schedule::new(rate),
            draw: Draw::new(0, users),
            number: 0,
        };
        self.sources = rates.into_iter().filter(|(_, rate, _)| *rate > 0).map(source).collect();
    }

    /// Whose messages are due next, if that is before the end.
    fn upcoming(&self, end: u64) -> Option<usize> {
        let first = self.sources.iter().enumerate().min_by_key(|(_, source)| source.schedule.upcoming())?;
        (first.1.schedule.upcoming() <= end).then_some(first.0)
    }

    /// Waits for them and makes them.
    fn batch(&mut self, source: usize) -> Result<Vec<Entry>> {
        let Some(source) = self.sources.get_mut(source) else { return Ok(Vec::new()) };
        let batch = source.schedule.wait(u64::MAX);
        let entries = (0..batch.count).map(|_| {
            let (user, number) = source.draw.draw();
            source.number += 1;
            let user = || self.users.get(user).cloned().map(To::User).ok_or("no such user");
            let (to, number) =
                if source.series == GROUP { (To::Group(self.group.clone()), source.number) } else { (user()?, number) };
            let data = message::payload(batch.due, message::numbered(source.series, number), self.plan.payload);
            let class = if source.series == DURABLE { Class::Durable } else { Class::Live };
            Ok(Entry { class, ..Entry::new(to, data) })
        });
        let entries = entries.collect::<Result<Vec<_>>>()?;
        self.sent += batch.count;
        self.expected += batch.count * if source.series == GROUP { self.members } else { 1 };
        Ok(entries)
    }

    fn lateness(&self) -> Histogram {
        self.sources.iter().fold(Histogram::default(), |mut all, source| {
            all.add(source.schedule.lateness());
            all
        })
    }

    fn line(&mut self, seconds: u64, reading: &Reading) -> Result<String> {
        let mut arrived = 0;
        for clients in self.clients() {
            arrived += clients.count()?.arrived;
        }
        let rss = reading.rss() as f64 / 1_048_576.0;
        Ok(format!("{seconds} s: {arrived} of {} deliveries, RSS {rss:.1} MiB", self.expected))
    }

    /// Waits until everybody is back and everything has arrived.
    fn end(&mut self) -> Result<Report> {
        let (grace, all) = (self.plan.grace, self.users.len() as u64 - self.members);
        if let Some(cut) = &mut self.cut {
            cut.spare(all, grace)?;
        }
        let deadline = clock::deadline(grace);
        let mut arrived = 0;
        while arrived < self.expected && clock::now() < deadline {
            clock::sleep(Duration::from_millis(20));
            arrived = 0;
            for clients in self.clients() {
                arrived += clients.count()?.arrived;
            }
        }
        clock::sleep(Duration::from_millis(200));
        let mut report = Report::default();
        for clients in self.clients() {
            report = report.and(clients.end()?);
        }
        Ok(report)
    }
}
