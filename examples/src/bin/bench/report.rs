//! The table. Says what was measured on what, and beside each figure whether its target was met.

mod burst;
mod cluster;
mod durable;
mod masters;
mod rounds;
mod stream;

use crate::args::{Mode, Settings};
use crate::idle::{Idle, TARGET_BYTES, TARGET_LOGIN};
use crate::machine::Machine;
use crate::redis::{Calls, Commands};

pub(crate) use self::burst::{burst, turn as burst_turn};
pub(crate) use self::cluster::{cluster, message, spread, spread_round};
pub(crate) use self::durable::{durable, turn as durable_turn};
pub(crate) use self::masters::{masters, run as masters_run};
pub(crate) use self::rounds::{fanout, fanout_round, unicast, unicast_round};
pub(crate) use self::stream::{stream, turn as stream_turn};

pub(crate) fn heading(machine: &Machine, settings: &Settings, open_files: u64) {
    println!("machine    {} cores, {}, Linux {}", machine.cores, machine.model, machine.kernel);
    println!("           tcp {}, load average {} at the start", machine.congestion, machine.load);
    println!("build      gim {}, {}", env!("CARGO_PKG_VERSION"), machine.build);
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
    println!(
        "           unicast to {} users, {} messages/s for {} s; stream of {} entries; append-only file: {}",
        settings.members, settings.unicast_rate, settings.seconds, settings.entries, settings.appendonly
    );
    println!(
        "           cluster of {} nodes with {} connections each, {} messages",
        settings.nodes, settings.each, settings.group_messages
    );
    println!("           {} bytes of payload, open-file limit {open_files}", settings.payload);
}

pub(crate) fn idle(found: &Idle) {
    let node = match found.mode {
        Mode::Local => "mode local",
        Mode::Redis => "mode redis",
    };
    println!(
        "\nidle       {node}; RSS from /proc/<pid>/smaps_rollup of the server, growth since before the first connection"
    );
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
    if let Some(bytes) = found.rss_after_traffic() {
        println!(
            "           after unicast and a burst          {bytes:>9.0} bytes   target <= {TARGET_BYTES:.0}  {}",
            verdict(bytes <= TARGET_BYTES)
        );
    }
    println!("             of it heap and stacks            {:>9.0} bytes", found.anonymous_per_connection());
    println!(
        "           server CPU per login, with join    {:>9.1} us      target <= {TARGET_LOGIN:.0}    {}",
        found.storms.node(),
        verdict(found.storms.node() <= TARGET_LOGIN)
    );
    println!("             a floor: accept and 101 only     {:>9.1} us", found.storms.floor());
    let each: Vec<_> = found.storms.each().map(|storm| format!("{:.0} ({:.0})", storm.node, storm.floor)).collect();
    println!("             node (floor), storm by storm     {}", each.join(", "));
    println!("             meanwhile others took            {:>9.2} s", found.took.spent.others);
    if let Some(redis) = &found.redis {
        println!("           redis CPU per login, with join     {:>9.1} us", found.storms.redis());
        println!(
            "           redis memory per connection        {:>9.0} bytes, {} users claimed there",
            found.redis_bytes(redis),
            redis.claimed
        );
        commands(&redis.commands, found.connected, "login");
    }
}

/// What Redis was asked, by command.
fn commands(asked: &Commands, messages: u64, each: &str) {
    let per = |calls: u64| calls as f64 / messages.max(1) as f64;
    println!("           redis commands per {each}: {:.3}, those called by scripts included", per(asked.total()));
    for (name, Calls { calls, micros }) in asked.ranked() {
        println!(
            "             {name:<24} {calls:>9} {:>9.4} {:>9.1} us each",
            per(calls),
            micros as f64 / calls as f64
        );
    }
}

pub(crate) const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}
