//! The node: a plain one with defaults but for free ports and one worker thread.
//!
//! In mode `local` it is a child of this same binary. In the modes `redis` and `cluster` it is the program `ws-node` that
//! was built beside this one, as it is shipped, started with flags.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use gim_proxy_sdk::testing::free_port;
use gim_ws_node::config::{Config, LocalSection};
use serde_json::json;

use crate::args::Place;
use crate::child::{Child, say};
use crate::machine::Cores;
use crate::program::Program;
use crate::redis::Redis;
use crate::{Result, process};

const START: Duration = Duration::from_secs(20);
/// What the log of the program says when it runs.
const RUNS: &str = "node runs";
/// What the program is told in every mode.
const SHIPPED: [&str; 4] =
    ["auth.mode=none", "node.threads=1", "listen.public=127.0.0.1:0", "listen.admin=127.0.0.1:0"];

/// A node that runs, as the conductor sees it.
pub(crate) struct Node {
    process: Kind,
    pub(crate) public: String,
    pub(crate) admin: SocketAddr,
}

enum Kind {
    Embedded(Child),
    Program(Program),
}

impl Node {
    /// One of mode `local`.
    pub(crate) fn embedded(cores: Cores) -> Result<Self> {
        let mut child = Child::start(&["serve-node"], cores.server, &[])?;
        let addresses = child.hear(START)?;
        let address = |key: &str| addresses[key].as_str().map(str::to_owned).ok_or("the node has no address");
        Ok(Self { public: address("public")?, admin: address("admin")?.parse()?, process: Kind::Embedded(child) })
    }

    /// One of mode `redis`, ready.
    pub(crate) fn on(redis: &Redis, cores: Cores) -> Result<Self> {
        Self::told(&[], redis, cores)
    }

    /// The same, with settings that are not the defaults.
    pub(crate) fn told(settings: &[&str], redis: &Redis, cores: Cores) -> Result<Self> {
        let stands_on = format!("redis.url={}", redis.url());
        let further = ["mode=redis", &stands_on, "node.id=bench", "listen.rpc=127.0.0.1:0"];
        Self::program(&[&further, settings].concat(), &redis.folder().join("node"), cores)
    }

    /// One of a cluster, ready: no worker is inside. `cluster` is what all its processes are told.
    pub(crate) fn among(cluster: &[String], id: &str, folder: &Path, cores: Cores) -> Result<Self> {
        // Others are told where it can be called, so it cannot be any free port.
        let rpc = format!("127.0.0.1:{}", free_port());
        let own = ["node.id", "listen.rpc", "node.advertise_rpc"].into_iter().zip([id, &rpc, &rpc]);
        let own: Vec<String> = own.map(|(key, value)| format!("{key}={value}")).collect();
        let further: Vec<&str> = cluster.iter().chain(&own).map(String::as_str).collect();
        Self::program(&further, folder, cores)
    }

    fn program(further: &[&str], folder: &Path, cores: Cores) -> Result<Self> {
        let program = Program::start("ws-node", &[&SHIPPED, further].concat(), folder, RUNS, cores)?;
        Ok(Self { public: program.told("public=")?, admin: program.admin, process: Kind::Program(program) })
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.process {
            Kind::Embedded(child) => child.pid(),
            Kind::Program(program) => program.pid(),
        }
    }
}

/// The child's main.
pub(crate) fn serve(place: &Place) -> Result<()> {
    process::end_with_parent()?;
    process::pin(place.core)?;
    // Lines of level info are made as in the shipped program; nobody reads them here.
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(std::io::sink).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let node = gim_ws_node::Node::builder(config()).start().await?;
        let (public, admin) = (node.public_addr().to_string(), node.admin_addr().to_string());
        say(&json!({ "public": public, "admin": admin }))?;
        // It ends when its parent kills it; a signal for it alone ends it too.
        Ok(tokio::signal::ctrl_c().await?)
    })
}

fn config() -> Config {
    let mut config = Config { local: LocalSection::in_memory(), ..Config::default() };
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen.public = free;
    config.listen.admin = free;
    config.listen.rpc = free;
    config.node.threads = 1;
    config
}
