//! Runs that are met before the view knows them, and runs that are dead.

use gim_proto::Incarnation;
use gim_proxy_sdk::directory::{Claim, Directory, Freshness, NodeRef, OnDuplicate};
use gim_proxy_sdk::membership::MembershipOptions;
use gim_proxy_sdk::testing::RedisServer;

use super::world::{Cluster, NEVER, Party, TTL, id, until};
use crate::directory::world::{tgid, uid};

/// A worker that looks only when it has to.
async fn lazy(cluster: &Cluster) -> Party {
    let options = MembershipOptions { every: NEVER, ..cluster.watching() };
    cluster.worker_with(options, None).await
}

#[tokio::test]
async fn a_node_that_has_just_begun_is_found_by_whoever_meets_it_first() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let [by_lookup, by_cache, by_group] = [lazy(&cluster).await, lazy(&cluster).await, lazy(&cluster).await];
    let mut node = cluster.node("n1").await;
    node.connect("1").await;
    node.holds("g").await;
    assert!(by_lookup.living().is_empty());
    assert_eq!(by_lookup.owner("1").await.unwrap().node, *node.lease.node());
    let owners = by_cache.directory.lookup(&[uid("1")], Freshness::Cached).await.unwrap();
    assert_eq!(owners[0].as_ref().unwrap().node, *node.lease.node());
    assert_eq!(by_group.directory.holders(&[tgid("g")]).await.unwrap(), [(*node.lease.node()).clone()]);
    for worker in [by_lookup, by_cache, by_group] {
        assert_eq!(worker.living().len(), 1);
        let looks = worker.membership.stats().looks;
        worker.owner("1").await.unwrap();
        worker.owner("nobody").await;
        assert_eq!(worker.membership.stats().looks, looks, "what is known costs nothing");
    }
}

#[tokio::test]
async fn a_claim_meets_the_session_of_a_node_that_has_just_begun() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let [replacing, rejected] = [lazy(&cluster).await, lazy(&cluster).await];
    let mut node = cluster.node("n1").await;
    for name in ["1", "2"] {
        node.connect(name).await;
    }
    let there = NodeRef { id: id("n2"), incarnation: Incarnation::mint() };
    let taken = rejected.claim("1", &there, OnDuplicate::Reject).await;
    let Claim::Taken { owner } = taken else { panic!("{taken:?}") };
    assert_eq!(owner.node, *node.lease.node());
    let granted = replacing.claim("2", &there, OnDuplicate::Replace).await;
    let Claim::Granted { previous: Some(previous), .. } = granted else { panic!("{granted:?}") };
    assert_eq!(previous.node, *node.lease.node());
}

#[tokio::test]
async fn dead_runs_are_asked_about_once() {
    let server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let mut node = cluster.node("n1").await;
    for name in ["1", "2", "3"] {
        node.connect(name).await;
    }
    node.holds("g").await;
    let run = node.run();
    node.lease.release().await.unwrap();
    let worker = lazy(&cluster).await;
    until("the end of the wait for it", async || {
        worker.membership.look().await.unwrap();
        worker.membership.proof().is_asserted()
    })
    .await;
    assert!(!worker.membership.is_dead(&run), "nobody has met it");
    assert_eq!(worker.owner("1").await, None);
    assert!(worker.membership.is_dead(&run));
    let looks = worker.membership.stats().looks;
    let there = NodeRef { id: id("n2"), incarnation: Incarnation::mint() };
    for name in ["1", "2", "3"] {
        assert_eq!(worker.owner(name).await, None);
        let granted = worker.claim(name, &there, OnDuplicate::Reject).await;
        assert!(matches!(granted, Claim::Granted { previous: None, .. }), "{granted:?}");
    }
    assert_eq!(worker.directory.holders(&[tgid("g")]).await.unwrap(), []);
    // One of its own may come in between; seven calls asked for none.
    let asked = worker.membership.stats().looks - looks;
    assert!(asked <= 1, "{asked} looks");
    assert_eq!(worker.membership.stats().dead, 1);
}

#[tokio::test]
async fn while_nobody_can_tell_a_stranger_is_not_dead() {
    let mut server = RedisServer::start().await;
    let cluster = Cluster::on(&server);
    let worker = lazy(&cluster).await;
    let mut node = cluster.node("n1").await;
    node.connect("1").await;
    server.stop();
    worker.cannot_tell("1").await;
    assert!(!worker.membership.is_dead(&node.run()));
    assert!(worker.membership.look().await.is_err());
    assert!(worker.membership.stats().failed >= 1 && TTL < NEVER);
}
