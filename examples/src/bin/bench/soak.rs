//! Everything at once for ten minutes, on as many connections as one node can hold: `gim bench soak` on a node and a Redis
//! of the bench's own.

use std::time::Duration;

use gim_proxy_sdk::bench::figures::Figures;
use gim_proxy_sdk::bench::run::{Kind, Mix, Plan, Way, run};

use crate::Result;
use crate::args::Settings;
use crate::machine::Cores;
use crate::node::Node;
use crate::redis::Redis;

/// A mix that leaves half of the node's core free, so that what fails is no lack of it.
const MIX: Mix = Mix { unicast: 2_000, group: 1, durable: 500, cuts: 10, cut_percent: 10 };
/// How long after the last message something may still come.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

pub(crate) fn measure(settings: &Settings, cores: Cores) -> Result<Figures> {
    let redis = Redis::start(settings)?;
    let node = Node::on(&redis, cores)?;
    let plan = Plan {
        role: crate::load::ROLE,
        urls: vec![format!("ws://{}/ws", node.public).parse()?],
        connections: settings.soak_connections,
        clients: 1,
        users: "bench-".to_owned(),
        group: "bench".to_owned(),
        way: Way::Xadd(redis.url(), "gim".to_owned()),
        payload: settings.payload,
        seconds: settings.soak_seconds,
        grace: GRACE,
        window: 128,
        processes: [node.pid(), redis.pid()].map(|pid| pid.to_string()).to_vec(),
        core: cores.client,
    };
    println!("\nsoak       mode redis, worker inside; processes: node {}, Redis {}", node.pid(), redis.pid());
    run(&plan, Kind::Soak(MIX), &mut |line| println!("           {line}"))
}
