//! The node: the program `ws-node` that was built beside this one, as it is shipped, started with flags: defaults but for free
//! ports and one worker thread.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gim_proxy_sdk::testing::{free_port, prefix};

use crate::Result;
use crate::machine::Cores;
use crate::program::Program;
use crate::redis::Redis;

/// What the log of the program says when it runs.
const RUNS: &str = "node runs";
/// What the program is told in every mode.
const SHIPPED: [&str; 4] =
    ["auth.mode=none", "node.threads=1", "listen.public=127.0.0.1:0", "listen.admin=127.0.0.1:0"];

/// A node that runs, as the conductor sees it.
pub(crate) struct Node {
    program: Program,
    pub(crate) public: String,
    pub(crate) admin: SocketAddr,
    /// Where its log is, if that is nobody else's to delete. Behind the program, which ends first.
    _folder: Option<Folder>,
}

/// Deleted with all that is in it when dropped.
struct Folder(PathBuf);

impl Node {
    /// One of mode `local`, ready. It keeps all in memory.
    pub(crate) fn local(cores: Cores) -> Result<Self> {
        let folder = Folder(std::env::temp_dir().join(format!("gim-bench-{}", prefix())));
        let further = ["mode=local", "local.path=none", "listen.rpc=127.0.0.1:0"];
        let node = Self::program(&further, &folder.0, cores)?;
        Ok(Self { _folder: Some(folder), ..node })
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
        Ok(Self { public: program.told("public=")?, admin: program.admin, program, _folder: None })
    }

    /// Ends it by SIGTERM and waits until it has.
    pub(crate) fn end(self) -> Result<()> {
        self.program.end()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the machine's folder for temporary files.
        let _deleted = fs::remove_dir_all(&self.0);
    }
}
