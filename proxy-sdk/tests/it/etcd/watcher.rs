//! The list of nodes: what it has, whom it wakes, and what it passes over.

use std::time::Duration;

use gim_proxy_sdk::etcd::{EtcdOptions, Watcher};
use gim_proxy_sdk::testing::{DEADLINE, free_port, shared_etcd};

use super::world::{LONG_TTL, id, ids, keys, says, seen, sees, standing, until};

#[tokio::test]
async fn the_list_has_those_who_were_there_and_those_who_come_and_go() {
    let (server, keys) = (shared_etcd().await, keys());
    let first = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    let watcher = Watcher::start(&server.options(), &keys);
    let snapshot = watcher.first(DEADLINE).await.unwrap();
    assert_eq!(ids(&snapshot), ["n1"]);
    let _second = standing(&server.options(), &keys, "n2", LONG_TTL).await;
    sees(&watcher, &["n1", "n2"]).await;
    first.leave().await;
    sees(&watcher, &["n2"]).await;
    // A snapshot that somebody holds stays as it is.
    assert_eq!(ids(&snapshot), ["n1"]);
    assert!(watcher.is_connected() && watcher.snapshot().revision > snapshot.revision);
    assert_eq!(watcher.stats().relists, 0);
}

#[tokio::test]
async fn an_empty_list_is_told_apart_from_none() {
    let (server, keys) = (shared_etcd().await, keys());
    let watcher = Watcher::start(&server.options(), &keys);
    let empty = watcher.first(DEADLINE).await.unwrap();
    assert!(empty.is_known() && empty.nodes().is_empty());
    let nowhere = EtcdOptions::new([format!("http://127.0.0.1:{}", free_port())]);
    let watcher = Watcher::start(&nowhere, &keys);
    assert!(watcher.first(Duration::from_millis(300)).await.is_none());
    assert!(!watcher.snapshot().is_known() && !watcher.is_connected());
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_over_and_stops_nobody() {
    let (server, keys) = (shared_etcd().await, keys());
    let mut client = server.client().await;
    client.put(keys.etcd_node(&id("nonsense")), "{", None).await.unwrap();
    let watcher = Watcher::start(&server.options(), &keys);
    assert!(watcher.first(DEADLINE).await.unwrap().nodes().is_empty());
    let later = serde_json::to_string(&says(1)).unwrap().replace("\"schema\":1", "\"schema\":2");
    client.put(keys.etcd_node(&id("later")), later, None).await.unwrap();
    client.put(format!("{}no node/at all", keys.etcd_nodes()), "{}", None).await.unwrap();
    let _node = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    assert_eq!(watcher.stats().unreadable, 3);
    // Once it can be read it counts, and once it cannot it does not.
    let text = serde_json::to_vec(&says(1)).unwrap();
    client.put(keys.etcd_node(&id("nonsense")), text, None).await.unwrap();
    sees(&watcher, &["n1", "nonsense"]).await;
    client.put(keys.etcd_node(&id("nonsense")), "", None).await.unwrap();
    sees(&watcher, &["n1"]).await;
}

#[tokio::test]
async fn who_waits_is_woken_by_a_difference_only() {
    let (server, keys) = (shared_etcd().await, keys());
    let mut client = server.client().await;
    let watcher = Watcher::start(&server.options(), &keys);
    let text = serde_json::to_vec(&says(1)).unwrap();
    for _ in 0..10 {
        client.put(keys.etcd_node(&id("n1")), text.clone(), None).await.unwrap();
    }
    client.put(keys.etcd_node(&id("n2")), text, None).await.unwrap();
    sees(&watcher, &["n1", "n2"]).await;
    // Without any, with the first, with both; fewer if the list came late.
    assert!(watcher.stats().snapshots <= 3, "{:?}", watcher.stats());
}

#[tokio::test]
async fn a_watch_that_nothing_happens_on_is_kept() {
    let (server, keys) = (shared_etcd().await, keys());
    let watcher = Watcher::start(&server.options().keep_alive(Duration::from_millis(400)), &keys);
    watcher.first(DEADLINE).await.unwrap();
    // Some signs of life. There is no event to wait for.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(watcher.is_connected());
    let _node = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    assert_eq!(watcher.stats().relists, 0);
}

#[tokio::test]
async fn a_watcher_ends_with_its_last_handle() {
    let (server, keys) = (shared_etcd().await, keys());
    let watcher = Watcher::start(&server.options(), &keys);
    let mut snapshots = watcher.snapshots();
    seen(&watcher, "a list", gim_proxy_sdk::etcd::Snapshot::is_known).await;
    drop(watcher);
    until("the end", async || {
        snapshots.borrow_and_update();
        snapshots.has_changed().is_err()
    })
    .await;
}
