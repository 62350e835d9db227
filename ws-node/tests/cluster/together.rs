//! Several things fail at once, again and again, each of them within every lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gim_proxy_sdk::testing::{EtcdServer, RedisServer};
use tokio::time::{Instant, sleep};

use crate::nodes::all_restored;
use crate::support::cluster::Cluster;
use crate::support::link::Mode;
use crate::support::node::Spec;
use crate::support::oracle::Counts;
use crate::support::play::Play;
use crate::support::program::Program;

/// How long trouble lasts.
const SPAN: Duration = Duration::from_secs(25);
/// The longest that a node, or a server, is out of reach at a time. Together well within the lease of a node.
const NODE: Duration = Duration::from_secs(2);
const SERVER: Duration = Duration::from_millis(1_500);
/// A worker may be away beyond the lease of its lanes.
const WORKER: Duration = Duration::from_secs(8);

/// How long a user who moves stays in one place, about.
const ROAM_MS: u64 = 2_000;

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides).unwrap()
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most * u32::try_from(1 + self.roll(100)).unwrap() / 100
    }
}

/// Has something go wrong until the end, one thing after the other.
struct Trouble {
    dice: Dice,
    end: Instant,
    told: Vec<String>,
}

impl Trouble {
    fn new(seed: u64, end: Instant) -> Self {
        Self { dice: Dice(seed), end, told: Vec::new() }
    }

    /// A pause, and whether there is time for more.
    async fn goes_on(&mut self) -> bool {
        let pause = Duration::from_millis(500) + self.dice.up_to(Duration::from_millis(1_000));
        sleep(pause).await;
        Instant::now() < self.end
    }

    fn tell(&mut self, what: String, span: Duration) {
        self.told.push(format!("{what} {span:.1?}"));
    }

    async fn among_nodes(mut self, nodes: &[Program]) -> Vec<String> {
        while self.goes_on().await {
            let node = &nodes[self.dice.roll(nodes.len() as u64)];
            let span = self.dice.up_to(NODE);
            let mode = if self.dice.roll(2) == 0 { Mode::Cut } else { Mode::Silent };
            let what = match self.dice.roll(4) {
                0 => {
                    node.freeze();
                    sleep(span).await;
                    node.thaw();
                    "frozen".to_owned()
                }
                kind => {
                    let (link, name) =
                        [(&node.called, "calls"), (&node.redis, "redis"), (&node.etcd, "etcd")][kind - 1];
                    link.set(mode);
                    sleep(span).await;
                    link.set(Mode::Pass);
                    format!("{name} {mode:?}")
                }
            };
            self.tell(format!("{} {what}", node.id), span);
        }
        self.told
    }

    async fn among_workers(mut self, workers: &mut [Program]) -> Vec<String> {
        while self.goes_on().await {
            let at = self.dice.roll(workers.len() as u64);
            let worker = &mut workers[at];
            let span = self.dice.up_to(WORKER);
            let mut gave_up = 0;
            let what = match self.dice.roll(4) {
                0 => {
                    worker.freeze();
                    sleep(span).await;
                    worker.thaw();
                    "frozen"
                }
                1 => {
                    worker.redis.set(Mode::Silent);
                    sleep(span).await;
                    worker.redis.set(Mode::Pass);
                    "redis Silent"
                }
                2 => {
                    worker.kill();
                    sleep(span).await;
                    gave_up += worker.start_until_it_stays().await;
                    "killed"
                }
                _ => {
                    worker.stop();
                    worker.ended().await;
                    sleep(span).await;
                    gave_up += worker.start_until_it_stays().await;
                    "stopped"
                }
            };
            let told = match gave_up {
                0 => format!("{} {what}", worker.id),
                times => format!("{} {what} (gave up {times} times at its start)", worker.id),
            };
            self.tell(told, span);
        }
        self.told
    }

    async fn among_servers(mut self, redis: &mut RedisServer, etcd: &mut EtcdServer) -> Vec<String> {
        while self.goes_on().await {
            let span = self.dice.up_to(SERVER);
            let what = match self.dice.roll(4) {
                0 => {
                    redis.freeze();
                    sleep(span).await;
                    redis.thaw();
                    "redis frozen"
                }
                1 => {
                    redis.restart().await;
                    "redis killed"
                }
                2 => {
                    etcd.freeze();
                    sleep(span).await;
                    etcd.thaw();
                    "etcd frozen"
                }
                _ => {
                    etcd.restart().await;
                    "etcd killed"
                }
            };
            self.tell(what.to_owned(), span);
        }
        self.told
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_together_and_within_every_lease_costs_time_alone() {
    let play = Box::pin(live_through(seed(), 0)).await;
    play.nobody_noticed("trouble").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_move_all_the_time_while_things_fail_miss_nothing_once_they_are_there() {
    let play = Box::pin(live_through(seed(), ROAM_MS)).await;
    let counts: Counts = play.judge("trouble, and users on the move").await.into_iter().sum();
    let moves: usize = play.recorders.iter().map(|recorder| recorder.log().len() - 1).sum();
    eprintln!("  {moves} moves; {counts}");
    assert!(moves > play.recorders.len(), "{moves} moves");
    all_restored(&play.recorders);
    let ends = play.recorders.iter().flat_map(|one| one.log().iter().filter_map(|one| one.end).collect::<Vec<_>>());
    for (code, _) in ends {
        // 4003: Redis came back as another run before the node had heard that the user is elsewhere.
        assert!(matches!(code, 0 | 4003 | 4501), "a connection ended with {code}");
    }
}

// Another seed is another history.
fn seed() -> u64 {
    std::env::var("CLUSTER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4_711)
}

async fn live_through(seed: u64, roam_ms: u64) -> Play {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let cluster = Cluster::on(redis, Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let all: Vec<usize> = (0..play.plan.people.users).collect();
    let mut told = Vec::new();
    let roam = Arc::clone(&play.plan.roam);
    let trouble = async |cluster: &mut Cluster| {
        let end = Instant::now() + SPAN;
        roam.store(roam_ms, Ordering::SeqCst);
        let of = |number: u64| Trouble::new((seed * 3 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15), end);
        let Cluster { nodes, workers, redis, etcd, .. } = cluster;
        let (n, w, s) =
            tokio::join!(of(1).among_nodes(nodes), of(2).among_workers(workers), of(3).among_servers(redis, etcd));
        told = [n, w, s].concat();
        roam.store(0, Ordering::SeqCst);
        cluster.spread(2).await;
    };
    Box::pin(play.through(&format!("trouble of seed {seed}"), &all, trouble)).await;
    eprintln!("  {}", told.join(", "));
    play
}
