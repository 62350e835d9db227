//! One line per turn of the queue, then what Redis was asked in each.

use super::{commands, verdict};
use crate::stream::{Stream, TARGET, Turn};
use crate::turn::Outcome;

/// One line, as it comes. The heading stands above the first.
pub(crate) fn turn(is_first: bool, turn: &Turn) {
    if is_first {
        println!("\nstream     mode redis, one lane: {} entries for single users, a thousand at a time", turn.entries);
        println!("           settled/s: by the time from the first entry to when none was unread or pending");
        println!("           us per entry: CPU time of each process; others: seconds");
        println!(
            "\n  {:>9} {:>9} {:>11} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7}",
            "producer",
            "connected",
            "enqueued/s",
            "settled/s",
            "node us",
            "user us",
            "redis us",
            "prod. us",
            "commands",
            "others"
        );
    }
    println!(
        "  {:>9} {:>9} {:>11.0} {:>10.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.3} {:>7.2}",
        turn.producer.name(),
        turn.connected,
        turn.enqueued_per_second(),
        turn.settled_per_second(),
        turn.micros(turn.spent.server.total),
        turn.micros(turn.spent.server.user),
        turn.micros(turn.spent.redis),
        turn.micros(turn.spent.conductor),
        turn.commands.total() as f64 / turn.entries as f64,
        turn.spent.others
    );
}

pub(crate) fn stream(found: &Stream) {
    let met = found.turns.iter().filter(|turn| turn.met()).count();
    println!(
        "\n           settled per second in each turn                  target >= {TARGET:.0}  {} ({met} of {})",
        verdict(met == found.turns.len()),
        found.turns.len()
    );
    println!("           redis {}", found.redis_version);
    for turn in &found.turns {
        println!("\n           {}, {} connected", turn.producer.name(), turn.connected);
        if let Some(Outcome { lost, repeated, out_of_order }) = turn.outcome {
            println!("           deliveries: {lost} lost, {repeated} repeated, {out_of_order} out of order");
        }
        commands(&turn.commands, turn.entries, "entry");
    }
}
