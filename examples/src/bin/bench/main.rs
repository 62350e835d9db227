//! The bench: what an idle connection costs a node, how far fan-out and unicast are from a floor, how fast the queue is,
//! what it costs to spread a group over nodes, and messages over masters of Redis.
//!
//! Load clients, pace and counting are those of `gim bench`, in `gim_proxy_sdk::bench`; starting servers, the floor, the
//! cores and the table with its targets are this program's.
//!
//! `make bench`, or `bench [idle|fanout|burst|unicast|stream|durable|spread|masters|soak|cluster|train|all] [--out FOLDER]` with the programs `ws-node` and
//! `msg-queue` built beside it.
//!
//! The program that you start only conducts. Server and load client are child processes, so that memory and CPU
//! time of the server are its own, and each is pinned to a core of its own. A Redis is on the load client's. Every
//! child ends with its parent, every wait has a deadline.
//!
//! The floor is what the machine can do at all: one thread, epoll, one `send()` of ready bytes per socket, no
//! runtime, no routing, no queue. Both servers send the same frame to the same load client in the same run, turn
//! by turn, because absolute figures move with the machine while their ratio moves much less.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod args;
mod burst;
mod cluster;
mod durable;
mod fanout;
mod floor;
mod idle;
mod load;
mod login;
mod machine;
mod masters;
mod node;
mod program;
mod redis;
mod relay;
mod report;
mod service;
mod soak;
mod sockets;
mod spread;
mod stream;
mod table;
mod train;
mod turn;
mod unicast;

use args::{Args, Mode, Settings, What};
use clap::Parser;
use gim_proxy_sdk::bench::{Result, child, client, clock, events, message, post, process, ws};
use machine::Cores;
use serde_json::{Value, json};
use table::{Row, Table};

fn main() -> Result<()> {
    let args = Args::parse();
    match args.what.unwrap_or(What::All) {
        What::ServeFloor(place) => floor::serve(&place),
        What::ServeRelay(place) => relay::serve(&place),
        What::Load(work) => client::run(&work),
        What::Train => train::train(&args.settings, machine::Machine::read(false).pinning()),
        what => conduct(&what, &args.settings),
    }
}

fn conduct(what: &What, settings: &Settings) -> Result<()> {
    settings.check()?;
    let open_files = process::raise_open_files()?;
    let machine = machine::Machine::read(settings.profiled);
    let cores = machine.pinning();
    // The conductor sends a little per tick and otherwise sleeps: it may share the client's core.
    process::pin(cores.client)?;
    report::heading(&machine, settings, open_files);
    let mut found = json!({ "machine": machine.to_json(), "settings": settings.to_json(open_files) });
    let mut table = Table::default();
    for (name, measure) in parts(what) {
        let measured = measure(settings, cores)?;
        found[name] = measured.json;
        table.add(measured.rows);
    }
    found["table"] = table.to_json();
    println!("\n{table}");
    if let Some(path) = &settings.json {
        std::fs::write(path, format!("{found:#}\n"))?;
    }
    if let Some(folder) = &settings.out {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("bench.json"), format!("{found:#}\n"))?;
        std::fs::write(folder.join("bench.md"), table.page(&machine, settings))?;
        println!("\nwritten to {} and bench.json beside it", folder.join("bench.md").display());
    }
    Ok(())
}

/// All there is to something that was measured, and what of it goes into the table.
struct Measured {
    json: Value,
    rows: Vec<Row>,
}

/// Measures something and tells it.
type Measure = fn(&Settings, Cores) -> Result<Measured>;

fn parts(what: &What) -> Vec<(&'static str, Measure)> {
    let all: [(&str, Measure); 8] = [
        ("idle", |settings, cores| idle(Mode::Local, settings, cores)),
        ("idle_redis", |settings, cores| idle(Mode::Redis, settings, cores)),
        ("fanout", fanout),
        ("burst", burst),
        ("unicast", unicast),
        ("stream", stream),
        ("durable", durable),
        ("spread", spread),
    ];
    let [local, redis, fanout, burst, unicast, stream, durable, spread] = all;
    match what {
        What::Idle(args::Idle { mode: Mode::Local }) => vec![local],
        What::Idle(args::Idle { mode: Mode::Redis }) => vec![redis],
        What::Fanout => vec![fanout],
        What::Burst => vec![burst],
        What::Unicast => vec![unicast],
        What::Stream => vec![stream],
        What::Durable => vec![durable],
        What::Spread => vec![spread],
        What::Masters => vec![("masters", masters)],
        // Ten minutes by itself.
        What::Soak => vec![("soak", soak)],
        // It takes 90,000 sockets twice: who wants that says so.
        What::Cluster => vec![("cluster", cluster)],
        // Without the last: it takes as long as half of the others together.
        _ => vec![local, redis, fanout, burst, unicast, stream, durable],
    }
}

fn idle(mode: Mode, settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = idle::measure(mode, settings, cores)?;
    report::idle(&found);
    Ok(Measured { json: found.to_json(), rows: table::idle(&found) })
}

fn fanout(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = fanout::measure(settings, cores, report::fanout_round)?;
    report::fanout(&found);
    Ok(Measured { json: found.to_json(), rows: table::fanout(&found) })
}

fn burst(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = burst::measure(settings, cores, report::burst_turn)?;
    report::burst(&found);
    Ok(Measured { json: found.to_json(), rows: table::burst(&found) })
}

fn unicast(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = unicast::measure(settings, cores, report::unicast_round)?;
    report::unicast(&found);
    Ok(Measured { json: found.to_json(), rows: table::unicast(&found) })
}

fn stream(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = stream::measure(settings, cores, report::stream_turn)?;
    report::stream(&found);
    Ok(Measured { json: found.to_json(), rows: table::stream(&found) })
}

fn durable(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = durable::measure(settings, cores, report::durable_turn)?;
    report::durable(&found);
    Ok(Measured { json: found.to_json(), rows: table::durable(&found) })
}

fn spread(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = spread::measure(settings, cores, report::spread_round)?;
    report::spread(&found);
    Ok(Measured { json: found.to_json(), rows: Vec::new() })
}

fn masters(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = masters::measure(settings, cores, |run| report::masters_run(run, settings))?;
    report::masters(&found, settings);
    Ok(Measured { json: found.to_json(), rows: Vec::new() })
}

fn soak(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = soak::measure(settings, cores)?;
    println!("{found}");
    Ok(Measured { json: serde_json::to_value(&found)?, rows: table::soak(&found, settings) })
}

fn cluster(settings: &Settings, cores: Cores) -> Result<Measured> {
    let found = cluster::measure(settings, cores, report::message)?;
    report::cluster(&found);
    Ok(Measured { json: found.to_json(), rows: Vec::new() })
}
