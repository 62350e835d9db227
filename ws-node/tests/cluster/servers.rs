//! Redis and etcd die, stand still and come back while clients stay connected and messages go on.

use std::time::Duration;

use gim_proxy_sdk::testing::RedisServer;
use serde_json::json;
use tokio::time::sleep;

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::oracle::{Counts, Window};
use crate::support::play::Play;
use crate::support::program::Program;
use crate::support::{eventually, http, now_ms};

/// Within all leases, and beyond all of them.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(13);

fn everybody(play: &Play) -> Vec<usize> {
    (0..play.plan.people.users).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_or_comes_back_with_its_data_costs_time_alone() {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let cluster = Cluster::on(redis, Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let all = everybody(&play);
    play.through("redis killed and started again", &all, async |cluster| cluster.redis.restart().await).await;
    play.through("redis killed, and started after 3 s", &all, async |cluster| {
        cluster.redis.stop();
        sleep(SHORT).await;
        cluster.redis.restart().await;
    })
    .await;
    for span in [SHORT, LONG] {
        play.through(&format!("redis frozen for {span:?} and thawed"), &all, async |cluster| {
            cluster.redis.freeze();
            sleep(span).await;
            cluster.redis.thaw();
        })
        .await;
    }
    play.nobody_noticed("redis killed and frozen").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_costs_what_was_in_it_and_nothing_after() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let all = everybody(&play);
    for round in 1..=2 {
        let what = format!("redis killed and started again without its data, {round}");
        let mut stopped = 0;
        play.through(&what, &all, async |cluster| {
            // So that there is something to lose.
            cluster.workers.iter().for_each(Program::freeze);
            sleep(SHORT / 10).await;
            cluster.redis.stop();
            stopped = now_ms();
            cluster.workers.iter().for_each(Program::thaw);
            if round == 2 {
                sleep(SHORT).await;
            }
            cluster.redis.restart().await;
        })
        .await;
        // Entries go with Redis; what it accepts afterwards arrives.
        play.windows.push(Window { users: all.clone(), from: 0, to: stopped });
    }
    let counts: Counts = play.judge("redis emptied").await.into_iter().sum();
    assert!(play.recorders.iter().all(|one| one.is_on_its_first_connection()), "a client was closed");
    assert_eq!((counts.again, counts.late, counts.away, counts.superseded), (0, 0, 0, 0), "{counts}");
    assert!(counts.excused > 0, "nothing was in it");
    let offline = play.cluster.of_workers("gim_worker_outcomes_total", "offline").await;
    assert!(offline < 1.0, "{offline} messages found somebody offline who was connected all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_die_stand_still_and_forget_and_nobody_notices() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let all = everybody(&play);
    let mut longest = Duration::ZERO;
    let mut outcomes = Vec::new();
    outcomes
        .push(play.through("etcd killed and started again", &all, async |cluster| cluster.etcd.restart().await).await);
    for span in [SHORT, LONG] {
        let what = format!("etcd frozen for {span:?} and thawed");
        outcomes.push(
            play.through(&what, &all, async |cluster| {
                cluster.etcd.freeze();
                sleep(span).await;
                cluster.etcd.thaw();
            })
            .await,
        );
    }
    outcomes.push(
        play.through("etcd away for 13 s, and back without its data", &all, async |cluster| {
            cluster.etcd.stop();
            cluster.etcd.forget();
            sleep(LONG).await;
            cluster.etcd.restart().await;
        })
        .await,
    );
    for outcome in &outcomes {
        longest = longest.max(outcome.struck.worst());
    }
    assert!(longest < Duration::from_secs(2), "etcd is on nobody's way, and somebody waited {longest:?}");
    registered(&play.cluster).await;
    play.nobody_noticed("etcd killed, frozen and emptied").await;
    a_node_that_comes_now_takes_part(&mut play.cluster).await;
}

/// Waits until every node is in etcd again.
async fn registered(cluster: &Cluster) {
    let mut client = cluster.etcd.client().await;
    let nodes = cluster.spec.keys().etcd_nodes();
    for node in &cluster.nodes {
        let what = format!("{} to be registered again", node.id);
        let key = format!("{nodes}{}", node.id);
        let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
        while client.get(key.as_str(), None).await.unwrap().kvs().is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn a_node_that_comes_now_takes_part(cluster: &mut Cluster) {
    cluster.new_node().start().await;
    cluster.assembled().await;
    let [first, .., last] = &cluster.nodes[..] else { panic!("many nodes") };
    let mut client = Client::user(last.public, "late").await;
    http::push(first.admin, &json!({ "to_uid": "late", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    eventually("all nodes to name it", || async {
        cluster.shown("late").await.iter().all(|shown| shown["node"] == *last.id).then_some(())
    })
    .await;
}
