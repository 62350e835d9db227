//! Training: what programs that count what they run are told to do, before they are built again with what they counted.
//!
//! The loads of `gim bench`, at rates that a counting program keeps up with: all of them in mode `redis`, the plain ones in modes
//! `local` and `cluster`. What no load asks for (compression, tokens, TLS) is compiled as what seldom runs. Nothing here is a
//! measurement. A program writes what it counted as it ends by itself, so each is told to end, and waited for.

use gim_proxy_sdk::bench::feed::Class;
use gim_proxy_sdk::bench::figures::Figures;
use gim_proxy_sdk::bench::run::{Kind, Mix, Plan, Way, run};

use crate::args::Settings;
use crate::machine::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::service::Service;
use crate::{Result, load, process};

/// Logins are what a node has most code for, and run little of it often: they would weigh nothing beside deliveries if they
/// were few.
const LOGINS: Kind = Kind::Login { rounds: 4 };
const FANOUT: Kind = Kind::Fanout { rate: 10 };
const BURST: Kind = Kind::Burst { messages: 400, groups: 2 };
/// Connections break and come back, which only durable messages outlive.
const MIX: Kind = Kind::Soak(Mix { unicast: 1_000, group: 1, durable: 200, cuts: 10, cut_percent: 10 });
/// Who logs in and is sent to. Each is a member of the group.
const CONNECTIONS: usize = 5_000;
/// Seconds that each load sends for.
const SECONDS: u64 = 4;

pub(crate) fn train(settings: &Settings, cores: Cores) -> Result<()> {
    settings.check()?;
    // What is started inherits both.
    process::raise_open_files()?;
    process::pin(cores.client)?;
    println!("\ntraining   mode redis, worker inside");
    let redis = Redis::start(settings)?;
    let node = Node::on(&redis, cores)?;
    let loads = [
        LOGINS,
        unicast(10_000, Class::Live),
        // So few that each is read by itself.
        unicast(1_000, Class::Live),
        FANOUT,
        BURST,
        unicast(1_000, Class::Durable),
        unicast(500, Class::DurableWithReceipt),
        MIX,
    ];
    give(&loads, &node.public, redis.way(), settings, cores)?;
    node.end()?;

    println!("\ntraining   mode local, messages by HTTP");
    let node = Node::local(cores)?;
    let way = Way::Http { addresses: vec![format!("http://{}", node.admin).parse()?], token: None };
    let loads = [LOGINS, FANOUT, unicast(2_000, Class::Live), unicast(200, Class::Durable)];
    give(&loads, &node.public, way, settings, cores)?;
    node.end()?;

    println!("\ntraining   mode cluster, two nodes and a worker");
    let service = Service::start(2, settings, cores)?;
    let loads = [LOGINS, FANOUT, unicast(4_000, Class::Live), unicast(500, Class::Durable)];
    give(&loads, &service.public(), service.redis.way(), settings, cores)?;
    service.servers.end()
}

const fn unicast(rate: u64, class: Class) -> Kind {
    Kind::Unicast { rate, ids: false, class }
}

/// Puts loads on nodes, one after the other. Nothing may be lost of any: what fails is run, too, but not often.
fn give(kinds: &[Kind], nodes: &str, way: Way, settings: &Settings, cores: Cores) -> Result<()> {
    let plan = Plan { seconds: SECONDS, ..load::plan(nodes, CONNECTIONS, way, settings, cores)? };
    for &kind in kinds {
        let figures = run(&plan, kind, &mut |line| println!("           {line}"))?;
        println!("{figures}");
        check(&figures)?;
    }
    Ok(())
}

/// A counting program is slow, which is no fault. That everybody was in and everything arrived says that it was trained.
fn check(figures: &Figures) -> Result<()> {
    if figures.logins.connected != figures.wanted {
        return Err(format!("{}: {} of {} were in", figures.what, figures.logins.connected, figures.wanted).into());
    }
    match figures.turn.as_ref().map(|turn| turn.outcome) {
        Some(outcome) if !outcome.is_clean() => Err(format!("{}: {outcome:?}", figures.what).into()),
        _ => Ok(()),
    }
}
