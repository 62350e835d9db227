//! The node: a plain one with defaults but for free ports and one worker thread.
//!
//! In mode `local` it is a child of this same binary. In mode `redis` it is the program `ws-node` that was built beside
//! this one, as it is shipped, started with flags.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gim_proxy_sdk::testing::Process;
use gim_ws_node::config::Config;
use serde_json::json;

use crate::args::Place;
use crate::child::{Child, say};
use crate::machine::Cores;
use crate::post::Poster;
use crate::redis::Redis;
use crate::{Result, clock, process};

const START: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A node that runs, as the conductor sees it.
pub(crate) struct Node {
    process: Kind,
    pub(crate) public: String,
    pub(crate) admin: SocketAddr,
}

enum Kind {
    Embedded(Child),
    Program(Process),
}

impl Node {
    /// One of mode `local`.
    pub(crate) fn embedded(cores: Cores) -> Result<Self> {
        let mut child = Child::start("serve-node", cores.server, &[])?;
        let addresses = child.hear(START)?;
        let address = |key: &str| addresses[key].as_str().map(str::to_owned).ok_or("the node has no address");
        Ok(Self { public: address("public")?, admin: address("admin")?.parse()?, process: Kind::Embedded(child) })
    }

    /// One of mode `redis`, ready.
    pub(crate) fn on(redis: &Redis, cores: Cores) -> Result<Self> {
        let (program, folder) = (program()?, redis.folder().join("node"));
        fs::create_dir_all(&folder)?;
        let arguments = arguments(redis);
        // A child inherits the core of whoever starts it.
        process::pin(cores.server)?;
        let mut process = Process::start(&program, &arguments, &folder, "ws-node");
        process::pin(cores.client)?;
        let (public, admin) = addresses(&mut process, &folder.join("log"))?;
        ready(admin)?;
        Ok(Self { process: Kind::Program(process), public, admin })
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.process {
            Kind::Embedded(child) => child.pid(),
            Kind::Program(process) => process.pid(),
        }
    }
}

fn program() -> Result<String> {
    let program: PathBuf = std::env::current_exe()?.with_file_name("ws-node");
    match program.exists() {
        true => Ok(program.to_string_lossy().into_owned()),
        false => Err(format!("{} is missing: build it with the bench, as make bench does", program.display()).into()),
    }
}

fn arguments(redis: &Redis) -> Vec<String> {
    let url = format!("redis.url={}", redis.url());
    let settings = [
        "mode=redis",
        &url,
        "auth.mode=none",
        "node.id=bench",
        "node.threads=1",
        "listen.public=127.0.0.1:0",
        "listen.admin=127.0.0.1:0",
        "listen.rpc=127.0.0.1:0",
    ];
    settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect()
}

/// Waits for the line of the log that tells where it listens.
fn addresses(process: &mut Process, log: &Path) -> Result<(String, SocketAddr)> {
    let deadline = clock::deadline(START);
    loop {
        let text = fs::read_to_string(log)?;
        if let Some(line) = text.lines().find(|line| line.contains("node runs")) {
            let address = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)).ok_or("no address");
            return Ok((address("public=")?.to_owned(), address("admin=")?.parse()?));
        }
        if process.has_ended() || clock::now() > deadline {
            return Err(format!("ws-node did not start: {text}").into());
        }
        clock::sleep(POLL);
    }
}

fn ready(admin: SocketAddr) -> Result<()> {
    let deadline = clock::deadline(START);
    let mut poster = Poster::connect(admin)?;
    while !poster.is_ready()? {
        if clock::now() > deadline {
            return Err("the node does not get ready".into());
        }
        clock::sleep(POLL);
    }
    Ok(())
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
    let mut config = Config::default();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen.public = free;
    config.listen.admin = free;
    config.listen.rpc = free;
    config.node.threads = 1;
    config
}
