//! Everything at once for ten minutes, on as many connections as one node can hold: `gim bench soak` on a node and a Redis
//! of the bench's own.

use gim_proxy_sdk::bench::figures::Figures;
use gim_proxy_sdk::bench::run::{Kind, Mix, Plan, run};

use crate::args::Settings;
use crate::machine::Cores;
use crate::node::Node;
use crate::redis::Redis;
use crate::{Result, load};

/// A mix that leaves half of the node's core free, so that what fails is no lack of it.
const MIX: Mix = Mix { unicast: 2_000, group: 1, durable: 500, cuts: 10, cut_percent: 10 };
pub(crate) fn measure(settings: &Settings, cores: Cores) -> Result<Figures> {
    let redis = Redis::start(settings)?;
    let node = Node::on(&redis, cores)?;
    let plan = Plan {
        seconds: settings.soak_seconds,
        processes: [node.pid(), redis.pid()].map(|pid| pid.to_string()).to_vec(),
        ..load::plan(&node.public, settings.soak_connections, redis.way(), settings, cores)?
    };
    println!("\nsoak       mode redis, worker inside; processes: node {}, Redis {}", node.pid(), redis.pid());
    run(&plan, Kind::Soak(MIX), &mut |line| println!("           {line}"))
}
