//! What etcd names: where to look further, and who may be missing.

use std::collections::BTreeSet;
use std::sync::Arc;

use gim_proto::NodeId;
use gim_proxy_sdk::membership::{Membership, MembershipOptions, Names};
use gim_proxy_sdk::testing::RedisServer;
use tokio::sync::watch;
use tokio::time::Instant;

use super::world::{Cluster, MARGIN, NEVER, TTL, id, until};

fn names(names: &[&str]) -> Arc<BTreeSet<NodeId>> {
    Arc::new(names.iter().map(|name| id(name)).collect())
}

#[tokio::test]
async fn a_node_that_is_named_and_missing_is_waited_for_as_long_as_a_lease() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let named = watch::Sender::new(names(&["n1", "n9"]));
    let _node = cluster.node("n1").await;
    let begun = Instant::now();
    let worker = cluster.worker_with(cluster.watching(), Some(named.subscribe())).await;
    worker.waits_for(&["n9"]).await;
    worker.cannot_tell("nobody").await;
    worker.stands().await;
    assert!(begun.elapsed() >= TTL, "{:?}", begun.elapsed());
    assert_eq!(worker.owner("nobody").await, None);
    // Redis has answered all the while: who is named now and not there has nothing there.
    named.send_replace(names(&["n1", "n8", "n9"]));
    worker.membership.look().await.unwrap();
    assert_eq!(worker.owner("nobody").await, None);
    // Nobody says any more who is there: the last word stands.
    drop(named);
    worker.membership.look().await.unwrap();
    assert!(worker.membership.proof().is_asserted());
}

#[tokio::test]
async fn a_node_that_is_named_and_missing_may_come() {
    let mut server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let mut node = cluster.node("n1").await;
    node.connect("1").await;
    // The worker has never seen it, and Redis forgets it.
    let run = node.run();
    server.restart().await;
    let named = watch::Sender::new(names(&["n1"]));
    let worker = cluster.worker_with(cluster.watching(), Some(named.subscribe())).await;
    worker.waits_for(&["n1"]).await;
    worker.cannot_tell("1").await;
    node.lives_on(run).await;
    node.records_all().await;
    worker.stands().await;
    assert_eq!(worker.owner("1").await.unwrap().node, *node.lease.node());
}

#[tokio::test]
async fn a_hint_has_it_look_at_once_and_where_nobody_is_registered() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let named = watch::Sender::new(names(&[]));
    let options = MembershipOptions { every: NEVER, ..cluster.watching() };
    let worker = cluster.worker_with(options, Some(named.subscribe())).await;
    let node = cluster.node("n1").await;
    // Until its next renewal.
    let _: i64 = cluster.ask(&["HDEL", &cluster.keys.meta(), &format!("run:{}", node.run())]).await;
    named.send_replace(names(&["n1"]));
    worker.sees(&["n1"]).await;
}

/// A list that is not there yet.
struct List(Option<Vec<NodeId>>);

impl Names for List {
    fn names(&self) -> Vec<NodeId> {
        self.0.clone().unwrap_or_default()
    }

    fn are_known(&self) -> bool {
        self.0.is_some()
    }
}

#[tokio::test]
async fn while_it_is_not_known_who_is_there_nobody_is_offline() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let lists = watch::Sender::new(Arc::new(List(None)));
    let of = || Membership::start(&cluster.store, Some(lists.subscribe()), None, cluster.watching());
    let told = of().await.unwrap();
    assert!(told.stats().awaited.names && !told.proof().is_asserted());
    lists.send_replace(Arc::new(List(Some(Vec::new()))));
    until("the list", async || told.proof().is_asserted()).await;
    // An etcd that is away at first holds nobody up for longer than a lease lasts.
    lists.send_replace(Arc::new(List(None)));
    let begun = Instant::now();
    let never_told = of().await.unwrap();
    assert!(!never_told.proof().is_asserted());
    until("the end of the wait", async || never_told.proof().is_asserted()).await;
    assert!(begun.elapsed() + MARGIN >= TTL + MARGIN);
}
