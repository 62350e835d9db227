//! A node's key: who writes it, who takes it away, and who does not.

use std::time::Duration;

use gim_proxy_sdk::etcd::{EtcdOptions, Registrar, RegistrarState, Watcher};
use gim_proxy_sdk::testing::{DEADLINE, EtcdServer, free_port, shared_etcd};
use tokio::time::Instant;

use super::world::{
    LONG_TTL, SHORT_TTL, entry, id, is_registered, is_seeking, keys, lease_of, reached, says, seen, sees, standing,
    until,
};

#[tokio::test]
async fn a_node_is_registered_under_its_lease_as_it_says() {
    let (server, keys) = (shared_etcd().await, keys());
    let own = says(7);
    let registrar = Registrar::start(&server.options(), &keys, id("n1"), own.clone(), LONG_TTL);
    assert!(registrar.standing(DEADLINE).await);
    let state = *registrar.state().borrow();
    let there = entry(&mut server.client().await, &keys, "n1").await.unwrap();
    assert_eq!((there.lease(), there.value()), (lease_of(state), &serde_json::to_vec(&own).unwrap()[..]));
    assert!(registrar.is_registered());
    assert_eq!((registrar.stats().regrants, registrar.stats().puts), (0, 1));
}

#[tokio::test]
async fn what_a_node_says_anew_is_told_to_those_who_watch() {
    let (server, keys) = (shared_etcd().await, keys());
    let watcher = Watcher::start(&server.options(), &keys);
    let registrar = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    let before = *registrar.state().borrow();
    let anew = says(1);
    registrar.change(anew.clone());
    seen(&watcher, "what it says anew", |snapshot| snapshot.node(&id("n1")) == Some(&anew)).await;
    let after = reached(&registrar, "a later revision", |state| *state != before).await;
    assert_eq!(lease_of(after), lease_of(before));
}

#[tokio::test]
async fn a_node_that_leaves_is_gone_at_once() {
    let (server, keys) = (shared_etcd().await, keys());
    let watcher = Watcher::start(&server.options(), &keys);
    let registrar = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    registrar.leave().await;
    assert_eq!(*registrar.state().borrow(), RegistrarState::Left);
    assert!(entry(&mut server.client().await, &keys, "n1").await.is_none());
    sees(&watcher, &[]).await;
    // That is final.
    registrar.change(says(2));
    assert!(!registrar.standing(DEADLINE).await && !registrar.is_registered());
}

#[tokio::test]
async fn a_node_that_ends_without_leaving_is_gone_with_its_lease() {
    let (server, keys) = (shared_etcd().await, keys());
    let watcher = Watcher::start(&server.options(), &keys);
    let registrar = standing(&server.options(), &keys, "n1", SHORT_TTL).await;
    sees(&watcher, &["n1"]).await;
    drop(registrar);
    sees(&watcher, &[]).await;
}

#[tokio::test]
async fn a_lease_is_renewed_as_long_as_the_node_is_there() {
    let (server, keys) = (shared_etcd().await, keys());
    let registrar = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    let lease = lease_of(*registrar.state().borrow());
    let short = standing(&server.options(), &keys, "n2", SHORT_TTL).await;
    let mut client = server.client().await;
    // Far longer than it lasts without renewal. There is no event to wait for.
    tokio::time::sleep(SHORT_TTL * 3).await;
    assert!(short.is_registered() && entry(&mut client, &keys, "n2").await.is_some());
    let left = client.lease_time_to_live(lease, None).await.unwrap().ttl();
    assert!(left > 40, "{left}");
}

#[tokio::test]
async fn who_leaves_deletes_nobody_elses_key() {
    let (server, keys) = (shared_etcd().await, keys());
    let first = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    let later = says(2);
    let second = Registrar::start(&server.options(), &keys, id("n1"), later.clone(), LONG_TTL);
    assert!(second.standing(DEADLINE).await);
    first.leave().await;
    let there = entry(&mut server.client().await, &keys, "n1").await.unwrap();
    assert_eq!(there.value(), serde_json::to_vec(&later).unwrap());
    assert!(second.is_registered());
}

#[tokio::test]
async fn a_process_that_started_earlier_waits_until_the_later_one_is_gone() {
    let (server, keys) = (shared_etcd().await, keys());
    let ttl = Duration::from_secs(2);
    let first = standing(&server.options(), &keys, "n1", ttl).await;
    let second = Registrar::start(&server.options(), &keys, id("n1"), says(2), ttl);
    assert!(second.standing(DEADLINE).await);
    reached(&first, "that it lost its key", is_seeking).await;
    assert!(second.is_registered() && !first.is_registered());
    second.leave().await;
    reached(&first, "that it has its key again", is_registered).await;
}

#[tokio::test]
async fn a_key_that_somebody_deletes_stands_again() {
    let (server, keys) = (shared_etcd().await, keys());
    let registrar = standing(&server.options(), &keys, "n1", Duration::from_secs(2)).await;
    let mut client = server.client().await;
    client.delete(keys.etcd_node(&id("n1")), None).await.unwrap();
    until("the key", async || entry(&mut client, &keys, "n1").await.is_some()).await;
    assert_eq!(registrar.stats().regrants, 0);
}

#[tokio::test]
async fn a_lease_that_is_lost_is_replaced() {
    let (server, keys) = (shared_etcd().await, keys());
    let registrar = standing(&server.options(), &keys, "n1", Duration::from_secs(2)).await;
    let lost = lease_of(*registrar.state().borrow());
    server.client().await.lease_revoke(lost).await.unwrap();
    let anew = reached(&registrar, "another lease", |state| is_registered(state) && lease_of(*state) != lost).await;
    let there = entry(&mut server.client().await, &keys, "n1").await.unwrap();
    assert_eq!(there.lease(), lease_of(anew));
    assert_eq!(registrar.stats().regrants, 1);
}

#[tokio::test]
async fn a_node_that_starts_before_etcd_is_registered_when_it_comes() {
    let (mut server, keys) = (EtcdServer::start().await, keys());
    server.stop();
    let registrar = Registrar::start(&server.options(), &keys, id("n1"), says(1), LONG_TTL);
    until("a failure", async || registrar.stats().failures > 0).await;
    assert!(!registrar.is_registered());
    server.restart().await;
    assert!(registrar.standing(DEADLINE).await);
}

#[tokio::test]
async fn leaving_an_etcd_that_is_away_or_frozen_ends_in_time() {
    let keys = keys();
    let nowhere = EtcdOptions::new([format!("http://127.0.0.1:{}", free_port())]);
    let server = EtcdServer::start().await;
    let options = server.options().call_timeout(Duration::from_secs(1));
    let frozen = standing(&options, &keys, "n1", LONG_TTL).await;
    server.freeze();
    for registrar in [Registrar::start(&nowhere, &keys, id("n2"), says(1), LONG_TTL), frozen] {
        let begun = Instant::now();
        registrar.leave().await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(*registrar.state().borrow(), RegistrarState::Left);
    }
}
