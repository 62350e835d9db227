//! Rounds of floor and node, and what their medians say about fan-out and unicast.

use super::{commands, verdict};
use crate::fanout::{self, Fanout};
use crate::turn::{Outcome, Round, Turn, median};
use crate::unicast::{self, Unicast};

/// One line per server of a round, as it comes. The heading stands above the first.
pub(crate) fn fanout_round(number: usize, round: &Round) {
    if number == 1 {
        println!(
            "\nfan-out    deliveries per second of server CPU; latency over all deliveries, from when a message was due"
        );
        println!("           node: POST /api/v1/messages, queue, worker, hub, socket; floor: epoll and send()");
        heading(round);
    }
    lines(number, round);
}

/// The same for unicast, and the turn of the node alone.
pub(crate) fn unicast_round(number: usize, round: &Round, alone: &Turn) {
    if number == 1 {
        println!(
            "\nunicast    mode redis: XADD, Redis, worker, hub, socket, of the program ws-node; floor: read a line, send()"
        );
        println!("           per CPU-s: of the node's or the floor's own CPU; latency from when the XADD was due");
        println!("           floor, node: a second each by turns; alone: the node when no other has connections open");
        heading(round);
    }
    lines(number, round);
    line("", "alone", alone, None);
}

fn heading(round: &Round) {
    println!(
        "           frame of both: {} bytes with header; members: floor {}, node {}",
        round.node.frame, round.floor.members, round.node.members
    );
    println!(
        "\n  {:>5} {:>6} {:>9} {:>9} {:>10} {:>7} {:>7} {:>7} {:>6} {:>6} {:>7} {:>7}",
        "round",
        "server",
        "per CPU-s",
        "of floor",
        "arrived",
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU s",
        "user s",
        "redis s",
        "others"
    );
}

fn lines(number: usize, round: &Round) {
    line(&number.to_string(), "floor", &round.floor, None);
    line("", "node", &round.node, Some(round.ratio()));
}

fn line(number: &str, server: &str, turn: &Turn, of_floor: Option<f64>) {
    let of_floor = of_floor.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
    let ms = |micros: u64| micros as f64 / 1_000.0;
    println!(
        "  {number:>5} {server:>6} {:>9.0} {of_floor:>9} {:>8.2} % {:>7.2} {:>7.2} {:>7.1} {:>6.2} {:>6.2} {:>7.2} {:>7.2}",
        turn.per_cpu_second(),
        turn.ratio() * 100.0,
        ms(turn.p50_us),
        ms(turn.p99_us),
        ms(turn.max_us),
        turn.spent.server.total,
        turn.spent.server.user,
        turn.spent.redis,
        turn.spent.others
    );
}

pub(crate) fn fanout(found: &Fanout) {
    let ratio = median(&found.rounds, Round::ratio);
    let latency = median(&found.rounds, Round::p99_ratio);
    println!(
        "\n           median of the ratios               {ratio:>9.3}         target >= {:.2}  {}",
        fanout::TARGET,
        verdict(ratio >= fanout::TARGET)
    );
    per_cpu_second(&found.rounds);
    println!(
        "           p99 as a multiple of the floor's   {latency:>9.2}         target <= {:.2}  {}",
        fanout::TARGET_P99,
        verdict(latency <= fanout::TARGET_P99)
    );
    outcome(both(&found.rounds));
}

pub(crate) fn unicast(found: &Unicast) {
    let (ratio, p50, p99) = (found.ratio(), found.p50_us(), found.p99_us());
    println!(
        "\n           median of the ratios               {ratio:>9.3}         target >= {:.2}  {}",
        unicast::TARGET,
        verdict(ratio >= unicast::TARGET)
    );
    per_cpu_second(&found.rounds);
    for (name, found, target) in [("p50", p50, unicast::TARGET_P50_US), ("p99", p99, unicast::TARGET_P99_US)] {
        println!(
            "           median {name} alone, XADD to client   {:>9.2} ms      target < {:.1}    {}",
            found / 1e3,
            target / 1e3,
            verdict(found < target)
        );
    }
    println!("           the same once, with the worker in a process of its own, mode cluster:");
    line("", "apart", &found.apart, None);
    outcome(both(&found.rounds).chain(&found.alone).chain([&found.apart]));
    if let Some(turn) = found.rounds.last().map(|round| &round.node) {
        turn.commands.iter().for_each(|asked| commands(asked, turn.expected, "message, last round"));
    }
}

fn per_cpu_second(rounds: &[Round]) {
    println!(
        "           median per CPU-s: floor {:.0}, node {:.0}",
        median(rounds, |round| round.floor.per_cpu_second()),
        median(rounds, |round| round.node.per_cpu_second())
    );
}

fn both(rounds: &[Round]) -> impl Iterator<Item = &Turn> + Clone {
    rounds.iter().flat_map(|round| [&round.floor, &round.node])
}

/// Says what was lost, repeated or overtaken, and what disturbed.
fn outcome<'a>(turns: impl Iterator<Item = &'a Turn> + Clone) {
    match turns.clone().filter(|turn| !turn.outcome.is_clean()).count() {
        0 => println!("           every message arrived at every member, once, in order, in every turn"),
        short => println!("           in {short} turns something was lost, repeated or overtaken:"),
    }
    for turn in turns.clone().filter(|turn| !turn.outcome.is_clean()) {
        let Outcome { lost, repeated, out_of_order } = turn.outcome;
        println!("             of {}: {lost} lost, {repeated} repeated, {out_of_order} out of order", turn.expected);
    }
    // Beside one core's worth of sending, even a little from others moves caches and clocks.
    match turns.filter(|turn| turn.spent.others > 0.25 * turn.spent.server.total).count() {
        0 => {}
        disturbed => {
            println!("           in {disturbed} turns other programs took CPU (column others, seconds): noisy");
        }
    }
}
