//! A lane that changes its owner.

use std::sync::Arc;
use std::time::Duration;

use gim_msg_queue::observe::Event;
use gim_msg_queue::redis::{LaneOptions, RedisSource};
use gim_msg_queue::source::{Source, SourceErrorKind};
use gim_proto::Incarnation;
use gim_proxy_sdk::testing::DEADLINE;
use tokio::time::{Instant, timeout};

use super::rig::{LANE, ROOM, Rig, ack, attempts, numbers, take, try_ack};

/// A source whose owner can be declared dead.
fn owned(rig: &Rig) -> (Incarnation, Arc<RedisSource>) {
    let owner = Incarnation::mint();
    (owner, rig.source_with(LaneOptions { owner, ..rig.options() }))
}

async fn is_lost(source: &RedisSource) -> bool {
    matches!(source.fetch(ROOM).await, Err(error) if error.kind == SourceErrorKind::Lost)
}

#[tokio::test]
async fn the_lane_of_a_dead_owner_is_taken_at_once_and_everything_unsettled_comes_again() {
    let rig = Rig::shared().await;
    let (dead, first) = owned(&rig);
    rig.fill(0..10).await;
    let taken = take(&first, 10).await;
    ack(&first, &taken[..4]).await;
    rig.fill(10..12).await;
    let second = rig.source_with(LaneOptions { voided: vec![dead], ..rig.options() });
    let again = take(&second, 8).await;
    assert_eq!(numbers(&again), (4..12).collect::<Vec<_>>());
    assert_eq!(attempts(&again), [1, 1, 1, 1, 1, 1, 0, 0]);
    assert!(second.term() > first.term());
    assert_eq!(rig.heard.count(|event| matches!(event, Event::Taken { .. })), 2);

    // The old owner was frozen and thaws.
    assert_eq!(try_ack(&first, &taken[4..]).await.unwrap_err().kind, SourceErrorKind::Lost);
    assert!(is_lost(&first).await && is_lost(&first).await);
    assert_eq!(rig.pending().await, 8);
    ack(&second, &again).await;
    assert_eq!(rig.pending().await, 0);
}

#[tokio::test]
async fn a_frozen_owner_that_thaws_reads_nothing() {
    let rig = Rig::shared().await;
    let lease = Duration::from_millis(600);
    let (dead, first) = owned(&rig);
    let first_frozen = rig.source_with(LaneOptions { owner: dead, lease, ..rig.options() });
    drop(first);
    rig.fill(0..1).await;
    take(&first_frozen, 1).await;
    let second = rig.source_with(LaneOptions { voided: vec![dead], ..rig.options() });
    take(&second, 1).await;
    rig.fill(1..2).await;
    // Its renewal finds out, or the look before a read that comes too long after the last.
    tokio::time::sleep(lease).await;
    assert!(is_lost(&first_frozen).await);
    assert_eq!(numbers(&take(&second, 1).await), [1]);
}

#[tokio::test]
async fn a_living_owner_is_waited_for_until_its_lease_is_over() {
    let rig = Rig::shared().await;
    let lease = Duration::from_millis(1_500);
    let first = rig.source_with(LaneOptions { lease, ..rig.options() });
    rig.fill(0..3).await;
    take(&first, 3).await;
    let second = rig.source_with(LaneOptions { block: Duration::from_millis(50), ..rig.options() });
    let begun = Instant::now();
    assert!(second.fetch(ROOM).await.unwrap().is_empty());
    assert!(begun.elapsed() < Duration::from_millis(900), "bounded by BLOCK");
    assert_eq!(second.term(), 0);
    // Renewed all the time.
    tokio::time::sleep(lease).await;
    assert!(second.fetch(ROOM).await.unwrap().is_empty());
    drop(first);
    let again = take(&second, 3).await;
    assert_eq!((numbers(&again), attempts(&again)), (vec![0, 1, 2], vec![1; 3]));
}

#[tokio::test]
async fn a_lane_that_is_given_back_moves_at_once() {
    let rig = Rig::shared().await;
    let first = rig.source();
    rig.fill(0..1).await;
    let taken = take(&first, 1).await;
    ack(&first, &taken).await;
    let second = rig.source();
    assert!(second.fetch(ROOM).await.unwrap().is_empty());
    first.release().await;
    rig.fill(1..2).await;
    assert_eq!(numbers(&take(&second, 1).await), [1]);
    assert!(is_lost(&first).await);
    // What it gives back is no longer its own.
    first.release().await;
    assert!(rig.ask::<bool>(&["EXISTS", &rig.keys.lease(LANE)]).await);
}

#[tokio::test]
async fn a_waiting_source_hears_that_the_owner_is_dead() {
    let rig = Rig::shared().await;
    let (dead, first) = owned(&rig);
    rig.fill(0..1).await;
    take(&first, 1).await;
    let second = rig.source_with(LaneOptions { block: Duration::from_secs(5), ..rig.options() });
    let waiting = tokio::spawn({
        let second = Arc::clone(&second);
        async move { take(&second, 1).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    second.void(dead);
    let again = timeout(Duration::from_secs(3), waiting).await.unwrap().unwrap();
    assert_eq!(attempts(&again), [1]);
}

#[tokio::test]
async fn the_reader_of_the_old_owner_is_ended_before_the_new_one_reads() {
    let rig = Rig::shared().await;
    let (dead, first) = owned(&rig);
    rig.fill(0..1).await;
    take(&first, 1).await;
    let reading = tokio::spawn({
        let first = Arc::clone(&first);
        async move { first.fetch(ROOM).await }
    });
    rig.blocked().await;
    let old_reader = rig.reader().await;
    let second = rig.source_with(LaneOptions { voided: vec![dead], ..rig.options() });
    assert_eq!(take(&second, 1).await.len(), 1);
    let clients: String = rig.ask(&["CLIENT", "LIST", "ID", &old_reader]).await;
    assert!(clients.trim().is_empty(), "{clients}");
    assert_ne!(rig.reader().await, old_reader);
    assert!(timeout(DEADLINE, reading).await.unwrap().unwrap().is_err());
    assert!(is_lost(&first).await || is_lost(&first).await);
}

#[tokio::test]
async fn a_lane_that_others_had_in_between_is_lost_also_when_nobody_has_it_any_more() {
    let rig = Rig::shared().await;
    let (dead, first) = owned(&rig);
    rig.fill(0..2).await;
    let taken = take(&first, 2).await;
    let second = rig.source_with(LaneOptions { voided: vec![dead], ..rig.options() });
    take(&second, 2).await;
    second.release().await;
    assert_eq!(try_ack(&first, &taken).await.unwrap_err().kind, SourceErrorKind::Lost);
    assert!(is_lost(&first).await);
    assert_eq!(rig.pending().await, 2);
}

#[tokio::test]
async fn terms_rise_also_when_the_clock_of_redis_was_ahead() {
    let rig = Rig::shared().await;
    let ahead = 8_000_000_000_000_000_u64;
    rig.ask::<()>(&["SET", &rig.keys.term(LANE), &format!("{ahead} somebody")]).await;
    let source = rig.source();
    rig.fill(0..1).await;
    take(&source, 1).await;
    assert_eq!(source.term(), ahead + 1);
}

#[tokio::test]
async fn entries_that_a_former_reader_still_took_come_again() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..1).await;
    let first = take(&source, 1).await;
    rig.fill(1..3).await;
    let stream = rig.keys.queue(LANE);
    let by_hand = ["XREADGROUP", "GROUP", "gim", "lane", "COUNT", "10", "STREAMS", &stream, ">"];
    rig.ask::<::redis::Value>(&by_hand).await;
    rig.fill(3..4).await;
    let mut rest = take(&source, 3).await;
    rest.sort_by_key(|fetched| fetched.entry_id);
    assert_eq!((numbers(&rest), attempts(&rest)), (vec![1, 2, 3], vec![1, 1, 0]));
    ack(&source, &first).await;
    ack(&source, &rest).await;
    assert_eq!(rig.pending().await, 0);
}

/// Whether a client is still connected.
async fn is_connected(rig: &Rig, client: &str) -> bool {
    !rig.ask::<String>(&["CLIENT", "LIST", "ID", client]).await.is_empty()
}

#[tokio::test]
async fn the_reader_of_a_lease_that_expired_long_ago_is_ended_before_anything_is_read() {
    let rig = Rig::shared().await;
    let (_, first) = owned(&rig);
    rig.fill(0..1).await;
    take(&first, 1).await;
    let reader = rig.reader().await;
    // As if its owner had been frozen for longer than its lease.
    rig.ask::<u64>(&["DEL", &rig.keys.lease(LANE)]).await;
    let second = rig.source();
    assert_eq!(numbers(&take(&second, 1).await), [0]);
    assert!(!is_connected(&rig, &reader).await);
    assert_ne!(rig.reader().await, reader);
}

#[tokio::test]
async fn a_reader_stays_named_until_the_next_one_has_ended_it() {
    let rig = Rig::shared().await;
    let (dead, first) = owned(&rig);
    rig.fill(0..1).await;
    take(&first, 1).await;
    let reader = rig.reader().await;
    // An owner that takes the lane and dies before it has connected.
    let script = include_str!("../../../src/redis/lua/acquire.lua");
    let next = Incarnation::mint().to_string();
    let (lease, kept) = (rig.keys.lease(LANE), rig.keys.term(LANE));
    let taken: Vec<String> =
        rig.ask(&["EVAL", script, "2", &lease, &kept, &next, "6000", "0", &dead.to_string()]).await;
    assert_eq!((taken[0].as_str(), &taken[2]), ("taken", &reader));
    rig.ask::<u64>(&["DEL", &lease]).await;
    let third = rig.source();
    assert_eq!(numbers(&take(&third, 1).await), [0]);
    assert!(!is_connected(&rig, &reader).await);
}

#[tokio::test]
async fn an_owner_that_takes_its_expired_lease_anew_names_its_reader_and_keeps_it() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..1).await;
    let first = take(&source, 1).await;
    let reader = rig.reader().await;
    rig.ask::<u64>(&["DEL", &rig.keys.lease(LANE)]).await;
    ack(&source, &first).await;
    rig.fill(1..2).await;
    assert_eq!(numbers(&take(&source, 1).await), [1]);
    assert_eq!(rig.reader().await, reader);
    assert!(is_connected(&rig, &reader).await);
}

#[tokio::test]
async fn a_lane_taken_by_a_call_whose_answer_was_lost_is_not_lost() {
    let rig = Rig::shared().await;
    let (owner, source) = owned(&rig);
    rig.fill(0..1).await;
    let first = take(&source, 1).await;
    let script = include_str!("../../../src/redis/lua/acquire.lua");
    let (lease, kept) = (rig.keys.lease(LANE), rig.keys.term(LANE));
    let (owner, term) = (owner.to_string(), source.term().to_string());
    let taken: Vec<String> = rig.ask(&["EVAL", script, "2", &lease, &kept, &owner, "6000", &term]).await;
    assert_eq!(taken[0], "taken");
    assert_ne!(taken[1], term);
    ack(&source, &first).await;
    assert_eq!(rig.pending().await, 0);
    rig.fill(1..2).await;
    assert_eq!(numbers(&take(&source, 1).await), [1]);
}
