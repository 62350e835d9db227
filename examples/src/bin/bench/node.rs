//! The node as a child: a plain one, embedded, with defaults but for free ports and one worker thread.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gim_ws_node::Node;
use gim_ws_node::config::Config;
use serde_json::json;

use crate::args::Place;
use crate::child::{Child, say};
use crate::machine::Cores;
use crate::{Result, process};

const START: Duration = Duration::from_secs(20);

/// A node that runs, as the conductor sees it.
pub(crate) struct NodeChild {
    child: Child,
    pub(crate) public: String,
    pub(crate) admin: SocketAddr,
}

impl NodeChild {
    pub(crate) fn start(cores: Cores) -> Result<Self> {
        let mut child = Child::start("serve-node", cores.server, &[])?;
        let addresses = child.hear(START)?;
        let address = |key: &str| addresses[key].as_str().map(str::to_owned).ok_or("the node has no address");
        Ok(Self { public: address("public")?, admin: address("admin")?.parse()?, child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
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
        let node = Node::builder(config()).start().await?;
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
