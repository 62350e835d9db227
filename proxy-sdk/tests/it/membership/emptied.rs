//! Redis comes back with nothing, or loses everything while it runs.

use gim_proxy_sdk::directory::{Directory, Freshness};
use gim_proxy_sdk::testing::RedisServer;
use tokio::time::Instant;

use super::world::{Cluster, MARGIN, Node, TTL, until};
use crate::directory::world::{tgid, uid};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];
const USERS: [&str; 3] = ["u1", "u2", "u3"];

/// Three nodes with a user each, and a group that all of them hold.
async fn three(cluster: &Cluster) -> Vec<Node> {
    let mut nodes = cluster.nodes(NAMES).await;
    for (node, user) in nodes.iter_mut().zip(USERS) {
        node.connect(user).await;
        node.holds("g").await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_offline_before_all_three_have_recorded_what_they_hold() {
    let mut server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    let nodes = three(&cluster).await;
    worker.sees(&NAMES).await;
    worker.stands().await;
    // A worker, and a node that asks about the others' users.
    let vigils = [worker.never_misses(&USERS, "g", 3), nodes[0].party.never_misses(&USERS, "g", 3)];
    for _ in 0..2 {
        let before: Vec<_> = nodes.iter().map(Node::run).collect();
        server.restart().await;
        worker.waits_for(&NAMES).await;
        for (node, before) in nodes.iter().zip(before) {
            node.lives_on(before).await;
        }
        for (at, node) in nodes.iter().enumerate() {
            worker.waits_for(&NAMES[at..]).await;
            worker.cannot_tell("nobody").await;
            assert!(worker.directory.holders(&[tgid("g")]).await.is_err());
            assert!(worker.directory.nodes().await.is_err());
            node.records_all().await;
        }
        worker.stands().await;
        assert_eq!(worker.owner("nobody").await, None);
        let users = USERS.map(uid);
        let owners = worker.directory.lookup(&users, Freshness::Current).await.unwrap();
        let runs = owners.into_iter().map(|owner| owner.unwrap().node.incarnation);
        assert!(runs.eq(nodes.iter().map(Node::run)));
        let told: Vec<u64> = vigils.iter().map(|vigil| vigil.told()).collect();
        until("the vigils", async || vigils.iter().zip(&told).all(|(vigil, told)| vigil.told() > *told)).await;
    }
    for vigil in vigils {
        vigil.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_died_in_the_outage_is_waited_for_as_long_as_a_lease_and_no_longer() {
    let mut server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    let mut nodes = three(&cluster).await;
    worker.sees(&NAMES).await;
    server.stop();
    nodes.pop().unwrap().dies();
    server.restart().await;
    let begun = Instant::now();
    for node in &nodes {
        node.records_all().await;
    }
    until("the others", async || {
        nodes[0].records_all().await;
        nodes[1].records_all().await;
        worker.membership.stats().awaited.nodes.iter().map(|id| id.as_str()).eq(["n3"])
    })
    .await;
    worker.cannot_tell("u3").await;
    worker.stands().await;
    let waited = begun.elapsed();
    assert!(waited + MARGIN > TTL + MARGIN && waited < (TTL + MARGIN) * 4, "{waited:?}");
    assert_eq!(worker.owner("u3").await, None);
    assert!(worker.owner("u1").await.is_some() && worker.owner("u2").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_outlasts_every_lease_makes_nobody_offline() {
    let mut server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    let nodes = three(&cluster).await;
    worker.sees(&NAMES).await;
    let vigil = worker.never_misses(&USERS, "g", 3);
    until("an answer", async || vigil.told() > 0).await;
    server.stop();
    tokio::time::sleep(TTL + 2 * MARGIN).await;
    assert_eq!(worker.living().len(), 3, "the last view stands");
    assert!(worker.membership.look().await.is_err());
    server.restart().await;
    worker.waits_for(&NAMES).await;
    for node in &nodes {
        until("everybody", async || {
            node.records_all().await;
            !worker.membership.stats().awaited.nodes.contains(&node.lease.node().id)
        })
        .await;
    }
    let told = vigil.told();
    until("an answer", async || vigil.told() > told).await;
    vigil.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_while_it_runs_is_noticed() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    let nodes = three(&cluster).await;
    worker.sees(&NAMES).await;
    worker.settles().await;
    let before: Vec<_> = nodes.iter().map(Node::run).collect();
    let _: String = cluster.ask(&["FLUSHALL"]).await;
    worker.waits_for(&NAMES).await;
    for (node, before) in nodes.iter().zip(before) {
        node.lives_on(before).await;
        worker.cannot_tell("nobody").await;
        node.records_all().await;
    }
    worker.stands().await;
    for user in USERS {
        assert!(worker.owner(user).await.is_some());
    }
}
