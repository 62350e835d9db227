//! The node as a process of its own, started as an operator does.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use gim_proto::Keys;
use gim_proxy_sdk::testing::{Process, RedisServer, prefix};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::net::TcpStream;

use super::{eventually, http, within};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ws-node");

/// How a node is configured; each start is another run of it.
#[derive(Clone)]
pub(crate) struct Spec {
    id: String,
    prefix: String,
    lanes: u16,
    settings: Vec<String>,
    ports: [u16; 3],
}

impl Spec {
    /// A node named `n1` with one lane and keys of its own.
    pub(crate) fn new(redis: &RedisServer) -> Self {
        let settings = vec![
            "mode=redis".to_owned(),
            "auth.mode=none".to_owned(),
            format!("redis.url={}", redis.url()),
            // What a client on a busy machine did not read yet is not what is tested here.
            "session.outbox_frames=100000".to_owned(),
            "session.outbox_bytes=16MiB".to_owned(),
        ];
        Self { id: "n1".to_owned(), prefix: prefix(), lanes: 1, settings, ports: ports() }
    }

    /// A node in mode `local` that keeps what it accepts in this folder.
    pub(crate) fn local(folder: &Path) -> Self {
        let settings = vec![format!("local.path={}", folder.display())];
        Self { id: "n1".to_owned(), prefix: prefix(), lanes: 2, settings, ports: ports() }
    }

    pub(crate) fn set(mut self, key: &str, value: impl Display) -> Self {
        self.settings.push(format!("{key}={value}"));
        self
    }

    pub(crate) fn lanes(mut self, lanes: u16) -> Self {
        self.lanes = lanes;
        self
    }

    /// The same node on other ports.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { ports: ports(), ..self.clone() }
    }

    /// Another node beside it.
    pub(crate) fn other(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.elsewhere() }
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.prefix).expect("a prefix")
    }

    pub(crate) fn lane_count(&self) -> u16 {
        self.lanes
    }

    pub(crate) fn public(&self) -> SocketAddr {
        address(self.ports[0])
    }

    fn arguments(&self) -> Vec<String> {
        let [public, admin, rpc] = self.ports;
        let own = [
            format!("node.id={}", self.id),
            format!("prefix={}", self.prefix),
            format!("queue.lanes={}", self.lanes),
            format!("listen.public=127.0.0.1:{public}"),
            format!("listen.admin=127.0.0.1:{admin}"),
            format!("listen.rpc=127.0.0.1:{rpc}"),
        ];
        self.settings.iter().chain(&own).flat_map(|setting| ["--set".to_owned(), setting.clone()]).collect()
    }

    /// Starts it and waits until it takes logins.
    pub(crate) async fn start(&self) -> NodeProcess {
        let mut node = self.launch();
        let admin = node.admin;
        let ready = async {
            eventually("the node to be ready", || async {
                TcpStream::connect(admin).await.ok()?;
                (http::respond("GET", admin, "/readyz", &[], b"").await.status == 200).then_some(())
            })
            .await;
        };
        tokio::select! {
            () = ready => node,
            code = node.ended() => panic!("it ended with {code:?} instead of starting: {}", node.log()),
        }
    }

    /// Starts it where it cannot stay. Returns its exit code and what it said.
    pub(crate) async fn refused(&self) -> (Option<i32>, String) {
        let mut node = self.launch();
        let code = node.ended().await;
        (code, node.log())
    }

    /// Starts it and waits for nothing.
    pub(crate) fn launch(&self) -> NodeProcess {
        let folder = std::env::temp_dir().join(format!("gim-node-{}", prefix()));
        std::fs::create_dir_all(&folder).expect("a folder");
        // A file that may not grow is an error to the program and not its end, as on a disk that is full.
        let shell = ["-c", r#"trap "" XFSZ; exec "$0" "$@""#, PROGRAM].map(str::to_owned);
        let process = Process::start("sh", shell.into_iter().chain(self.arguments()), &folder, "dash");
        let [public, admin, rpc] = self.ports.map(address);
        NodeProcess { public, admin, rpc, folder, process }
    }
}

/// One run of a node. Killed when dropped.
pub(crate) struct NodeProcess {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) rpc: SocketAddr,
    folder: PathBuf,
    process: Process,
}

impl NodeProcess {
    /// As a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Asks it to stop, as an operator does.
    pub(crate) fn stop(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Lets none of its files grow beyond this. None: as they like.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(i32::try_from(self.process.pid()).expect("a process id"));
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("its limits");
    }

    /// Waits until it ends by itself, and returns its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(10));
        within("the node to end", async {
            while !self.process.has_ended() {
                pause.tick().await;
            }
        })
        .await;
        self.process.exit_code()
    }

    /// Everything it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The sum over all labels of a metric that contain this text.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> u64 {
        let text = http::respond("GET", self.admin, "/metrics", &[], b"").await.text();
        let mine = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
        mine.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a number")).sum()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            eprintln!("the log of a node under test is in {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Ports below those that outgoing connections get: a client must not take one while its node is down.
fn ports() -> [u16; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 180).expect("below 180") * 100;
    std::array::from_fn(|_| {
        loop {
            let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
            if TcpListener::bind(address(port)).is_ok() {
                return port;
            }
        }
    })
}
