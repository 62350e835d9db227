//! Connections that break, reads that are dropped, data that somebody deletes.

use std::sync::Arc;
use std::time::Duration;

use gim_msg_queue::redis::LaneOptions;
use gim_msg_queue::source::{Settlement, Source, SourceErrorKind};
use gim_proxy_sdk::testing::RedisServer;

use super::rig::{LANE, ROOM, Rig, ack, attempts, nothing, now_ms, numbers, settle, take, take_in_the_end, try_ack};

#[tokio::test]
async fn a_read_that_is_dropped_while_it_waits_loses_nothing() {
    let rig = Rig::shared().await;
    let source = rig.source_with(LaneOptions { block: Duration::from_secs(10), ..rig.options() });
    rig.fill(0..1).await;
    let first = take(&source, 1).await;
    for round in 0..5 {
        let reading = tokio::spawn({
            let source = Arc::clone(&source);
            async move { source.fetch(ROOM).await }
        });
        rig.blocked().await;
        // In one go, so that Redis may still hand them to the read that is gone.
        reading.abort();
        rig.fill(1 + round * 10..11 + round * 10).await;
        assert!(reading.await.is_err());
        let taken = take(&source, 10).await;
        assert_eq!(numbers(&taken), (1 + round * 10..11 + round * 10).collect::<Vec<_>>());
        ack(&source, &taken).await;
    }
    ack(&source, &first).await;
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn a_reader_that_is_killed_is_made_anew_and_nothing_comes_twice() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..5).await;
    let held = take(&source, 5).await;
    for round in 0..3 {
        let before = rig.reader().await;
        assert_eq!(rig.ask::<u64>(&["CLIENT", "KILL", "ID", &before]).await, 1);
        rig.fill(5 + round..6 + round).await;
        let taken = take_in_the_end(&source, 1).await;
        assert_eq!(numbers(&taken), [5 + round]);
        assert_ne!(rig.reader().await, before);
        ack(&source, &taken).await;
    }
    ack(&source, &held).await;
    nothing(&source).await;
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn a_connection_for_settling_that_is_killed_is_made_anew() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..2).await;
    let taken = take(&source, 2).await;
    rig.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    let mut settled = try_ack(&source, &taken).await;
    for _ in 0..3 {
        if settled.is_err() {
            settled = try_ack(&source, &taken).await;
        }
    }
    settled.unwrap();
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn when_everything_is_deleted_the_lane_goes_on() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..3).await;
    let taken = take(&source, 3).await;
    let term = source.term();
    rig.ask::<()>(&["FLUSHALL"]).await;
    rig.fill(3..5).await;
    let more = take_in_the_end(&source, 2).await;
    assert_eq!(numbers(&more), [3, 4]);
    assert!(source.term() > term);
    ack(&source, &taken).await;
    ack(&source, &more).await;
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn settling_takes_the_lease_again_when_it_is_gone() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..2).await;
    let taken = take(&source, 2).await;
    rig.ask::<u64>(&["DEL", &rig.keys.lease(LANE)]).await;
    ack(&source, &taken).await;
    assert_eq!(rig.pending().await, 0);
    assert!(rig.ask::<bool>(&["EXISTS", &rig.keys.lease(LANE)]).await);
}

#[tokio::test]
async fn a_group_that_is_deleted_is_made_again() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..3).await;
    let taken = take(&source, 3).await;
    rig.ask::<u64>(&["XGROUP", "DESTROY", &rig.keys.queue(LANE), "gim"]).await;
    rig.fill(3..5).await;
    // What is outstanding is not handed out a second time, though the new group begins at the start.
    let more = take_in_the_end(&source, 2).await;
    assert_eq!(numbers(&more), [3, 4]);
    ack(&source, &taken).await;
    ack(&source, &more).await;
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn entries_trimmed_away_by_others_are_reported() {
    let rig = Rig::shared().await;
    let source = rig.source();
    let stream = rig.keys.queue(LANE);
    rig.fill(0..10).await;
    take(&source, 10).await;
    rig.fill(10..20).await;
    rig.ask::<u64>(&["XTRIM", &stream, "MAXLEN", "5"]).await;
    assert_eq!(source.rewind().await.unwrap(), 10);
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    assert_eq!(numbers(&take(&source, 5).await), [15, 16, 17, 18, 19]);
    assert_eq!(rig.heard.gone(true), 5, "never read");
    assert_eq!(rig.heard.gone(false), 10, "read and not settled");
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    nothing(&source).await;
    assert_eq!((rig.heard.gone(true), rig.heard.gone(false)), (5, 10), "each is told once");
    assert_eq!(source.backlog().unread, 0);
}

#[tokio::test]
async fn an_entry_trimmed_away_while_it_was_out_is_settled_all_the_same() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..3).await;
    let taken = take(&source, 3).await;
    rig.ask::<u64>(&["XTRIM", &rig.keys.queue(LANE), "MAXLEN", "0"]).await;
    ack(&source, &taken[..1]).await;
    settle(&source, &taken[1..2], &Settlement::Later { due_ms: now_ms(), attempts: 1, rest: None }).await;
    settle(&source, &taken[2..], &super::dead::died("x", &["1"])).await;
    assert_eq!(rig.pending().await, 0);
    assert_eq!(rig.heard.gone(false), 1, "what was to come again cannot");
    assert_eq!(rig.letters().await.len(), 1);
    nothing(&source).await;
}

#[tokio::test]
async fn a_redis_without_memory_pauses_what_needs_some_and_loses_nothing() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..3).await;
    let taken = take(&source, 3).await;
    rig.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let later = Settlement::Later { due_ms: now_ms(), attempts: 1, rest: None };
    let refused = source.settle(&[(taken[0].entry_id, Settlement::Ack), (taken[1].entry_id, later.clone())]).await;
    assert_eq!(refused.unwrap_err().kind, SourceErrorKind::Unavailable);
    assert_eq!(rig.pending().await, 2, "what needs none is settled");
    rig.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    source.settle(&[(taken[0].entry_id, Settlement::Ack), (taken[1].entry_id, later)]).await.unwrap();
    let back = take(&source, 1).await;
    assert_eq!((numbers(&back), attempts(&back)), (vec![1], vec![1]));
}

#[tokio::test]
async fn a_user_without_dangerous_commands_reads_all_the_same() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let rules =
        ["ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "-@dangerous", "-client|kill", "-client|unblock"];
    rig.ask::<()>(&rules).await;
    let options = server.options().username("worker").password("secret");
    let limited = Rig::over(gim_proxy_sdk::store::Store::new(options));
    let block = Duration::from_millis(200);
    let first = limited.source_with(LaneOptions { block, ..limited.options() });
    limited.fill(0..2).await;
    let taken = take(&first, 2).await;
    first.stop_waiting();
    ack(&first, &taken[..1]).await;
    first.release().await;
    let second = limited.source_with(LaneOptions { block, ..limited.options() });
    assert_eq!(numbers(&take(&second, 1).await), [1]);
}
