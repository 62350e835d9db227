//! A lane in a Redis Cluster and behind Sentinel.

use gim_msg_queue::source::Settlement;
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::testing::{RedisCluster, SentinelSet};

use super::dead::died;
use super::rig::{LANE, Rig, ack, now_ms, number, numbers, settle, take, take_in_the_end, to_one, try_ack};

#[tokio::test]
async fn a_lane_in_a_cluster_does_everything_and_follows_its_slot() {
    let cluster = RedisCluster::start().await;
    let mut rig = Rig::over(Store::new(cluster.options()));
    let source = rig.source();
    rig.fill(0..4).await;
    rig.add(&to_one(4, &[("id", "a")])).await;
    rig.add(&to_one(5, &[("id", "a")])).await;
    let taken = take(&source, 6).await;
    assert_eq!(taken.iter().filter(|fetched| fetched.duplicate).count(), 1);
    settle(&source, &taken[..1], &Settlement::Later { due_ms: now_ms(), attempts: 1, rest: None }).await;
    settle(&source, &taken[1..2], &died("x", &["1"])).await;
    ack(&source, &taken[2..4]).await;
    let back = take(&source, 1).await;
    assert_eq!((number(&back[0]), rig.letters().await.len()), (0, 1));

    let held = [&taken[4..], &back].concat();
    cluster.move_slot_of(&rig.keys.queue(LANE)).await;
    rig.reconnect();
    rig.fill(6..8).await;
    assert_eq!(numbers(&take_in_the_end(&source, 2).await), [6, 7]);
    ack(&source, &held).await;
    assert_eq!(rig.pending().await, 2);
}

#[tokio::test]
async fn a_lane_behind_sentinel_follows_the_master() {
    let mut sentinels = SentinelSet::start().await;
    let mut rig = Rig::over(Store::new(sentinels.options()));
    let source = rig.source();
    rig.fill(0..5).await;
    let taken = take(&source, 5).await;
    ack(&source, &taken[..2]).await;
    // What the replica has not got yet would be lost with the master.
    rig.ask::<()>(&["SET", &rig.keys.node(&"other".parse().unwrap()), "x"]).await;
    assert_eq!(rig.ask::<u64>(&["WAIT", "1", "10000"]).await, 1);
    let old = sentinels.stop_master().await;
    assert!(try_ack(&source, &taken[2..3]).await.is_err());
    sentinels.failed_over(old).await;
    rig.reconnect();
    let added = rig.add(&to_one(5, &[])).await;
    let more = take_in_the_end(&source, 1).await;
    assert_eq!(more[0].entry_id, added);
    ack(&source, &taken[2..]).await;
    ack(&source, &more).await;
    assert_eq!(rig.pending().await, 0);
    assert_eq!(rig.heard.count(|event| matches!(event, gim_msg_queue::observe::Event::StoreReplaced { .. })), 1);
}
