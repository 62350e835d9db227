//! Two looks side by side: what is there, and what has changed in between.
//!
//! Owns the rates. There are none for a node seen the first time or in another run.

use std::time::Duration;

use serde_json::{Value, json};

use super::Look;
use crate::cli::figures::{Figures, NodeFigures};
use crate::cli::table::{Table, printable, show_bytes};
use crate::cli::time;

const HEAD: [&str; 9] =
    ["NAME", "PHASE", "SESSIONS", "CHANGE/S", "GROUPS", "OFFERED/S", "CPU %", "RSS", "BYTES/CONNECTION"];

/// See the module.
pub(super) struct Change<'a> {
    figures: &'a Figures,
    rows: Vec<Row<'a>>,
}

/// A node, and what has changed of it in a second.
struct Row<'a> {
    node: &'a NodeFigures,
    sessions: Option<f64>,
    offered: Option<f64>,
}

impl<'a> Change<'a> {
    pub(super) fn between(last: Option<&'a Look>, now: &'a Look) -> Self {
        let passed = last.map_or(Duration::ZERO, |last| now.at.saturating_duration_since(last.at));
        let row = |node: &'a NodeFigures| {
            let before = last.and_then(|last| same_run(&last.figures, node));
            let rate = |figure: fn(&NodeFigures) -> Option<u64>| {
                before.and_then(|before| per_second(figure(before)?, figure(node)?, passed))
            };
            Row { node, sessions: rate(|node| node.sessions), offered: rate(|node| node.offered) }
        };
        Self { figures: &now.figures, rows: now.figures.nodes.iter().map(row).collect() }
    }

    /// One line about all of them.
    pub(super) fn headline(&self, now_ms: u64) -> String {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let sessions: u64 = self.rows.iter().filter_map(|row| row.node.sessions).sum();
        let mut parts = vec![time::show_time(now_ms), count(self.rows.len(), "node")];
        if !self.figures.unreachable.is_empty() {
            parts.push(format!("{} unreachable", self.figures.unreachable.len()));
        }
        parts.push(format!("{sessions} sessions"));
        parts.push(format!("queue: {} waiting, {} dead", self.figures.backlog, self.figures.dead));
        parts.extend(self.figures.dependencies.iter().map(|(name, state)| format!("{name} {state}")));
        printable(&parts.join("  "))
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&HEAD);
        let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
        let count = |value: Option<u64>| value.map_or_else(none, |value| value.to_string());
        for Row { node, sessions, offered } in &self.rows {
            table.row([
                text(&node.name),
                text(&node.phase),
                count(node.sessions),
                sessions.map_or_else(none, |rate| format!("{:+.0}", rate + 0.0)),
                count(node.groups),
                offered.map_or_else(none, |rate| format!("{rate:.0}")),
                node.cpu_percent.map_or_else(none, |percent| format!("{percent:.1}")),
                node.rss_bytes.map_or_else(none, show_bytes),
                count(node.bytes_per_connection),
            ]);
        }
        for name in &self.figures.unreachable {
            let rest = ["unreachable", "-", "-", "-", "-", "-", "-", "-"].map(str::to_owned);
            table.row(std::iter::once(name.clone()).chain(rest));
        }
        table
    }

    /// The same for programs.
    pub(super) fn to_json(&self, now_ms: u64) -> Value {
        let node = |row: &Row<'_>| {
            let mut node = json!(row.node);
            node["sessions_per_second"] = json!(row.sessions);
            node["offered_per_second"] = json!(row.offered);
            node
        };
        let dependencies: serde_json::Map<String, Value> =
            self.figures.dependencies.iter().map(|(name, state)| (name.clone(), json!(state))).collect();
        json!({
            "at_ms": now_ms,
            "nodes": self.rows.iter().map(node).collect::<Vec<_>>(),
            "nodes_unreachable": self.figures.unreachable,
            "queue": { "waiting": self.figures.backlog, "dead": self.figures.dead },
            "dependencies": dependencies,
        })
    }
}

fn same_run<'a>(figures: &'a Figures, node: &NodeFigures) -> Option<&'a NodeFigures> {
    figures.nodes.iter().find(|before| before.name == node.name && before.incarnation == node.incarnation)
}

fn per_second(before: u64, now: u64, passed: Duration) -> Option<f64> {
    let seconds = passed.as_secs_f64();
    (seconds > 0.0).then(|| (now as f64 - before as f64) / seconds)
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests;
