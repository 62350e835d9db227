//! Other kinds of Redis: keys of nodes lie on many servers, and a worker may do little.

use gim_proxy_sdk::testing::{RedisCluster, RedisServer, users_of};

use super::world::Cluster;

const DOCS: &str = include_str!("../../../../docs/redis.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_found_on_all_servers_of_a_cluster_and_where_they_move() {
    let redis = RedisCluster::start().await;
    let cluster = Cluster::with(redis.options());
    let worker = cluster.worker().await;
    let names = ["n1", "n2", "n3", "n4", "n5", "n6"];
    let mut nodes = cluster.nodes(names).await;
    nodes[5].connect("1").await;
    worker.sees(&names).await;
    redis.move_slot_of(&cluster.keys.node(&nodes[2].lease.node().id)).await;
    worker.sees(&names).await;
    assert_eq!(worker.owner("1").await.unwrap().node, *nodes[5].lease.node());
    nodes[2].lease.release().await.unwrap();
    worker.sees(&["n1", "n2", "n4", "n5", "n6"]).await;
    worker.stands().await;
}

#[tokio::test]
async fn the_users_of_the_documentation_may_look() {
    let server = RedisServer::start().await;
    for rules in users_of(DOCS) {
        server.set_user(&rules).await;
    }
    let as_user = |user: &str| {
        let options = server.options().username(user).password("secret");
        Cluster { keys: gim_proto::Keys::new("gim").unwrap(), ..Cluster::with(options) }
    };
    let worker = as_user("gim-worker").worker().await;
    let mut node = as_user("gim-node").node("n1").await;
    node.connect("1").await;
    node.holds("g").await;
    assert_eq!(worker.owner("1").await.unwrap().node, *node.lease.node());
    worker.sees(&["n1"]).await;
    worker.stands().await;
    assert_eq!(server.denials().await, []);
}
