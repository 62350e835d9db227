//! Nodes that come and go while Redis answers.

use std::time::Duration;

use gim_proxy_sdk::directory::Directory;
use gim_proxy_sdk::membership::MembershipOptions;
use gim_proxy_sdk::testing::RedisServer;
use serde_json::json;
use tokio::time::Instant;

use super::world::{Cluster, EVERY, NEVER, TTL, id, until};
use crate::directory::world::tgid;

#[tokio::test]
async fn nodes_and_workers_see_all_who_live_and_where_they_are() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    assert!(worker.living().is_empty() && worker.membership.proof().is_asserted(), "nobody is missing");
    let mut changed = worker.membership.changed();
    let nodes = cluster.nodes(["n1", "n2", "n3"]).await;
    worker.sees(&["n1", "n2", "n3"]).await;
    assert!(changed.has_changed().unwrap() && *changed.borrow_and_update() >= 1);
    let view = worker.membership.live().view();
    let member = view.member(&nodes[1].run()).unwrap();
    assert_eq!((&*member.rpc, &*member.public, member.node.id.as_str()), ("n2:8091", "n2:8080", "n2"));
    assert!(member.started_ms > 0 && !member.version.is_empty());
    // Nothing changes: nothing is said.
    worker.membership.look().await.unwrap();
    worker.membership.look().await.unwrap();
    assert!(!changed.has_changed().unwrap());
    nodes[2].lease.release().await.unwrap();
    worker.sees(&["n1", "n2"]).await;
    assert!(worker.membership.is_dead(&nodes[2].run()) && !worker.membership.is_dead(&nodes[0].run()));
    worker.settles().await;
}

#[tokio::test]
async fn a_node_that_dies_is_offline_when_its_lease_ends_and_holds_nobody_up() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    let mut nodes = cluster.nodes(["n1", "n2"]).await;
    nodes[0].connect("stays").await;
    nodes[1].connect("goes").await;
    for node in &mut nodes {
        node.holds("g").await;
    }
    worker.settles().await;
    assert_eq!(worker.directory.holders(&[tgid("g")]).await.unwrap().len(), 2);
    let begun = Instant::now();
    nodes.pop().unwrap().dies();
    // Whoever asks is told, all the time: an error would hold up a lane.
    while worker.owner("goes").await.is_some() {
        assert!(worker.owner("stays").await.is_some() && worker.owner("nobody").await.is_none());
        assert!(begun.elapsed() < TTL * 5, "its lease has to end");
    }
    assert!(begun.elapsed() > TTL / 2, "not before its lease ended");
    worker.sees(&["n1"]).await;
    let holders = worker.directory.holders(&[tgid("g")]).await.unwrap();
    assert_eq!(holders, [(*nodes[0].lease.node()).clone()]);
    // It comes back, and its user with it.
    let mut again = cluster.node("n2").await;
    assert_eq!(again.connect("goes").await, None, "nobody has to be told to end");
    assert_eq!(worker.owner("goes").await.unwrap().node.incarnation, again.run());
}

#[tokio::test]
async fn many_who_want_a_look_share_it_and_it_began_after_they_asked() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let options = MembershipOptions { every: NEVER, ..cluster.watching() };
    let worker = cluster.worker_with(options, None).await;
    let before = worker.membership.stats().looks;
    let looks = futures_util::future::join_all((0..1_000).map(|_| worker.membership.look())).await;
    assert!(looks.iter().all(Result::is_ok));
    let taken = worker.membership.stats().looks - before;
    assert!((1..20).contains(&taken), "{taken}");
    let _node = cluster.node("n1").await;
    assert!(worker.living().is_empty());
    worker.membership.look().await.unwrap();
    assert_eq!(worker.living().len(), 1);
}

#[tokio::test]
async fn a_record_of_an_earlier_version_is_read_and_its_node_waited_for() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    worker.settles().await;
    let run = gim_proto::Incarnation::mint();
    let record = json!({
        "incarnation": run, "worker": run, "rpc": "old:1", "public": "old:2", "version": "0.0.9", "started_ms": 5
    });
    set(&cluster, "old", &record.to_string(), TTL).await;
    worker.sees(&["old"]).await;
    assert_eq!(&*worker.membership.live().view().member(&run).unwrap().rpc, "old:1");
    worker.waits_for(&["old"]).await;
    worker.cannot_tell("nobody").await;
    // Its lease ends: Redis says that it is dead.
    worker.stands().await;
    assert_eq!(worker.owner("nobody").await, None);
}

#[tokio::test]
async fn a_record_of_a_newer_version_is_left_out_and_nobody_is_offline_meanwhile() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = cluster.worker().await;
    worker.settles().await;
    for (text, name) in [(r#"{"schema":2,"who":"knows"}"#, "newer"), ("not a record", "broken")] {
        set(&cluster, name, text, TTL).await;
        until("the record", async || worker.membership.stats().unreadable == 1).await;
        assert!(worker.living().is_empty());
        worker.waits_for(&[name]).await;
        worker.cannot_tell("nobody").await;
        worker.stands().await;
        assert_eq!(worker.membership.stats().unreadable, 0);
    }
    assert_eq!(worker.owner("nobody").await, None);
}

/// Writes a record as a node does, for as long as a lease.
async fn set(cluster: &Cluster, name: &str, text: &str, ttl: Duration) {
    let run = format!("run:{}", gim_proto::Incarnation::mint());
    let _: i64 = cluster.ask(&["HSET", &cluster.keys.meta(), &run, name]).await;
    let ttl = ttl.as_millis().to_string();
    let _: String = cluster.ask(&["SET", &cluster.keys.node(&id(name)), text, "PX", &ttl]).await;
    assert!(EVERY < TTL);
}
