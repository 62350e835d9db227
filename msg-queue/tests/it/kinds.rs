//! A lane in Redis of every kind: behind Sentinel, in a cluster, by TLS, under the least privileges.

use std::sync::Arc;
use std::time::Duration;

use ::redis::cmd;
use futures_util::future::join_all;
use gim_msg_queue::observe::Observer;
use gim_msg_queue::redis::{LaneOptions, RedisSource};
use gim_msg_queue::source::{Settlement, SourceErrorKind};
use gim_proto::{Fields, Incarnation, Keys};
use gim_proxy_sdk::store::{RedisOptions, Store};
use gim_proxy_sdk::testing::{
    ClientCertificate, DEADLINE, RedisCluster, RedisServer, SentinelSet, TlsServer, prefix, users_of,
};
use tokio::time::{Instant, sleep};

use crate::redis::rig::{Heard, Rig, ack, now_ms, numbers, settle, take, take_in_the_end, try_ack};

const DOCS: &str = include_str!("../../../docs/redis.md");

/// One lane among several, reached by a way of its own.
struct Lane {
    number: u16,
    store: Store,
    raw: Store,
    keys: Keys,
}

impl Lane {
    fn source(&self, owner: Incarnation, voided: Vec<Incarnation>) -> Arc<RedisSource> {
        let options = LaneOptions {
            lane: self.number,
            owner,
            voided,
            section: gim_msg_queue::config::QueueSection::default(),
            keys: self.keys.clone(),
            block: Duration::from_secs(1),
            lease: Duration::from_secs(6),
        };
        RedisSource::new(&self.store, options, Arc::<Heard>::default() as Arc<dyn Observer>)
    }

    async fn fill(&self, numbers: std::ops::Range<usize>) {
        let key = self.keys.queue(self.number);
        let link = self.raw.link(&*key);
        for number in numbers {
            let mut add = cmd("XADD");
            add.arg(&key).arg("*").arg("to_uid").arg("1").arg("data").arg(format!(r#"{{"n":{number}}}"#));
            if number == 0 {
                add.arg("id").arg("first");
            }
            link.query::<String>(&add).await.unwrap();
        }
    }

    async fn dead_letters(&self) -> u64 {
        let key = self.keys.dead(self.number);
        self.raw.link(&*key).query(cmd("XLEN").arg(&key)).await.unwrap()
    }

    async fn pending(&self) -> i64 {
        let key = self.keys.queue(self.number);
        let link = self.raw.link(&*key);
        let (count, _, _, _): (i64, ::redis::Value, ::redis::Value, ::redis::Value) =
            link.query(cmd("XPENDING").arg(&key).arg("gim")).await.unwrap();
        count
    }

    /// Everything a worker does to a lane, with a change of its owner.
    async fn works(&self) {
        let dead = Incarnation::mint();
        let first = self.source(dead, Vec::new());
        self.fill(0..10).await;
        let taken = take(&first, 10).await;
        assert_eq!(taken[0].message_id.as_str(), "first");
        ack(&first, &taken[..3]).await;
        let aside = Settlement::Later { due_ms: now_ms() + 200, attempts: 1, rest: None };
        settle(&first, &taken[3..6], &aside).await;
        settle(&first, &taken[6..7], &Settlement::Dead(Box::new(death()))).await;
        assert_eq!(numbers(&take(&first, 3).await), [3, 4, 5]);

        let second = self.source(Incarnation::mint(), vec![dead]);
        let again = take(&second, 6).await;
        assert_eq!(numbers(&again), [3, 4, 5, 7, 8, 9]);
        assert_eq!(try_ack(&first, &taken[7..]).await.unwrap_err().kind, SourceErrorKind::Lost);
        ack(&second, &again).await;
        assert_eq!((self.pending().await, self.dead_letters().await), (0, 1));
        second.release().await;
    }
}

fn death() -> gim_msg_queue::source::Death {
    gim_msg_queue::source::Death {
        reason: gim_proto::DeadReason::Attempts,
        attempts: 10,
        error: "x".into(),
        failed_targets: vec!["1".into()],
        rest: None,
    }
}

fn lanes(options: &RedisOptions, raw: &RedisOptions, keys: &Keys) -> Vec<Lane> {
    let lane =
        |number| Lane { number, store: Store::new(options.clone()), raw: Store::new(raw.clone()), keys: keys.clone() };
    (0..4).map(lane).collect()
}

fn own_keys() -> Keys {
    Keys::new(&prefix()).unwrap()
}

async fn all_work(options: &RedisOptions) {
    join_all(lanes(options, options, &own_keys()).iter().map(Lane::works)).await;
}

/// Settles, however often it fails meanwhile.
async fn ack_in_the_end(source: &RedisSource, entries: &[gim_msg_queue::source::Fetched]) {
    let begun = Instant::now();
    while let Err(error) = try_ack(source, entries).await {
        assert!(begun.elapsed() < DEADLINE, "{error:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn lanes_work_by_tls_and_behind_sentinel() {
    let server = TlsServer::start(ClientCertificate::Required).await;
    all_work(&server.options()).await;
    let servers = SentinelSet::start().await;
    all_work(&servers.options()).await;
}

#[tokio::test]
async fn lanes_of_a_cluster_lie_on_several_masters_and_all_work() {
    let cluster = RedisCluster::start().await;
    let keys = own_keys();
    let mut holders = Vec::new();
    for lane in 0..4 {
        holders.push(cluster.holder_of(&keys.queue(lane)).await);
    }
    holders.sort_unstable();
    holders.dedup();
    assert!(holders.len() > 1, "{holders:?}");
    let options = cluster.options();
    join_all(lanes(&options, &options, &keys).iter().map(Lane::works)).await;
}

#[tokio::test]
async fn a_lane_whose_slot_moves_under_a_waiting_reader_goes_on() {
    let cluster = RedisCluster::start().await;
    let (options, keys) = (cluster.options(), own_keys());
    let lane = &lanes(&options, &options, &keys)[0];
    let source = lane.source(Incarnation::mint(), Vec::new());
    lane.fill(0..20).await;
    let taken = take(&source, 20).await;
    ack(&source, &taken[..5]).await;
    let reading = tokio::spawn({
        let source = Arc::clone(&source);
        async move { take_in_the_end(&source, 10).await }
    });
    cluster.move_slot_of(&keys.queue(0)).await;
    lane.fill(20..30).await;
    let more = tokio::time::timeout(DEADLINE, reading).await.unwrap().unwrap();
    assert_eq!(numbers(&more), (20..30).collect::<Vec<_>>());
    ack_in_the_end(&source, &taken[5..]).await;
    ack_in_the_end(&source, &more).await;
    assert_eq!(lane.pending().await, 0);
}

#[tokio::test]
async fn a_lane_goes_on_at_the_master_that_sentinel_makes() {
    let mut servers = SentinelSet::start().await;
    let mut rig = Rig::over(Store::new(servers.options()));
    let source = rig.source();
    rig.fill(0..20).await;
    let taken = take(&source, 20).await;
    ack(&source, &taken[..5]).await;
    let aside = Settlement::Later { due_ms: now_ms() + 300, attempts: 1, rest: None };
    settle(&source, &taken[5..6], &aside).await;
    // What the replica has not got is lost: the test is about the rest.
    assert_eq!(rig.ask::<u64>(&["WAIT", "1", "10000"]).await, 1);
    let old = servers.stop_master().await;
    servers.failed_over(old).await;
    rig.reconnect();
    let back = take_in_the_end(&source, 1).await;
    assert_eq!(numbers(&back), [5]);
    rig.fill(20..30).await;
    let more = take_in_the_end(&source, 10).await;
    assert_eq!(numbers(&more), (20..30).collect::<Vec<_>>());
    ack_in_the_end(&source, &taken[6..]).await;
    ack_in_the_end(&source, &[back, more].concat()).await;
    assert_eq!(rig.pending().await, 0);
    assert_eq!(rig.aside().await, []);
}

#[tokio::test]
async fn the_users_of_the_documentation_may_work_on_lanes() {
    let server = RedisServer::start().await;
    for rules in users_of(DOCS) {
        server.set_user(&rules).await;
    }
    for user in ["gim-worker", "gim-node"] {
        let options = server.options().username(user).password("secret");
        server.tell(&["FLUSHALL"]).await;
        join_all(lanes(&options, &server.options(), &Keys::new("gim").unwrap()).iter().map(Lane::works)).await;
        assert_eq!(server.denials().await, []);
    }
}

#[tokio::test]
async fn a_worker_that_may_do_nothing_dangerous_takes_over_later() {
    let server = RedisServer::start().await;
    for rules in users_of(DOCS) {
        server.set_user(&rules).await;
    }
    server.set_user("gim-worker -@dangerous").await;
    let options = server.options().username("gim-worker").password("secret");
    join_all(lanes(&options, &server.options(), &Keys::new("gim").unwrap()).iter().map(Lane::works)).await;
}

#[tokio::test]
async fn producers_write_what_workers_read() {
    let server = RedisServer::start().await;
    for rules in users_of(DOCS) {
        server.set_user(&rules).await;
    }
    let options = |user: &str| server.options().username(user).password("secret");
    let keys = Keys::new("gim").unwrap();
    let lane = Lane { number: 0, store: Store::new(options("gim-worker")), raw: server.store(), keys: keys.clone() };
    let given = gim_proxy_sdk::ProducerOptions { lanes: std::num::NonZeroU16::new(1), ..Default::default() };
    let producer = gim_proxy_sdk::Producer::connect(options("gim-producer"), given).await.unwrap();
    let entry: Fields = [("to_uid", "1"), ("data", r#"{"n":7}"#), ("id", "m")].into_iter().collect();
    producer.enqueue_one(entry).await.unwrap();
    let source = lane.source(Incarnation::mint(), Vec::new());
    let taken = take(&source, 1).await;
    assert_eq!((numbers(&taken), taken[0].message_id.as_str()), (vec![7], "m"));
    ack(&source, &taken).await;
}
