//! One redis-server of its own, or the one that the tests of a process share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::process::Process;
use super::{DEADLINE, free_port, prefix};
use crate::store::{RedisOptions, Store};

/// A redis-server on a free port, empty, without persistence unless asked. Killed, and its folder deleted, when dropped.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    arguments: Vec<OsString>,
    process: Process,
}

impl RedisServer {
    /// Starts one that forgets everything when it stops.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with further arguments, such as `--appendonly yes`.
    pub async fn start_with(further: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("gim-redis-{}", prefix()));
        std::fs::create_dir_all(&folder).expect("a folder");
        // Somebody else may take the port between the look and the start: then another one is tried.
        for _ in 0..10 {
            let port = free_port();
            let arguments = arguments(port, &folder, further);
            let process = run(&arguments, &folder);
            let mut server = Self { port, folder: folder.clone(), arguments, process };
            if server.answers().await {
                return server;
            }
            server.folder = PathBuf::new();
        }
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("redis-server does not start: {log}")
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What a client needs to reach it.
    #[must_use]
    pub fn options(&self) -> RedisOptions {
        RedisOptions::parse(&self.url()).expect("a URL")
    }

    /// A way to it for the test itself.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(self.options())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills it, as a crash does.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port with what it kept on disk.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = run(&self.arguments, &self.folder);
        assert!(self.answers().await, "redis-server does not start again");
    }

    /// Deletes what it kept on disk. It must be stopped.
    pub fn forget(&self) {
        for entry in std::fs::read_dir(&self.folder).expect("its folder").flatten() {
            let path = entry.path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("its files can be deleted");
        }
    }

    /// Stops its process in the middle of whatever it does, without closing a connection.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Waits until it answers. False: it ended instead.
    async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut ping = tokio::process::Command::new("redis-cli");
        ping.args(["-p", &self.port.to_string(), "ping"]);
        while Instant::now() < deadline {
            if self.process.has_ended() {
                return false;
            }
            let answer = ping.output().await.expect("redis-cli; as root: apt-get install -y redis-server");
            // One that needs a password answers too.
            let said = String::from_utf8_lossy(&answer.stdout);
            if said.contains("PONG") || said.contains("NOAUTH") {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process.kill();
        if !self.folder.as_os_str().is_empty() {
            // What cannot be deleted stays in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn arguments(port: u16, folder: &Path, further: &[&str]) -> Vec<OsString> {
    let port = port.to_string();
    let own = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1", "--dir"];
    let own = own.iter().map(OsString::from).chain([folder.as_os_str().to_owned()]);
    own.chain(further.iter().map(OsString::from)).collect()
}

fn run(arguments: &[OsString], folder: &Path) -> Process {
    Process::start("redis-server", arguments, folder, "redis-server")
}

/// The server that the tests of this process share, each under a prefix of its own.
pub async fn shared_redis() -> &'static RedisServer {
    static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
    SHARED.get_or_init(RedisServer::start).await
}
