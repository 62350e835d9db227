//! Many processes sweep: one at a time, and another one when that is gone.

use std::sync::Arc;

use futures_util::future::join_all;
use gim_proxy_sdk::directory::Directory;
use gim_proxy_sdk::directory::redis::RedisDirectory;
use gim_proxy_sdk::testing::RedisServer;

use super::world::{Cluster, Node, until};

const USERS: usize = 600;

/// A dead node with users, and the others.
async fn after_a_death(cluster: &Cluster) -> (String, Vec<Node>) {
    let mut nodes = cluster.nodes(["n1", "n2", "n3"]).await;
    let mut dead = cluster.node("n4").await;
    for user in 0..USERS {
        dead.connect(&user.to_string()).await;
    }
    nodes[0].connect("stays").await;
    let run = format!("run:{}", dead.run());
    dead.lease.release().await.unwrap();
    dead.dies();
    for node in &nodes {
        node.party.sees(&["n1", "n2", "n3"]).await;
    }
    (run, nodes)
}

async fn is_registered(cluster: &Cluster, run: &str) -> bool {
    cluster.ask(&["HEXISTS", &cluster.keys.meta(), run]).await
}

fn swept(nodes: &[Node]) -> Vec<u64> {
    nodes.iter().map(|node| node.party.directory.stats().swept).collect()
}

#[tokio::test]
async fn of_many_who_sweep_one_does_the_work() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let (run, nodes) = after_a_death(&cluster).await;
    until("the end of the sweep", async || {
        let swept = join_all(nodes.iter().map(|node| node.party.directory.sweep())).await;
        assert!(swept.iter().all(Result::is_ok));
        !is_registered(&cluster, &run).await
    })
    .await;
    let mut swept = swept(&nodes);
    swept.sort_unstable();
    assert_eq!(swept, [0, 0, USERS as u64]);
    assert!(nodes[1].party.owner("stays").await.is_some());
}

#[tokio::test]
async fn a_sweep_that_was_left_half_done_is_gone_on_with() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let (run, nodes) = after_a_death(&cluster).await;
    let first: &Arc<RedisDirectory> = &nodes[0].party.directory;
    until("a beginning", async || {
        first.sweep().await.unwrap();
        first.stats().swept > 0
    })
    .await;
    assert!(is_registered(&cluster, &run).await, "much is left");
    // It sweeps no more.
    until("the end of the sweep", async || {
        nodes[1].party.directory.sweep().await.unwrap();
        !is_registered(&cluster, &run).await
    })
    .await;
    let swept = swept(&nodes);
    assert!(swept[1] > 0 && swept.iter().sum::<u64>() == USERS as u64, "{swept:?}");
}
