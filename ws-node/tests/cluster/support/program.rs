//! A node or a worker as a process of its own, with a link of its own to everything it talks to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use gim_proxy_sdk::testing::{EtcdServer, Process, RedisServer, prefix};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::link::Link;
use super::node::Spec;
use super::tap::Tap;
use super::{beside, eventually, http, ports, within};

const NODE: &str = env!("CARGO_BIN_EXE_ws-node");

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Worker,
}

/// Of which release it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Release {
    #[default]
    This,
    /// The one named in `.ci/previous-release`, built by `.ci/previous`.
    Before,
}

/// A place for one process; each start is another run of it.
pub(crate) struct Program {
    pub(crate) kind: Kind,
    /// Counts from its next start.
    pub(crate) release: Release,
    pub(crate) id: String,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Where its RPC listener really is.
    pub(crate) rpc: SocketAddr,
    /// Its way to Redis.
    pub(crate) redis: Link,
    /// Its way to etcd.
    pub(crate) etcd: Link,
    /// The others' way to its RPC listener.
    pub(crate) called: Link,
    /// What the others' batches to it are.
    pub(crate) tap: Arc<Tap>,
    spec: Spec,
    run: Option<Run>,
}

struct Run {
    folder: PathBuf,
    process: Process,
}

impl Program {
    pub(crate) fn new(kind: Kind, id: &str, spec: &Spec, redis: &RedisServer, etcd: &EtcdServer) -> Self {
        let of_port = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (rpc, tap) = (ports::address(), Arc::default());
        Self {
            kind,
            release: Release::This,
            id: id.to_owned(),
            public: ports::address(),
            admin: ports::address(),
            rpc,
            redis: Link::to(of_port(redis.port())),
            etcd: Link::to(of_port(etcd.port())),
            called: Link::tapped(rpc, &tap),
            tap,
            spec: spec.clone(),
            run: None,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let own = [
            format!("node.id={}", self.id),
            format!("redis.url=redis://{}", self.redis.near()),
            format!("etcd.endpoints=http://{}", self.etcd.near()),
            format!("node.advertise_rpc={}", self.called.near()),
            format!("node.advertise_public={}", self.public),
            format!("listen.public={}", self.public),
            format!("listen.admin={}", self.admin),
            format!("listen.rpc={}", self.rpc),
        ];
        let all = self.spec.settings().into_iter().chain(own);
        all.flat_map(|setting| ["--set".to_owned(), setting]).collect()
    }

    /// Starts it and waits for nothing.
    pub(crate) fn launch(&mut self) {
        let folder = std::env::temp_dir().join(format!("gim-{}-{}", self.id, prefix()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let program = match (self.release, self.kind) {
            (Release::This, Kind::Node) => PathBuf::from(NODE),
            (Release::This, Kind::Worker) => worker_program().to_owned(),
            (Release::Before, Kind::Node) => program_before("ws-node"),
            (Release::Before, Kind::Worker) => program_before("msg-queue"),
        };
        let process = Process::start(program.to_str().expect("a path"), self.arguments(), &folder, "this workspace");
        self.forget_last_run();
        self.run = Some(Run { folder, process });
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let what = format!("{} to be ready", self.id);
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
        within(&what, async {
            loop {
                pause.tick().await;
                let ended = self.run().process.has_ended();
                assert!(!ended, "{} ended instead of starting: {}", self.id, self.log());
                if self.is_ready().await {
                    return;
                }
            }
        })
        .await;
    }

    /// What `/readyz` says.
    pub(crate) async fn is_ready(&self) -> bool {
        // By hand: it may end while it is asked.
        let ask = async {
            let mut stream = TcpStream::connect(self.admin).await.ok()?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            Some(answer.starts_with("HTTP/1.1 200 "))
        };
        ask.await.unwrap_or(false)
    }

    /// Starts it as a supervisor does: again, when it gives up. Tells how often it gave up.
    pub(crate) async fn start_until_it_stays(&mut self) -> usize {
        for gave_up in 0..10 {
            self.launch();
            let what = format!("{} to be ready or to end", self.id);
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
            let stays = within(&what, async {
                loop {
                    pause.tick().await;
                    if self.run().process.has_ended() {
                        return false;
                    }
                    if self.is_ready().await {
                        return true;
                    }
                }
            });
            if stays.await {
                return gave_up;
            }
        }
        panic!("{} gives up again and again: {}", self.id, self.log())
    }

    fn run(&mut self) -> &mut Run {
        self.run.as_mut().expect("it was started")
    }

    fn signal(&self, signal: Signal) {
        self.run.as_ref().expect("it was started").process.signal(signal);
    }

    /// As a crash does.
    pub(crate) fn kill(&mut self) {
        self.run().process.kill();
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to stop, as an operator does.
    pub(crate) fn stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it ends by itself, and returns its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let what = format!("{} to end", self.id);
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(10));
        within(&what, async {
            while !self.run().process.has_ended() {
                pause.tick().await;
            }
        })
        .await;
        self.run().process.exit_code()
    }

    /// Everything its last run logged.
    pub(crate) fn log(&self) -> String {
        let folder = self.run.as_ref().map(|run| run.folder.join("log"));
        folder.and_then(|log| std::fs::read_to_string(log).ok()).unwrap_or_default()
    }

    /// The sum over all labels of a metric that contain this text.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        let text = http::respond("GET", self.admin, "/metrics", &[], b"").await.text();
        let mine = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
        mine.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")).sum()
    }

    fn forget_last_run(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        run.process.kill();
        if std::thread::panicking() || std::env::var_os("CLUSTER_TEST_KEEP_LOGS").is_some() {
            eprintln!("the log of {} is in {}", self.id, run.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&run.folder);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.forget_last_run();
    }
}

/// The worker.
pub(crate) fn worker_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| beside::program("msg-queue", &["proto", "proxy-sdk", "msg-queue"]))
}

/// Waits until a program says that it is not ready, or says nothing.
pub(crate) async fn not_ready(program: &Program) {
    let what = format!("{} not to be ready", program.id);
    eventually(&what, || async { (!program.is_ready().await).then_some(()) }).await;
}

/// A program of the release before. `make test` builds it.
fn program_before(name: &str) -> PathBuf {
    let folder = Path::new(NODE).ancestors().nth(2).expect("the folder of all profiles").join("previous");
    let program = folder.join(name);
    let built = std::fs::read_to_string(folder.join("commit")).unwrap_or_default();
    assert!(program.exists() && !built.is_empty(), "{} is not built: run .ci/previous", program.display());
    program
}
