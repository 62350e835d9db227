//! What settling does to the stream.

use gim_msg_queue::source::{Settlement, Source};
use gim_proxy_sdk::testing::RedisServer;

use super::rig::{LANE, ROOM, Rig, ack, nothing, take};

async fn calls_of(rig: &Rig, command: &str) -> u64 {
    let stats: String = rig.ask(&["INFO", "commandstats"]).await;
    let start = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_batch_is_settled_with_one_xack_per_thousand() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..3_500).await;
    let taken = take(&source, 3_500).await;
    let before = (calls_of(&rig, "xack").await, calls_of(&rig, "evalsha").await);
    ack(&source, &taken[..1_000]).await;
    assert_eq!(calls_of(&rig, "xack").await - before.0, 1);
    ack(&source, &taken[1_000..]).await;
    assert_eq!(calls_of(&rig, "xack").await - before.0, 4);
    assert!(calls_of(&rig, "evalsha").await - before.1 <= 6);
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn settling_again_has_no_effect() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..3).await;
    let taken = take(&source, 3).await;
    let due_ms = super::rig::now_ms() + 3_600_000;
    let batch = vec![
        (taken[0].entry_id, Settlement::Ack),
        (taken[1].entry_id, Settlement::Later { due_ms, attempts: 2, rest: None }),
        (taken[2].entry_id, super::dead::died("offline for ever", &["1"])),
    ];
    for _ in 0..3 {
        source.settle(&batch).await.unwrap();
        assert_eq!(rig.pending().await, 0);
        assert_eq!(rig.aside().await.len(), 1);
        assert_eq!(rig.letters().await.len(), 1);
    }
    nothing(&source).await;
}

#[tokio::test]
async fn a_settlement_repeated_after_the_entry_came_back_does_not_take_it_off_again() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..1).await;
    let taken = take(&source, 1).await;
    let due_ms = super::rig::now_ms();
    let later = [(taken[0].entry_id, Settlement::Later { due_ms, attempts: 1, rest: None })];
    source.settle(&later).await.unwrap();
    source.settle(&later).await.unwrap();
    let back = take(&source, 1).await;
    assert_eq!(back[0].attempts, 1);
    ack(&source, &back).await;
    assert!(rig.aside().await.is_empty());
    let bodies: u64 = rig.ask(&["HLEN", &rig.keys.later_body(LANE)]).await;
    assert_eq!(bodies, 0);
}

#[tokio::test]
async fn trimming_leaves_what_is_pending_and_what_is_unread() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..5_000).await;
    let taken = take(&source, 5_000).await;
    rig.fill(5_000..6_000).await;
    ack(&source, &taken[..3_000]).await;
    ack(&source, &taken[3_500..]).await;
    let length = async || rig.ask::<u64>(&["XLEN", &rig.keys.queue(LANE)]).await;
    let first = taken[3_000].entry_id.to_string();
    let trimmed = async {
        // One entry at a time, so that the rest stays unread.
        while length().await > 3_200 {
            source.fetch(gim_msg_queue::source::Room { entries: 1, ..ROOM }).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(gim_proxy_sdk::testing::DEADLINE, trimmed).await.unwrap();
    assert!(length().await >= 3_000);
    let kept: Vec<(String, Vec<String>)> = rig.ask(&["XRANGE", &rig.keys.queue(LANE), &first, "+"]).await;
    assert_eq!(kept.len(), 3_000, "nothing from the first pending entry on is gone");
    assert_eq!(rig.heard.gone(true) + rig.heard.gone(false), 0);
}

#[tokio::test]
async fn another_group_of_the_stream_keeps_what_it_has_not_read() {
    let rig = Rig::shared().await;
    let source = rig.source();
    let stream = rig.keys.queue(LANE);
    rig.fill(0..2_000).await;
    rig.ask::<()>(&["XGROUP", "CREATE", &stream, "audit", "0"]).await;
    let taken = take(&source, 2_000).await;
    ack(&source, &taken).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    nothing(&source).await;
    assert_eq!(rig.ask::<u64>(&["XLEN", &stream]).await, 2_000);
    rig.ask::<()>(&["XGROUP", "DESTROY", &stream, "audit"]).await;
    rig.fill(2_000..2_001).await;
    let last = take(&source, 1).await;
    ack(&source, &last).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    nothing(&source).await;
    assert!(rig.ask::<u64>(&["XLEN", &stream]).await < 200);
}
