//! Lines of the parts that run a cluster.

use super::verdict;
use crate::cluster::{Cluster, Message};
use crate::process::Cpu;
use crate::service::Usage;
use crate::spread::{Over, Round, Spread, TARGET};
use crate::turn::{Outcome, Turn};

/// One line per server of a round, as it comes. The heading stands above the first.
pub(crate) fn spread_round(number: usize, round: &Round) {
    if number == 1 {
        println!(
            "\nspread     mode cluster: XADD, Redis, worker, a batch per node, hub, socket; all on one core but Redis"
        );
        println!(
            "           per CPU-s: of nodes and worker; floor: epoll and send(); latency from when the XADD was due"
        );
        println!("           batches: per message, as the nodes count them");
        println!(
            "\n  {:>5} {:>9} {:>9} {:>8} {:>10} {:>7} {:>7} {:>7} {:>7} {:>8} {:>7} {:>6} {:>7} {:>7}",
            "round",
            "server",
            "per CPU-s",
            "of floor",
            "arrived",
            "p50 ms",
            "p99 ms",
            "nodes s",
            "user s",
            "worker s",
            "redis s",
            "etcd s",
            "batches",
            "others"
        );
    }
    let floor = &round.floor;
    let Cpu { total, user } = floor.spent.server;
    println!(
        "{} {total:>7.2} {user:>7.2} {:>41.2}",
        start(&number.to_string(), "floor", floor, ""),
        floor.spent.others
    );
    over("one node", &round.one, round.of_floor(&round.one));
    over("two nodes", &round.two, round.of_floor(&round.two));
}

fn over(server: &str, over: &Over, of_floor: f64) {
    let (nodes, usage, messages) = (over.usage.all_nodes(), &over.usage, over.turn.expected / over.turn.members.max(1));
    println!(
        "{} {:>7.2} {:>7.2} {:>8.2} {:>7.2} {:>6.2} {:>7.2} {:>7.2}",
        start("", server, &over.turn, &format!("{of_floor:.3}")),
        nodes.total,
        nodes.user,
        usage.worker.total,
        usage.redis,
        usage.etcd,
        over.batches.done as f64 / messages.max(1) as f64,
        usage.others()
    );
}

fn start(number: &str, server: &str, turn: &Turn, of_floor: &str) -> String {
    format!(
        "  {number:>5} {server:>9} {:>9.0} {of_floor:>8} {:>8.2} % {:>7.2} {:>7.2}",
        turn.per_cpu_second(),
        turn.ratio() * 100.0,
        turn.p50_us as f64 / 1e3,
        turn.p99_us as f64 / 1e3
    )
}

pub(crate) fn spread(found: &Spread) {
    let ratio = found.median(Round::ratio);
    println!(
        "\n           two nodes of one, median           {ratio:>9.3}         target >= {TARGET:.2}  {}",
        verdict(ratio >= TARGET)
    );
    println!("             with Redis and etcd              {:>9.3}", found.median(Round::whole_ratio));
    println!(
        "           median per CPU-s: floor {:.0}, one node {:.0}, two nodes {:.0}",
        found.median(|round| round.floor.per_cpu_second()),
        found.median(|round| round.one.turn.per_cpu_second()),
        found.median(|round| round.two.turn.per_cpu_second())
    );
    let turns = || found.rounds.iter().flat_map(|round| [&round.floor, &round.one.turn, &round.two.turn]);
    match turns().filter(|turn| !turn.outcome.is_clean()).count() {
        0 => println!("           every message arrived at every member, once, in order, in every round"),
        short => println!("           in {short} turns something was lost, repeated or overtaken"),
    }
    match turns().filter(|turn| turn.spent.others > 0.25 * turn.spent.server.total).count() {
        0 => {}
        disturbed => {
            println!("           in {disturbed} turns other programs took CPU (column others, seconds): noisy");
        }
    }
}

/// One line per message, as it comes.
pub(crate) fn message(number: u64, message: &Message) {
    if number == 0 {
        println!("\ncluster    one group over all nodes, one message after the other: XADD until the sockets have it");
        println!("           CPU seconds until all is settled and 0.2 s more; message 0 does not count");
        println!(
            "\n  {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>6} {:>7} {:>7} {:>7}",
            "message",
            "p50 ms",
            "p99 ms",
            "last ms",
            "lost",
            "repeated",
            "nodes s",
            "worker s",
            "redis s",
            "etcd s",
            "batches",
            "others"
        );
    }
    let (Outcome { lost, repeated, .. }, usage) = (message.outcome, &message.usage);
    println!(
        "  {number:>7} {:>8.1} {:>8.1} {:>8.1} {lost:>8} {repeated:>8} {:>8.2} {:>8.2} {:>7.2} {:>6.2} {:>7} {:>7.2}",
        message.p50_ms,
        message.p99_ms,
        message.max_ms,
        usage.all_nodes().total,
        usage.worker.total,
        usage.redis,
        usage.etcd,
        message.batches.done,
        usage.others()
    );
}

pub(crate) fn cluster(found: &Cluster) {
    let nodes = found.memory.len();
    println!(
        "\n           {} of {} connections at {nodes} nodes, {} users claimed in Redis {}",
        found.connected, found.wanted, found.claimed, found.redis_version
    );
    for trouble in &found.trouble {
        println!("           measured with fewer than asked for: {trouble}");
    }
    let login = &found.login;
    let micros = |seconds: f64| seconds * 1e6 / found.connected.max(1) as f64;
    println!(
        "           logins per second, all at once     {:>9.0}         {:.1} s; others took {:.1} s",
        found.connected as f64 / login.wall,
        login.wall,
        login.others()
    );
    println!(
        "           CPU per login, with join           {:>9.1} us      of the node; Redis {:.1}, etcd {:.1}, worker {:.1}",
        micros(login.all_nodes().total),
        micros(login.redis),
        micros(login.etcd),
        micros(login.worker.total)
    );
    for (number, (before, after)) in found.memory.iter().enumerate() {
        let each = found.connected.max(1) as f64 / nodes as f64;
        println!(
            "           RSS of node {}                      {:>9.1} MiB     {:.0} bytes per connection",
            number + 1,
            after.rss as f64 / 1_048_576.0,
            after.rss.saturating_sub(before.rss) as f64 / each
        );
    }
    shares("idle, per second", &found.idle, found.idle.wall);
    if let Some(usage) = found.usage() {
        shares("per message", &usage, found.messages.len() as f64);
        println!(
            "           deliveries per CPU-second          {:>9.0}         of all processes of the service; of the nodes {:.0}",
            found.deliveries() as f64 / usage.whole(),
            found.deliveries() as f64 / usage.all_nodes().total
        );
    }
    println!(
        "           until the last socket has it       {:>9.1} ms      median; p50 {:.1}, p99 {:.1}, worst {:.1}",
        found.median(|message| message.max_ms),
        found.median(|message| message.p50_ms),
        found.median(|message| message.p99_ms),
        found.messages.iter().map(|message| message.max_ms).fold(0.0, f64::max)
    );
    match found.unclean() {
        0 => println!("           every message at every socket, once"),
        unclean => println!("           {unclean} messages were lost somewhere or came twice"),
    }
    match found.asked_again() {
        0 => println!("           one batch per node and message"),
        again => {
            println!("           {again} messages took other than one batch per node: an answer did not come in time");
        }
    }
}

fn shares(what: &str, usage: &Usage, by: f64) {
    println!(
        "           CPU {what:<31}{:>9.3} s       nodes {:.3}, worker {:.3}, Redis {:.3}, etcd {:.3}",
        usage.whole() / by,
        usage.all_nodes().total / by,
        usage.worker.total / by,
        usage.redis / by,
        usage.etcd / by
    );
}
