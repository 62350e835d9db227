//! One line per turn of durable messages, then what Redis was asked in each.

use super::commands;
use crate::durable::{Durable, Measured};

/// One line, as it comes. The heading stands above the first.
pub(crate) fn turn(is_first: bool, measured: &Measured) {
    if is_first {
        println!("\ndurable    mode redis, worker inside; each client acknowledges what it gets");
        println!("           us: CPU time per delivery of each process; ms: from XADD to the client");
        println!(
            "\n  {:>5} {:<18} {:>10} {:>8} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "to", "class", "deliveries", "ratio", "per CPU-s", "node us", "redis us", "p50 ms", "p99 ms", "others"
        );
    }
    let turn = &measured.turn;
    let micros = |seconds: f64| seconds * 1e6 / turn.deliveries.max(1) as f64;
    println!(
        "  {:>5} {:<18} {:>10} {:>8.4} {:>11.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
        measured.to.name(),
        measured.class.name(),
        turn.deliveries,
        turn.ratio(),
        turn.per_cpu_second(),
        micros(turn.spent.server.total),
        micros(turn.spent.redis),
        turn.p50_us as f64 / 1e3,
        turn.p99_us as f64 / 1e3,
        turn.spent.others
    );
}

pub(crate) fn durable(found: &Durable) {
    for measured in &found.turns {
        let turn = &measured.turn;
        println!("\n           {}, {}", measured.to.name(), measured.class.name());
        let outcome = turn.outcome;
        println!(
            "           deliveries: {} lost, {} repeated, {} out of order",
            outcome.lost, outcome.repeated, outcome.out_of_order
        );
        if let Some(asked) = &turn.commands {
            commands(asked, turn.expected, "delivery");
        }
    }
}
