//! An etcd that is away, comes back without its data, or stands still.

use std::time::Duration;

use gim_proxy_sdk::etcd::{EtcdOptions, Watcher};
use gim_proxy_sdk::testing::{DEADLINE, EtcdServer};
use tokio::time::Instant;

use super::world::{
    LONG_TTL, SHORT_TTL, entry, id, ids, is_registered, is_seeking, keys, lease_of, reached, says, seen, sees,
    standing, until,
};

/// Notices sooner, so that a test takes no longer than it must.
fn alert(server: &EtcdServer) -> EtcdOptions {
    server.options().keep_alive(Duration::from_millis(300)).call_timeout(Duration::from_secs(1))
}

#[tokio::test]
async fn while_etcd_is_away_the_list_stays_and_afterwards_it_goes_on() {
    let (mut server, keys) = (EtcdServer::start().await, keys());
    let watcher = Watcher::start(&alert(&server), &keys);
    let registrar = standing(&alert(&server), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    server.stop();
    until("that etcd is away", async || !watcher.is_connected() && registrar.stats().failures > 0).await;
    assert_eq!(ids(&watcher.snapshot()), ["n1"]);
    assert!(registrar.is_registered());
    server.restart().await;
    until("that etcd is back", async || watcher.is_connected()).await;
    let _other = standing(&alert(&server), &keys, "n2", LONG_TTL).await;
    sees(&watcher, &["n1", "n2"]).await;
    // The lease was kept, so the key was.
    assert_eq!((registrar.stats().regrants, registrar.stats().puts), (0, 1));
    assert!(watcher.stats().relists > 0);
}

#[tokio::test]
async fn an_etcd_that_comes_back_without_its_data_has_all_who_live_again() {
    let (mut server, keys) = (EtcdServer::start().await, keys());
    let watcher = Watcher::start(&alert(&server), &keys);
    let first = standing(&alert(&server), &keys, "n1", LONG_TTL).await;
    let second = standing(&alert(&server), &keys, "n2", LONG_TTL).await;
    sees(&watcher, &["n1", "n2"]).await;
    let before = watcher.snapshot().revision;
    server.stop();
    server.forget();
    server.restart().await;
    for registrar in [&first, &second] {
        until("another lease", async || registrar.stats().regrants > 0 && registrar.is_registered()).await;
    }
    until("the list", async || watcher.stats().relists > 0).await;
    sees(&watcher, &["n1", "n2"]).await;
    // Its revisions began anew: that must confuse nobody.
    assert!(watcher.snapshot().revision <= before + 2);
}

#[tokio::test]
async fn a_node_knows_that_its_key_is_gone_when_etcd_is_frozen_for_longer_than_the_lease() {
    let (server, keys) = (EtcdServer::start().await, keys());
    let ttl = Duration::from_secs(3);
    let registrar = standing(&alert(&server), &keys, "n1", ttl).await;
    let lost = lease_of(*registrar.state().borrow());
    server.freeze();
    let frozen = Instant::now();
    reached(&registrar, "that its key may be gone", is_seeking).await;
    // By its own clock, from the last answer on; none came after the freeze.
    assert!(frozen.elapsed() <= ttl + Duration::from_secs(1), "{:?}", frozen.elapsed());
    assert!(!registrar.is_registered());
    server.thaw();
    let anew = reached(&registrar, "that it is registered again", is_registered).await;
    let there = entry(&mut server.client().await, &keys, "n1").await.unwrap();
    assert_eq!(there.lease(), lease_of(anew));
    // Frozen for longer than it lasts, the old lease has ended. Whatever ends of it takes no key along.
    let mut client = server.client().await;
    until("the end of the old lease", async || {
        lost == lease_of(anew) || client.lease_time_to_live(lost, None).await.is_ok_and(|lease| lease.ttl() < 0)
    })
    .await;
    assert!(entry(&mut client, &keys, "n1").await.is_some());
}

#[tokio::test]
async fn a_short_freeze_costs_no_lease() {
    let (server, keys) = (EtcdServer::start().await, keys());
    let ttl = Duration::from_secs(9);
    let registrar = standing(&alert(&server), &keys, "n1", ttl).await;
    server.freeze();
    // An answer missing for a third of the lease is a way that is of no use.
    until("a failure", async || registrar.stats().failures > 0).await;
    assert!(registrar.is_registered());
    server.thaw();
    let before = *registrar.state().borrow();
    registrar.change(says(1));
    let after = reached(&registrar, "a later revision", |state| *state != before).await;
    assert_eq!(lease_of(after), lease_of(before));
    assert_eq!(registrar.stats().regrants, 0);
}

#[tokio::test]
async fn a_frozen_watch_is_noticed_and_what_was_missed_is_listed() {
    let (server, keys) = (EtcdServer::start().await, keys());
    let watcher = Watcher::start(&alert(&server), &keys);
    let gone = standing(&alert(&server), &keys, "n1", SHORT_TTL).await;
    sees(&watcher, &["n1"]).await;
    server.freeze();
    let frozen = Instant::now();
    until("that etcd is silent", async || !watcher.is_connected()).await;
    assert!(frozen.elapsed() < Duration::from_secs(3), "{:?}", frozen.elapsed());
    assert_eq!(ids(&watcher.snapshot()), ["n1"]);
    drop(gone);
    server.thaw();
    sees(&watcher, &[]).await;
    assert!(watcher.is_connected());
}

#[tokio::test]
async fn a_node_that_says_something_anew_while_etcd_is_away_is_heard_afterwards() {
    let (mut server, keys) = (EtcdServer::start().await, keys());
    let watcher = Watcher::start(&alert(&server), &keys);
    let registrar = standing(&alert(&server), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    server.stop();
    until("that etcd is away", async || registrar.stats().failures > 0).await;
    let anew = says(1);
    registrar.change(anew.clone());
    server.restart().await;
    seen(&watcher, "what it says anew", |snapshot| snapshot.node(&id("n1")) == Some(&anew)).await;
    assert!(registrar.standing(DEADLINE).await);
}
