//! One run of the program, and what a test asks of it.

use std::path::PathBuf;

use ::redis::cmd;
use gim_proto::{Keys, Target, lane_of};
use gim_proxy_sdk::store::{RedisOptions, Store};
use gim_proxy_sdk::testing::{DEADLINE, EtcdServer, Process, RedisServer, free_port, prefix};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

use crate::support::uid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_msg-queue");
const LANES: u16 = 4;

/// How a worker is configured.
#[derive(Clone)]
pub(super) struct Spec {
    id: String,
    port: u16,
    prefix: String,
    redis: String,
    etcd: String,
    more: Vec<String>,
}

/// One run of it. Killed when dropped.
pub(super) struct Worker {
    port: u16,
    folder: PathBuf,
    process: Process,
}

impl Spec {
    /// A worker named `w1`, with four lanes and keys of its own.
    pub(super) fn new(redis: &RedisServer, etcd: &EtcdServer) -> Self {
        Self::at(&redis.url(), etcd)
    }

    pub(super) fn at(redis: &str, etcd: &EtcdServer) -> Self {
        Self {
            id: "w1".to_owned(),
            port: free_port(),
            prefix: prefix(),
            redis: redis.to_owned(),
            etcd: etcd.endpoint(),
            more: Vec::new(),
        }
    }

    /// Another worker beside it.
    pub(super) fn other(&self, id: &str) -> Self {
        Self { id: id.to_owned(), port: free_port(), ..self.clone() }
    }

    pub(super) fn prefixed(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    pub(super) fn sets(mut self, settings: &[&str]) -> Self {
        self.more.extend(settings.iter().map(|setting| (*setting).to_owned()));
        self
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(&self) -> Worker {
        let mut worker = self.launch();
        let ready = async {
            loop {
                if worker.try_ask("/readyz", "").await.is_some_and(|(status, _)| status == 200) {
                    return;
                }
                assert_eq!(worker.process.exit_code(), None, "{}", worker.log());
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(DEADLINE, ready).await.is_ok(), "not ready");
        worker
    }

    /// Starts it where it cannot stay. Returns its exit code and what it said.
    pub(super) async fn refused(&self) -> (Option<i32>, String) {
        let mut worker = self.launch();
        let code = worker.ended().await;
        (code, worker.log())
    }

    /// Starts it and waits for nothing.
    pub(super) fn launch(&self) -> Worker {
        let folder = std::env::temp_dir().join(format!("gim-worker-{}", prefix()));
        std::fs::create_dir_all(&folder).unwrap();
        let own = [
            "mode=cluster".to_owned(),
            format!("node.id={}", self.id),
            format!("prefix={}", self.prefix),
            format!("queue.lanes={LANES}"),
            format!("listen.admin=127.0.0.1:{}", self.port),
            format!("redis.url={}", self.redis),
            format!("etcd.endpoints={}", self.etcd),
            // Of the nodes' file.
            "session.ping=nonsense".to_owned(),
        ];
        let settings = own.iter().chain(&self.more).flat_map(|setting| ["--set", setting]);
        let process = Process::start(PROGRAM, settings, &folder, "this crate");
        Worker { port: self.port, folder, process }
    }

    /// Puts an entry for a user on its lane.
    pub(super) async fn enqueue(&self, user: &str) {
        let lane = lane_of(&Target::User(uid(user)), LANES.try_into().unwrap());
        let key = self.keys().queue(lane);
        let mut add = cmd("XADD");
        add.arg(&key).arg("*").arg("to_uid").arg(user).arg("data").arg("{}");
        self.store().link(&*key).query::<String>(&add).await.unwrap();
    }

    /// Counts the lanes that somebody has.
    pub(super) async fn leases(&self) -> usize {
        let mut leases = 0;
        for lane in 0..LANES {
            let key = self.keys().lease(lane);
            leases += self.store().link(&*key).query::<usize>(cmd("EXISTS").arg(&key)).await.unwrap();
        }
        leases
    }

    /// Counts the workers that share the lanes.
    pub(super) async fn workers(&self) -> usize {
        let key = self.keys().workers();
        self.store().link(&*key).query::<usize>(cmd("ZCARD").arg(&key)).await.unwrap()
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.prefix).unwrap()
    }

    fn store(&self) -> Store {
        Store::new(RedisOptions::parse(&self.redis).unwrap())
    }
}

impl Worker {
    pub(super) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// As a crash does.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until it ends by itself. Returns its exit code.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let end = async {
            while !self.process.has_ended() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(DEADLINE * 2, end).await.is_ok(), "it does not end");
        self.process.exit_code()
    }

    /// What it wrote so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(super) async fn sysinfo(&self) -> Value {
        let (status, body) = self.ask("/sysinfo").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The lanes that it owns.
    pub(super) async fn owned(&self) -> Vec<Value> {
        self.sysinfo().await["lanes_owned"].as_array().unwrap().clone()
    }

    /// Asks its admin listener.
    pub(super) async fn ask(&self, path: &str) -> (u16, String) {
        self.ask_with(path, "").await
    }

    pub(super) async fn ask_with(&self, path: &str, headers: &str) -> (u16, String) {
        self.try_ask(path, headers).await.unwrap_or_else(|| panic!("no answer to {path}: {}", self.log()))
    }

    async fn try_ask(&self, path: &str, headers: &str) -> Option<(u16, String)> {
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            let status = answer.split(' ').nth(1)?.parse().ok()?;
            Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
        };
        timeout(DEADLINE, exchange).await.ok().flatten()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Asks until there is an answer.
pub(super) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
