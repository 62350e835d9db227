//! The whole table: each figure beside its target, with what disturbed it, as text and as a page.
//!
//! Owns the rows and what they say. A figure without a target is stated beside those that have one.

use std::fmt;
use std::process::Command;

use gim_proxy_sdk::bench::figures::Figures;
use serde_json::{Value, json};

use crate::args::Settings;
use crate::burst::{self, Burst};
use crate::durable::{Durable, To};
use crate::fanout::{self, Fanout};
use crate::idle::{Idle, TARGET_BYTES, TARGET_LOGIN};
use crate::machine::Machine;
use crate::report::verdict;
use crate::stream::{self, Stream};
use crate::turn::{Outcome, Round, Turn, median};
use crate::unicast::{self, Unicast};

pub(crate) struct Row {
    what: String,
    found: f64,
    unit: &'static str,
    target: Option<Target>,
    /// What arrived of what was sent; a clean row says 1.
    arrived: Option<f64>,
    /// CPU seconds that other programs took meanwhile, of as many seconds.
    others: Option<(f64, f64)>,
}

#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    pub(crate) fn to_json(&self) -> Value {
        self.rows.iter().map(Row::to_json).collect()
    }

    /// A page of Markdown: the table, what it was measured on and with which settings.
    pub(crate) fn page(&self, machine: &Machine, settings: &Settings) -> String {
        let rows: Vec<String> = self.rows.iter().map(|row| format!("| {} |", row.cells().join(" | "))).collect();
        format!(
            "# Figures of one run\n\n| | figure | target | | arrived | others' CPU |\n|---|---|---|---|---|---|\n{}\n\n\
             - Machine: {} cores, {}, Linux {}, TCP {}, load average {} at the start\n\
             - Versions: gim {} ({}), {}, {}\n\
             - Settings: {}\n\
             - Others' CPU: what programs other than the bench took, as a share of one core\n",
            rows.join("\n"),
            machine.cores,
            machine.model,
            machine.kernel,
            machine.congestion,
            machine.load,
            env!("CARGO_PKG_VERSION"),
            machine.build,
            version("redis-server"),
            version("etcd"),
            settings.words()
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "table      {:<58} {:>16} {:>16} {:<7} {:>9} {:>7}",
            "", "figure", "target", "", "arrived", "others"
        )?;
        for row in &self.rows {
            let [what, found, target, verdict, arrived, others] = row.cells();
            writeln!(
                formatter,
                "           {what:<58} {found:>16} {target:>16} {verdict:<7} {arrived:>9} {others:>7}"
            )?;
        }
        Ok(())
    }
}

/// What a program says about its version, in one line.
fn version(program: &str) -> String {
    let said = Command::new(program).arg("--version").output();
    let text = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).map_or_else(|| format!("no {program}"), str::to_owned)
}

impl Row {
    fn new(what: impl Into<String>, found: f64, unit: &'static str) -> Self {
        Self { what: what.into(), found, unit, target: None, arrived: None, others: None }
    }

    const fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Adds up what arrived in these turns, and what others took.
    fn of<'a>(mut self, turns: impl Iterator<Item = &'a Turn> + Clone) -> Self {
        let expected: u64 = turns.clone().map(|turn| turn.expected).sum();
        let lost: u64 = turns.clone().map(|turn| turn.outcome.lost).sum();
        self.arrived = Some((expected - lost) as f64 / expected.max(1) as f64);
        self.others =
            Some((turns.clone().map(|turn| turn.spent.others).sum(), turns.map(|turn| turn.spent.wall).sum()));
        self
    }

    fn met(&self) -> Option<bool> {
        self.target.map(|target| match target {
            Target::AtLeast(bound) => self.found >= bound,
            Target::AtMost(bound) => self.found <= bound,
        })
    }

    fn cells(&self) -> [String; 6] {
        let dash = || "-".to_owned();
        [
            self.what.clone(),
            format!("{} {}", figure(self.found), self.unit).trim_end().to_owned(),
            self.target.map_or_else(dash, |target| match target {
                Target::AtLeast(bound) => format!(">= {}", figure(bound)),
                Target::AtMost(bound) => format!("<= {}", figure(bound)),
            }),
            self.met().map_or_else(String::new, |met| verdict(met).to_owned()),
            self.arrived.map_or_else(dash, |arrived| format!("{:.2} %", arrived * 100.0)),
            self.others.map_or_else(dash, |(cpu, wall)| format!("{:.0} %", 100.0 * cpu / wall.max(f64::MIN_POSITIVE))),
        ]
    }

    fn to_json(&self) -> Value {
        let (others, wall) = self.others.unzip();
        let bound = self.target.map(|target| match target {
            Target::AtLeast(bound) | Target::AtMost(bound) => bound,
        });
        json!({
            "what": self.what, "figure": self.found, "unit": self.unit, "target": bound, "met": self.met(),
            "delivery_ratio": self.arrived, "others_cpu_seconds": others, "seconds": wall,
        })
    }
}

/// Large figures without a fraction, in groups of three digits; small ones with three digits behind the point.
fn figure(number: f64) -> String {
    if number.abs() < 10.0 {
        return format!("{number:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if number.abs() < 1_000.0 {
        return format!("{number:.1}").trim_end_matches(".0").to_owned();
    }
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
}

pub(crate) fn idle(found: &Idle) -> Vec<Row> {
    let mode = format!("{:?}", found.mode).to_lowercase();
    let rss = format!("idle connection, mode {mode}: RSS at {} connections", found.connected);
    let mut rows = vec![Row::new(rss, found.rss_per_connection(), "B").target(Target::AtMost(TARGET_BYTES))];
    if let Some(bytes) = found.rss_after_traffic() {
        rows.push(Row::new("  the same after unicast and a burst", bytes, "B").target(Target::AtMost(TARGET_BYTES)));
    }
    let login = Row::new("login, accept to joined: CPU of the node", found.storms.node(), "us");
    rows.push(Row {
        others: Some((found.took.spent.others, found.took.spent.wall)),
        ..login.target(Target::AtMost(TARGET_LOGIN))
    });
    rows.push(Row::new("  a floor: accept and 101 only", found.storms.floor(), "us"));
    if found.redis.is_some() {
        rows.push(Row::new("  CPU of Redis", found.storms.redis(), "us"));
    }
    rows
}

pub(crate) fn soak(found: &Figures, settings: &Settings) -> Vec<Row> {
    const MIB: f64 = 1_048_576.0;
    let Some(turn) = &found.turn else { return Vec::new() };
    let what = format!("soak, {} connections, {} s: deliveries", found.logins.connected, settings.soak_seconds);
    let rate = Row {
        arrived: Some(turn.delivery_ratio),
        others: Some((found.others_cpu_seconds, turn.seconds)),
        ..Row::new(what, turn.deliveries_per_second, "/s")
    };
    let mut rows = vec![rate, Row::new("  p99", turn.latency.p99_us as f64 / 1e3, "ms")];
    for (server, process) in found.servers.iter().zip(["node", "Redis"]) {
        let rss = |bytes: u64| bytes as f64 / MIB;
        rows.push(Row::new(
            format!("  RSS of the {process}, everybody connected"),
            rss(server.rss_before_bytes),
            "MiB",
        ));
        rows.push(Row::new(format!("  RSS of the {process}, at the end"), rss(server.rss_after_bytes), "MiB"));
    }
    rows
}

pub(crate) fn fanout(found: &Fanout) -> Vec<Row> {
    let (rounds, target) = (&found.rounds, Target::AtLeast(fanout::TARGET));
    let nodes = || rounds.iter().map(|round| &round.node);
    vec![
        Row::new("fan-out, paced: deliveries per CPU-s, of the floor", median(rounds, Round::ratio), "")
            .target(target)
            .of(nodes()),
        Row::new("  p99, of the floor's", median(rounds, Round::p99_ratio), "")
            .target(Target::AtMost(fanout::TARGET_P99)),
        Row::new("  node", median(rounds, |round| round.node.per_cpu_second()), "/CPU-s"),
        Row::new("  floor", median(rounds, |round| round.floor.per_cpu_second()), "/CPU-s")
            .of(rounds.iter().map(|round| &round.floor)),
    ]
}

pub(crate) fn burst(found: &Burst) -> Vec<Row> {
    let what = format!("burst of {} to {} groups of the same members", found.messages, found.groups);
    let row = Row::new(what, found.per_cpu_second(), "/CPU-s").target(Target::AtLeast(burst::TARGET));
    vec![row.of(found.turns.iter())]
}

pub(crate) fn unicast(found: &Unicast) -> Vec<Row> {
    let rounds = &found.rounds;
    let nodes = || rounds.iter().map(|round| &round.node);
    let apart = &found.apart;
    let row = |what: &str, found: f64, unit| Row::new(what, found, unit);
    vec![
        row("unicast, worker inside: deliveries per CPU-s, of the floor", found.ratio(), "")
            .target(Target::AtLeast(unicast::TARGET))
            .of(nodes()),
        row("  alone: p50, XADD to socket", found.p50_us() / 1e3, "ms")
            .target(Target::AtMost(unicast::TARGET_P50_US / 1e3))
            .of(found.alone.iter()),
        row("  alone: p99, XADD to socket", found.p99_us() / 1e3, "ms")
            .target(Target::AtMost(unicast::TARGET_P99_US / 1e3))
            .of(found.alone.iter()),
        row("  node", median(rounds, |round| round.node.per_cpu_second()), "/CPU-s"),
        row("  floor", median(rounds, |round| round.floor.per_cpu_second()), "/CPU-s")
            .of(rounds.iter().map(|round| &round.floor)),
        row("  worker apart, mode cluster: node and worker", apart.per_cpu_second(), "/CPU-s").of([apart].into_iter()),
        row("    p50", apart.p50_us as f64 / 1e3, "ms"),
        row("    p99", apart.p99_us as f64 / 1e3, "ms"),
    ]
}

pub(crate) fn stream(found: &Stream) -> Vec<Row> {
    let row = |turn: &stream::Turn| {
        let who = if turn.connected > 0 { "connected" } else { "away" };
        let what = format!("queue: enqueued and settled, {}, users {who}", turn.producer.name());
        let Outcome { lost, .. } = turn.outcome.unwrap_or_default();
        Row {
            target: Some(Target::AtLeast(stream::TARGET)),
            arrived: turn.outcome.map(|_| 1.0 - lost as f64 / turn.entries.max(1) as f64),
            others: Some((turn.spent.others, turn.spent.wall)),
            ..Row::new(what, turn.settled_per_second(), "/s")
        }
    };
    found.turns.iter().map(row).collect()
}

pub(crate) fn durable(found: &Durable) -> Vec<Row> {
    let to_users = found.turns.iter().filter(|measured| measured.to == To::Users);
    let rows = to_users.flat_map(|measured| {
        let turn = &measured.turn;
        let what = format!("to users who acknowledge, {}, worker inside", measured.class.name());
        [
            Row::new(what, turn.per_cpu_second(), "/CPU-s").of([turn].into_iter()),
            Row::new("  p50", turn.p50_us as f64 / 1e3, "ms"),
            Row::new("  p99", turn.p99_us as f64 / 1e3, "ms"),
        ]
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_as_many_digits_as_they_need() {
        for (number, text) in [
            (0.9531, "0.953"),
            (2.0, "2"),
            (29.04, "29"),
            (33.36, "33.4"),
            (2_048.4, "2,048"),
            (16_129_032.2, "16,129,032"),
        ] {
            assert_eq!(figure(number), text);
        }
    }

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let row = |found, target| Row::new("x", found, "us").target(target).cells();
        assert_eq!(row(41.0, Target::AtMost(40.0))[1..4], ["41 us", "<= 40", "missed"]);
        assert_eq!(row(0.9, Target::AtLeast(0.9))[1..4], ["0.9 us", ">= 0.9", "met"]);
        assert_eq!(Row::new("x", 1.0, "").cells()[2..], ["-", "", "-", "-"]);
    }
}
