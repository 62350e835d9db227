//! A Redis that stops, comes back, or stands still.

use std::time::Duration;

use gim_msg_queue::observe::Event;
use gim_msg_queue::redis::LaneOptions;
use gim_msg_queue::source::{Settlement, Source, SourceErrorKind};
use gim_proxy_sdk::testing::RedisServer;

use super::rig::{ROOM, Rig, ack, now_ms, numbers, settle, take, take_in_the_end, try_ack};

async fn fetch_kind(source: &gim_msg_queue::redis::RedisSource) -> Option<SourceErrorKind> {
    source.fetch(ROOM).await.err().map(|error| error.kind)
}

fn replaced(rig: &Rig) -> usize {
    rig.heard.count(|event| matches!(event, Event::StoreReplaced { .. }))
}

#[tokio::test]
async fn a_redis_that_keeps_its_data_goes_on_where_it_was() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..10).await;
    let taken = take(&source, 10).await;
    settle(&source, &taken[8..], &Settlement::Later { due_ms: now_ms() + 1_500, attempts: 1, rest: None }).await;
    server.stop();
    for _ in 0..3 {
        let kind = fetch_kind(&source).await;
        assert!(matches!(kind, Some(SourceErrorKind::Unavailable | SourceErrorKind::Timeout)), "{kind:?}");
        let kind = try_ack(&source, &taken[..4]).await.unwrap_err().kind;
        assert!(matches!(kind, SourceErrorKind::Unavailable | SourceErrorKind::Timeout), "{kind:?}");
    }
    server.restart().await;
    rig.reconnect();
    rig.fill(10..12).await;
    let more = take_in_the_end(&source, 4).await;
    let mut came = numbers(&more);
    came.sort_unstable();
    assert_eq!(came, [8, 9, 10, 11]);
    ack(&source, &taken[..8]).await;
    ack(&source, &more).await;
    assert_eq!(rig.pending().await, 0);
    assert_eq!(replaced(&rig), 1);
    assert_eq!(rig.heard.gone(true) + rig.heard.gone(false), 0);
}

#[tokio::test]
async fn an_outage_longer_than_the_lease_loses_neither_the_lane_nor_an_entry() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut rig = Rig::on(&server);
    let lease = Duration::from_millis(600);
    let source = rig.source_with(LaneOptions { lease, ..rig.options() });
    rig.fill(0..10).await;
    let taken = take(&source, 10).await;
    let term = source.term();
    server.stop();
    tokio::time::sleep(lease * 2).await;
    server.restart().await;
    rig.reconnect();
    rig.fill(10..11).await;
    assert_eq!(numbers(&take_in_the_end(&source, 1).await), [10]);
    assert!(source.term() > term);
    ack(&source, &taken).await;
    assert_eq!(rig.pending().await, 1);
}

#[tokio::test]
async fn a_redis_that_has_lost_its_data_is_noticed_and_read_on() {
    let mut server = RedisServer::start().await;
    let mut rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..10).await;
    let taken = take(&source, 10).await;
    let term = source.term();
    server.stop();
    assert!(fetch_kind(&source).await.is_some());
    server.restart().await;
    rig.reconnect();
    rig.fill(10..13).await;
    assert_eq!(numbers(&take_in_the_end(&source, 3).await), [10, 11, 12]);
    assert!(source.term() > term);
    assert_eq!(replaced(&rig), 1);
    ack(&source, &taken).await;
    assert_eq!(rig.pending().await, 3);
}

#[tokio::test]
async fn a_redis_that_stands_still_costs_no_entry_its_attempts() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..5).await;
    take(&source, 5).await;
    assert_eq!(source.rewind().await.unwrap(), 5);
    server.freeze();
    let frozen = async {
        for _ in 0..3 {
            assert!(matches!(fetch_kind(&source).await, Some(SourceErrorKind::Timeout | SourceErrorKind::Unavailable)));
        }
    };
    frozen.await;
    server.thaw();
    let again = take_in_the_end(&source, 5).await;
    assert_eq!(numbers(&again), [0, 1, 2, 3, 4]);
    assert!(again.iter().all(|fetched| fetched.attempts <= 2), "{:?}", super::rig::attempts(&again));
    ack(&source, &again).await;
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn a_redis_that_knows_less_than_was_read_is_reported_with_both_ids() {
    let mut server = RedisServer::start().await;
    let mut rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..10).await;
    let seen = take(&source, 10).await.last().map(|fetched| fetched.entry_id).unwrap();
    assert!(rig.heard.behind().is_empty());
    server.stop();
    assert!(fetch_kind(&source).await.is_some());
    server.restart().await;
    rig.reconnect();
    while rig.heard.behind().is_empty() {
        // It has no entry: what is found is found by looking for it.
        let _ = source.fetch(ROOM).await;
    }
    assert_eq!(rig.heard.behind(), [(seen, gim_proto::EntryId::default())]);
    let losses = rig.store.losses().all();
    assert_eq!((losses.len(), losses[0].lanes[0].seen), (1, seen));
    rig.fill(10..12).await;
    assert_eq!(numbers(&take_in_the_end(&source, 2).await), [10, 11]);
    assert_eq!(rig.heard.behind().len(), 1);
}

#[tokio::test]
async fn a_redis_that_keeps_its_data_is_not_behind() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..3).await;
    let taken = take(&source, 3).await;
    ack(&source, &taken).await;
    server.stop();
    assert!(fetch_kind(&source).await.is_some());
    server.restart().await;
    rig.reconnect();
    rig.fill(3..4).await;
    assert_eq!(numbers(&take_in_the_end(&source, 1).await), [3]);
    assert_eq!((replaced(&rig), rig.heard.behind().len()), (1, 0));
}
