//! Redis stands still, longer than leases last.

use std::time::Duration;

use gim_proxy_sdk::testing::RedisServer;
use tokio::time::Instant;

use super::world::{Cluster, MARGIN, Node, TTL, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_nobody_could_renew_make_nobody_offline() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    let mut nodes = cluster.nodes(["n1", "n2"]).await;
    for (node, user) in nodes.iter_mut().zip(["u1", "u2"]) {
        node.connect(user).await;
        node.holds("g").await;
    }
    worker.sees(&["n1", "n2"]).await;
    worker.settles().await;
    let vigil = worker.never_misses(&["u1", "u2"], "g", 2);
    until("an answer", async || vigil.told() > 0).await;
    let before: Vec<_> = nodes.iter().map(Node::run).collect();
    server.freeze();
    let begun = Instant::now();
    assert!(worker.membership.look().await.is_err());
    assert!(begun.elapsed() < TTL * 10, "every wait has an end");
    tokio::time::sleep((TTL + MARGIN).saturating_sub(begun.elapsed())).await;
    assert_eq!(worker.living().len(), 2, "the last view stands");
    server.thaw();
    for (node, before) in nodes.iter().zip(before) {
        node.lives_on(before).await;
        node.records_all().await;
    }
    let told = vigil.told();
    until("an answer", async || vigil.told() > told + 1).await;
    worker.stands().await;
    assert_eq!(worker.owner("nobody").await, None);
    vigil.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_stall_costs_nobody_anything() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    let mut node = cluster.node("n1").await;
    node.connect("u1").await;
    worker.settles().await;
    let run = node.run();
    server.freeze();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.thaw();
    worker.membership.look().await.unwrap();
    assert_eq!((worker.owner("nobody").await, node.run()), (None, run));
    assert!(worker.owner("u1").await.is_some());
}
