//! What a node says of itself: that everything it holds is recorded, and in which runs of Redis.

use std::time::Duration;

use gim_proto::NodeId;
use gim_proxy_sdk::lease::{LeaseOptions, LeaseState, NodeLease, NodeRecord, SCHEMA};
use gim_proxy_sdk::testing::{DEADLINE, RedisServer, shared_redis};
use tokio::time::timeout;

use super::{Holder, World, next};

async fn record(world: &World<'_>) -> NodeRecord {
    let key = world.keys.node(&NodeId::parse("n1").unwrap());
    NodeRecord::read(world.ask::<String>(&["GET", &key]).await.as_bytes()).unwrap()
}

async fn says(world: &World<'_>, asserted: Option<&str>) -> NodeRecord {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let said = async {
        loop {
            ticks.tick().await;
            let record = record(world).await;
            if record.asserted.as_deref() == asserted {
                return record;
            }
        }
    };
    timeout(DEADLINE, said).await.unwrap()
}

fn held(lease: &NodeLease) -> String {
    let LeaseState::Held { runs, .. } = lease.state().borrow().clone() else { panic!("held") };
    runs.name()
}

#[tokio::test]
async fn a_node_that_holds_nothing_yet_has_recorded_all_of_it() {
    let world = World::on(shared_redis().await);
    let (lease, _) = world.join("n1", &Holder::default()).await.unwrap();
    assert!(lease.proof().is_asserted());
    let record = record(&world).await;
    assert_eq!((record.schema, record.asserted), (SCHEMA, Some(held(&lease))));
}

#[tokio::test]
async fn what_is_recorded_is_said_at_once_and_taken_back_with_a_new_incarnation() {
    let mut server = RedisServer::start().await;
    let keys = World::on(&server).keys;
    let options = LeaseOptions {
        // Not by chance: only on alarm.
        renew: DEADLINE * 100,
        ttl: DEADLINE * 200,
        ..LeaseOptions::clustered(NodeId::parse("n1").unwrap(), "127.0.0.1:1", "127.0.0.1:2")
    };
    let (lease, _) = NodeLease::acquire(&server.store(), &keys, options, &Holder::default()).await.unwrap();
    let before = lease.node();
    server.restart().await;
    let world = World { server: &server, keys };
    assert!(lease.proof().confirm(lease.proof().begin()).await.is_err(), "this rings");
    next(&lease, |state| matches!(state, LeaseState::Held { node, .. } if *node != before)).await;
    let record = says(&world, None).await;
    assert_eq!(record.incarnation, lease.node().incarnation);
    let (since, runs) = (lease.proof().begin(), lease.state().borrow().clone());
    let LeaseState::Held { runs, .. } = runs else { panic!("held") };
    lease.proof().assert(since, runs.clone());
    let record = says(&world, Some(&runs.name())).await;
    assert_eq!(record.incarnation, lease.node().incarnation, "the same run");
    let key = world.keys.node(&NodeId::parse("n1").unwrap());
    assert!(world.ask::<i64>(&["PTTL", &key]).await > 0, "it passes still");
    lease.release().await.unwrap();
    assert!(!world.ask::<bool>(&["EXISTS", &key]).await);
}

#[tokio::test]
async fn a_record_that_says_more_than_its_node_knows_is_its_own_all_the_same() {
    let world = World::on(shared_redis().await);
    let (lease, _) = world.join("n1", &Holder::default()).await.unwrap();
    let (incarnation, key) = (lease.node().incarnation, world.keys.node(&NodeId::parse("n1").unwrap()));
    // As after a renewal whose answer was lost, or by another version.
    let said = NodeRecord { asserted: Some("other".to_owned()), ..record(&world).await };
    let _: String = world.ask(&["SET", &key, &serde_json::to_string(&said).unwrap(), "PX", "10000"]).await;
    says(&world, Some(&held(&lease))).await;
    assert_eq!(lease.node().incarnation, incarnation);
    let _: String = world.ask(&["SET", &key, &serde_json::to_string(&said).unwrap(), "PX", "10000"]).await;
    lease.release().await.unwrap();
    assert!(!world.ask::<bool>(&["EXISTS", &key]).await);
}

#[tokio::test]
async fn a_full_redis_lets_the_lease_go_on_and_hears_the_rest_later() {
    let server = RedisServer::start().await;
    let world = World::on(&server);
    let (lease, _) = world.join("n1", &Holder::default()).await.unwrap();
    let (incarnation, key) = (lease.node().incarnation, world.keys.node(&NodeId::parse("n1").unwrap()));
    let said = NodeRecord { asserted: Some("other".to_owned()), ..record(&world).await };
    let _: String = world.ask(&["SET", &key, &serde_json::to_string(&said).unwrap(), "PX", "3600000"]).await;
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let renewed = async {
        while world.ask::<i64>(&["PTTL", &key]).await > 10_000 {
            ticks.tick().await;
        }
    };
    timeout(DEADLINE, renewed).await.unwrap();
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    says(&world, Some(&held(&lease))).await;
    assert_eq!(lease.node().incarnation, incarnation, "it was never lost");
}
