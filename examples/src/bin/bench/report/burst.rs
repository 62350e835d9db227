//! One line per burst, then the median.

use super::verdict;
use crate::burst::{Burst, ROOM, TARGET};
use crate::turn::{Outcome, Turn};

/// One line, as it comes. The heading stands above the first.
pub(crate) fn turn(number: usize, turn: &Turn) {
    if number == 1 {
        println!(
            "\nburst      mode redis, worker inside: messages that wait on the queue, to groups of the same members by turns"
        );
        println!(
            "           per CPU-s: of the node's own CPU; latency from when all were put on the queue; {}",
            ROOM.join(", ")
        );
        println!(
            "           frame: {} bytes with header, one per message; {} members, {} deliveries",
            turn.frame, turn.members, turn.expected
        );
        println!(
            "\n  {:>5} {:>10} {:>9} {:>8} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7}",
            "round",
            "per CPU-s",
            "arrived",
            "p50 ms",
            "p99 ms",
            "max ms",
            "CPU s",
            "user s",
            "redis s",
            "wall s",
            "others"
        );
    }
    let ms = |micros: u64| micros as f64 / 1_000.0;
    println!(
        "  {number:>5} {:>10.0} {:>7.2} % {:>8.0} {:>8.0} {:>8.0} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>7.2}",
        turn.per_cpu_second(),
        turn.ratio() * 100.0,
        ms(turn.p50_us),
        ms(turn.p99_us),
        ms(turn.max_us),
        turn.spent.server.total,
        turn.spent.server.user,
        turn.spent.redis,
        turn.spent.wall,
        turn.spent.others
    );
}

pub(crate) fn burst(found: &Burst) {
    println!(
        "\n           {} messages to {} groups, median per CPU-s {:>9.0}   target >= {TARGET:.0}  {}",
        found.messages,
        found.groups,
        found.per_cpu_second(),
        verdict(found.per_cpu_second() >= TARGET)
    );
    match found.turns.iter().filter(|turn| !turn.outcome.is_clean()).count() {
        0 => println!("           every message arrived at every member, once, in order, in every round"),
        short => println!("           in {short} turns something was lost, repeated or overtaken:"),
    }
    for turn in found.turns.iter().filter(|turn| !turn.outcome.is_clean()) {
        let Outcome { lost, repeated, out_of_order } = turn.outcome;
        println!("             of {}: {lost} lost, {repeated} repeated, {out_of_order} out of order", turn.expected);
    }
}
