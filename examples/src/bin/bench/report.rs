//! The table. Says what was measured on what, and beside each figure whether its target was met.

use crate::args::Settings;
use crate::fanout::{Fanout, Round, TARGET, TARGET_P99, Turn};
use crate::idle::{Idle, TARGET_BYTES, TARGET_LOGIN};
use crate::machine::{Machine, build};

pub(crate) fn heading(machine: &Machine, settings: &Settings, open_files: u64) {
    println!("machine    {} cores, {}, Linux {}", machine.cores, machine.model, machine.kernel);
    println!("           tcp {}, load average {} at the start", machine.congestion, machine.load);
    println!("build      gim {}, {}", env!("CARGO_PKG_VERSION"), build());
    if cfg!(debug_assertions) {
        println!("           a debug build: these figures say nothing, use --release");
    }
    match machine.pinning().server {
        Some(core) => println!("cores      server on core {core}, load client and conductor on core {}", core + 1),
        None => println!("cores      one core only: nothing is pinned, server and client disturb each other"),
    }
    println!(
        "settings   {} idle connections; fan-out to {} members, {} messages/s for {} s, {} rounds",
        settings.connections, settings.members, settings.rate, settings.seconds, settings.rounds
    );
    println!("           {} bytes of payload, open-file limit {open_files}", settings.payload);
}

pub(crate) fn idle(found: &Idle) {
    println!("\nidle       RSS from /proc/<pid>/smaps_rollup of the server, growth since before the first connection");
    println!(
        "           {} of {} connections, uid claimed, one group joined; the node counts {}",
        found.connected, found.wanted, found.counted
    );
    if let Some(trouble) = &found.trouble {
        println!("           measured with fewer than asked for: {trouble}");
    }
    println!("           before the first connection        {:>9.0} kB", found.rss_before() as f64 / 1_024.0);
    println!(
        "           per connection                     {:>9.0} bytes   target <= {TARGET_BYTES:.0}  {}",
        found.rss_per_connection(),
        verdict(found.rss_per_connection() <= TARGET_BYTES)
    );
    println!("             of it heap and stacks            {:>9.0} bytes", found.anonymous_per_connection());
    println!(
        "           server CPU per login, with join    {:>9.1} us      target <= {TARGET_LOGIN:.0}    {}",
        found.login_micros(),
        verdict(found.login_micros() <= TARGET_LOGIN)
    );
}

/// One line per round, as it comes. The heading stands above the first.
pub(crate) fn round(number: usize, round: &Round) {
    if number == 1 {
        println!(
            "\nfan-out    deliveries per second of server CPU; latency over all deliveries, from when a message was due"
        );
        println!("           node: POST /api/v1/messages, queue, worker, hub, socket; floor: epoll and send()");
        println!(
            "           frame of both: {} bytes with header; members: floor {}, node {}",
            round.node.frame, round.floor.members, round.node.members
        );
        println!(
            "\n  {:>5} {:>6} {:>9} {:>9} {:>10} {:>7} {:>7} {:>7} {:>6} {:>6} {:>7}",
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
            "others"
        );
    }
    line(&number.to_string(), "floor", &round.floor, None);
    line("", "node", &round.node, Some(round.ratio()));
}

fn line(number: &str, server: &str, turn: &Turn, of_floor: Option<f64>) {
    let of_floor = of_floor.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
    let ms = |micros: u64| micros as f64 / 1_000.0;
    println!(
        "  {number:>5} {server:>6} {:>9.0} {of_floor:>9} {:>8.2} % {:>7.1} {:>7.1} {:>7.1} {:>6.2} {:>6.2} {:>7.2}",
        turn.per_cpu_second(),
        turn.ratio() * 100.0,
        ms(turn.p50_us),
        ms(turn.p99_us),
        ms(turn.max_us),
        turn.cpu_seconds,
        turn.user_seconds,
        turn.others_seconds
    );
}

pub(crate) fn fanout(found: &Fanout) {
    let ratio = found.median(Round::ratio);
    let latency = found.median(Round::p99_ratio);
    println!(
        "\n           median of the ratios               {ratio:>9.3}         target >= {TARGET:.2}  {}",
        verdict(ratio >= TARGET)
    );
    println!(
        "           median per CPU-s: floor {:.0}, node {:.0}",
        found.median(|round| round.floor.per_cpu_second()),
        found.median(|round| round.node.per_cpu_second())
    );
    println!(
        "           p99 as a multiple of the floor's   {latency:>9.2}         target <= {TARGET_P99:.2}  {}",
        verdict(latency <= TARGET_P99)
    );
    let turns = || found.rounds.iter().flat_map(|round| [&round.floor, &round.node]);
    match turns().filter(|turn| turn.ratio() < 1.0).count() {
        0 => println!("           every message arrived at every member, in every round"),
        short => println!("           in {short} turns not everything arrived: read those rates with care"),
    }
    // Beside one core's worth of sending, even a little from others moves caches and clocks.
    match turns().filter(|turn| turn.others_seconds > 0.25 * turn.cpu_seconds).count() {
        0 => {}
        disturbed => {
            println!("           in {disturbed} turns other programs took CPU (column others, seconds): noisy");
        }
    }
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}
