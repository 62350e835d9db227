//! An etcd of three members, some of them dead or frozen.

use std::time::Duration;

use gim_proxy_sdk::etcd::{EtcdOptions, Registrar, Watcher};
use gim_proxy_sdk::testing::{DEADLINE, EtcdSet};
use tokio::time::Instant;

use super::world::{LONG_TTL, id, ids, is_registered, is_seeking, keys, reached, says, seen, sees, standing, until};

fn alert(options: EtcdOptions) -> EtcdOptions {
    options.keep_alive(Duration::from_millis(300)).call_timeout(Duration::from_secs(2))
}

#[tokio::test]
async fn a_member_that_is_dead_or_frozen_holds_nobody_up() {
    let (mut set, keys) = (EtcdSet::start().await, keys());
    let options = alert(set.options());
    set.stop(0);
    for round in 0..4 {
        let begun = Instant::now();
        let watcher = Watcher::start(&options, &keys);
        assert!(watcher.first(DEADLINE).await.is_some());
        // An election fits in, the bound on a call does not fit in twice.
        assert!(begun.elapsed() < Duration::from_secs(4), "{round}: {:?}", begun.elapsed());
    }
    set.restart(0).await;
    set.freeze(1);
    until("that the others have a leader", async || watches(&set.options_of(2), &keys).await).await;
    // Whoever asked the frozen one and waited for it would take this long at the least.
    let patient = set.options().call_timeout(Duration::from_secs(5));
    for round in 0..8 {
        let begun = Instant::now();
        let registrar = Registrar::start(&patient, &keys, id("n1"), says(round), LONG_TTL);
        assert!(registrar.standing(DEADLINE).await);
        assert!(begun.elapsed() < patient.deadline(), "{round}: {:?}", begun.elapsed());
    }
}

async fn watches(options: &EtcdOptions, keys: &gim_proto::Keys) -> bool {
    Watcher::start(options, keys).first(Duration::from_secs(1)).await.is_some()
}

#[tokio::test]
async fn nodes_stay_registered_and_seen_while_one_member_after_another_freezes() {
    let (set, keys) = (EtcdSet::start().await, keys());
    let options = alert(set.options());
    let watcher = Watcher::start(&options, &keys);
    let registrar = standing(&options, &keys, "n1", Duration::from_secs(12)).await;
    sees(&watcher, &["n1"]).await;
    for member in 0..3 {
        set.freeze(member);
        let anew = says(1);
        registrar.change(anew.clone());
        seen(&watcher, "a change", |snapshot| snapshot.node(&id("n1")) == Some(&anew)).await;
        assert!(registrar.is_registered());
        set.thaw(member);
    }
    assert_eq!(registrar.stats().regrants, 0);
}

#[tokio::test]
async fn nodes_stay_registered_and_seen_while_one_member_after_another_is_restarted() {
    let (mut set, keys) = (EtcdSet::start().await, keys());
    let options = alert(set.options());
    let watcher = Watcher::start(&options, &keys);
    let registrar = standing(&options, &keys, "n1", Duration::from_secs(12)).await;
    sees(&watcher, &["n1"]).await;
    for member in 0..3 {
        set.stop(member);
        let anew = says(1);
        registrar.change(anew.clone());
        seen(&watcher, "a change", |snapshot| snapshot.node(&id("n1")) == Some(&anew)).await;
        assert!(registrar.is_registered());
        set.restart(member).await;
    }
    assert_eq!(registrar.stats().regrants, 0);
}

#[tokio::test]
async fn without_a_majority_nothing_changes_until_there_is_one_again() {
    let (set, keys) = (EtcdSet::start().await, keys());
    let options = alert(set.options());
    let watcher = Watcher::start(&options, &keys);
    let registrar = standing(&options, &keys, "n1", Duration::from_secs(3)).await;
    sees(&watcher, &["n1"]).await;
    set.freeze(0);
    set.freeze(1);
    reached(&registrar, "that its key may be gone", is_seeking).await;
    assert_eq!(ids(&watcher.snapshot()), ["n1"]);
    set.thaw(0);
    set.thaw(1);
    reached(&registrar, "that it is registered again", is_registered).await;
    until("a list", async || watcher.is_connected()).await;
    sees(&watcher, &["n1"]).await;
}

#[tokio::test]
async fn what_was_missed_and_compacted_away_is_listed() {
    let (set, keys) = (EtcdSet::start().await, keys());
    let watcher = Watcher::start(&alert(set.options_of(0)), &keys);
    let first = standing(&alert(set.options_of(1)), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    set.freeze(0);
    until("that its member is silent", async || !watcher.is_connected()).await;
    until("that the others have a leader", async || watches(&set.options_of(1), &keys).await).await;
    let _second = standing(&alert(set.options_of(1)), &keys, "n2", LONG_TTL).await;
    first.leave().await;
    let mut client = etcd_client::Client::connect([set.endpoint(1)], None).await.unwrap();
    let revision = client.get("k", None).await.unwrap().header().unwrap().revision();
    client.compact(revision, None).await.unwrap();
    set.thaw(0);
    sees(&watcher, &["n2"]).await;
}
