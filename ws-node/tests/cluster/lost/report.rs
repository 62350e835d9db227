//! What people read of many runs: a table of runs, and one of faults.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::schedule::Fault;
use super::verdict::{Verdict, median_and_worst};

/// Both tables, as docs/faults.md has them.
pub(crate) fn tables(runs: &[(u64, Verdict)]) -> String {
    let mut text = String::from(
        "| seed | faults | durable accepted | seen | lost | twice | out of order | two owners | ghosts | connections |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut all: BTreeMap<Fault, Vec<u64>> = BTreeMap::new();
    for (seed, run) in runs {
        let faults: usize = run.recovered.values().map(Vec::len).sum();
        let broken = [&run.lost, &run.twice, &run.out_of_order, &run.two_owners, &run.ghosts].map(Vec::len);
        let [lost, twice, order, owners, ghosts] = broken;
        let Verdict { durable, seen, connections, .. } = run;
        let row = format!(
            "| {seed} | {faults} | {durable} | {seen} | {lost} | {twice} | {order} | {owners} | {ghosts} | {connections} |"
        );
        let _ = writeln!(text, "{row}");
        for (fault, waits) in &run.recovered {
            all.entry(*fault).or_default().extend(waits);
        }
    }
    text += "\n| fault | times | reached again, median | worst |\n|---|---|---|---|\n";
    for (fault, waits) in all {
        let (median, worst) = median_and_worst(&waits);
        let times = waits.len();
        let _ = writeln!(text, "| {} | {times} | {:.1} s | {:.1} s |", fault.name(), secs(median), secs(worst));
    }
    text
}

fn secs(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
