//! What is put aside until its time.

use std::time::Duration;

use gim_msg_queue::redis::LaneOptions;
use gim_msg_queue::source::{Rest, Settlement, Source};
use gim_proto::{Incarnation, Uid};
use gim_proxy_sdk::testing::DEADLINE;

use super::rig::{LANE, ROOM, Rig, ack, attempts, nothing, now_ms, numbers, settle, take, to_one};

const HOUR_MS: u64 = 3_600_000;

fn later(due_ms: u64, attempts: u32) -> Settlement {
    Settlement::Later { due_ms, attempts, rest: None }
}

#[tokio::test]
async fn what_is_put_aside_comes_back_as_it_was_at_its_time() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.add(&to_one(1, &[("id", "m"), ("x-own", "\u{0}")])).await;
    let taken = take(&source, 1).await;
    let rest = Rest::Users(vec![Uid::parse("1").unwrap()]);
    let due_ms = now_ms() + 300;
    settle(&source, &taken, &Settlement::Later { due_ms, attempts: 3, rest: Some(rest.clone()) }).await;
    assert_eq!(rig.pending().await, 0);
    assert_eq!(rig.ask::<u64>(&["XLEN", &rig.keys.queue(LANE)]).await, 0);
    let back = take(&source, 1).await;
    let came_ms = now_ms();
    assert!((due_ms..due_ms + 3_000).contains(&came_ms), "{due_ms} {came_ms}");
    assert_eq!((back[0].entry_id, &back[0].message_id), (taken[0].entry_id, &taken[0].message_id));
    assert_eq!((back[0].attempts, &back[0].rest, back[0].duplicate), (3, &Some(rest), false));
    assert_eq!(back[0].body, taken[0].body);
    nothing(&source).await;
    ack(&source, &back).await;
    assert!(rig.aside().await.is_empty());
}

#[tokio::test]
async fn ties_come_in_the_order_of_their_ids_before_what_is_new() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..300).await;
    let mut taken = take(&source, 300).await;
    let due_ms = now_ms() + 400;
    taken.reverse();
    settle(&source, &taken[..150], &later(due_ms, 1)).await;
    settle(&source, &taken[150..], &later(due_ms - 1, 1)).await;
    nothing_before(due_ms).await;
    rig.fill(300..310).await;
    let back = take(&source, 310).await;
    assert_eq!(numbers(&back), (0..310).collect::<Vec<_>>());
}

async fn nothing_before(due_ms: u64) {
    let left = due_ms.saturating_sub(now_ms()) + 1;
    tokio::time::sleep(Duration::from_millis(left)).await;
}

#[tokio::test]
async fn a_schedule_wakes_a_waiting_read_on_time() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..1).await;
    let taken = take(&source, 1).await;
    let reading = tokio::spawn({
        let source = std::sync::Arc::clone(&source);
        async move { take(&source, 1).await }
    });
    rig.blocked().await;
    let due_ms = now_ms() + 150;
    settle(&source, &taken, &later(due_ms, 1)).await;
    let back = tokio::time::timeout(DEADLINE, reading).await.unwrap().unwrap();
    let late_ms = now_ms().checked_sub(due_ms).unwrap();
    assert_eq!(numbers(&back), [0]);
    assert!(late_ms < 700, "the wait of a second was not waited out: {late_ms}");
}

#[tokio::test]
async fn a_new_owner_reads_first_what_was_handed_out_then_what_was_put_aside_and_leaves_schedules() {
    let rig = Rig::shared().await;
    let old = Incarnation::mint();
    let first = rig.source_with(LaneOptions { owner: old, ..rig.options() });
    let planned_ms = now_ms() + HOUR_MS;
    rig.fill(0..6).await;
    rig.add(&to_one(6, &[("deliver_at_ms", &planned_ms.to_string())])).await;
    let taken = take(&first, 7).await;
    settle(&first, &taken[6..], &later(planned_ms, 0)).await;
    // 3 and 4 wait for long retries, 1 and 2 come back and are handed out.
    settle(&first, &taken[3..4], &later(planned_ms + 1, 4)).await;
    settle(&first, &taken[4..5], &later(planned_ms, 5)).await;
    settle(&first, &taken[1..3], &later(now_ms(), 2)).await;
    let back = take(&first, 2).await;
    assert_eq!((numbers(&back), attempts(&back)), (vec![1, 2], vec![2, 2]));
    rig.fill(7..8).await;

    let second = rig.source_with(LaneOptions { voided: vec![old], ..rig.options() });
    let again = take(&second, 7).await;
    // By entry, not by time: nobody remembers who waited behind whom.
    assert_eq!(numbers(&again), [1, 2, 3, 4, 0, 5, 7]);
    assert_eq!(attempts(&again), [3, 3, 4, 5, 1, 1, 0]);
    nothing(&second).await;
    let aside = rig.aside().await;
    let waiting: Vec<_> = aside.iter().filter(|(_, score)| *score > 0.0).collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].1 as u64, planned_ms);
    ack(&second, &again).await;
    assert_eq!(rig.aside().await.len(), 1);
}

#[tokio::test]
async fn what_is_put_aside_again_while_all_of_it_is_read_waits_behind_the_rest() {
    let rig = Rig::shared().await;
    let old = Incarnation::mint();
    let first = rig.source_with(LaneOptions { owner: old, ..rig.options() });
    rig.fill(0..20).await;
    let taken = take(&first, 20).await;
    settle(&first, &taken, &later(now_ms() + HOUR_MS, 1)).await;
    let second = rig.source_with(LaneOptions { voided: vec![old], ..rig.options() });
    let some = second.fetch(gim_msg_queue::source::Room { entries: 5, ..ROOM }).await.unwrap();
    assert_eq!(numbers(&some), [0, 1, 2, 3, 4]);
    settle(&second, &some, &later(now_ms() + HOUR_MS / 2, 2)).await;
    let others = take(&second, 15).await;
    assert_eq!(numbers(&others), (5..20).collect::<Vec<_>>());
    nothing(&second).await;
}

#[tokio::test]
async fn a_rewind_brings_back_what_was_put_aside_but_no_schedule() {
    let rig = Rig::shared().await;
    let source = rig.source();
    let planned_ms = now_ms() + HOUR_MS;
    rig.fill(0..2).await;
    rig.add(&to_one(2, &[("deliver_at_ms", &planned_ms.to_string())])).await;
    let taken = take(&source, 3).await;
    settle(&source, &taken[2..], &later(planned_ms, 0)).await;
    settle(&source, &taken[1..2], &later(now_ms() + HOUR_MS, 4)).await;
    assert_eq!(source.rewind().await.unwrap(), 1);
    let again = take(&source, 2).await;
    assert_eq!((numbers(&again), attempts(&again)), (vec![1, 0], vec![4, 1]));
    nothing(&source).await;
}

#[tokio::test]
async fn a_dead_letter_put_back_by_somebody_else_comes_at_once() {
    let rig = Rig::shared().await;
    let source = rig.source();
    let reading = tokio::spawn({
        let source = std::sync::Arc::clone(&source);
        async move { take(&source, 1).await }
    });
    while rig.ask::<Option<String>>(&["HGET", &rig.keys.lease(LANE), "client"]).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rig.blocked().await;
    // As a redrive does it: the body, its place in time, and a ring at the reader.
    let member = "00000193a0000000-0000000000000002";
    let put = r#"redis.call('HSET', KEYS[2], ARGV[1], struct.pack('>I4I4I4c0I4c0I4c0I4c0', 0, 0, 6, 'to_uid', 1, '1', 4,
        'data', 7, '{"n":5}')) redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1]) return 1"#;
    let score = format!("-{}", 1_000_000_000_000_000 - now_ms());
    let (later, body) = (rig.keys.later(LANE), rig.keys.later_body(LANE));
    rig.ask::<u64>(&["EVAL", put, "2", &later, &body, member, &score]).await;
    rig.ask::<u64>(&["CLIENT", "UNBLOCK", &rig.reader().await]).await;
    let back = tokio::time::timeout(DEADLINE, reading).await.unwrap().unwrap();
    assert_eq!((numbers(&back), back[0].entry_id.seq), (vec![5], 2));
    ack(&source, &back).await;
    assert!(rig.aside().await.is_empty());
}

#[tokio::test]
async fn a_body_that_is_gone_is_reported_and_stops_nobody() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..2).await;
    let taken = take(&source, 2).await;
    settle(&source, &taken, &later(now_ms() + 200, 1)).await;
    let member = rig.aside().await[0].0.clone();
    rig.ask::<u64>(&["HDEL", &rig.keys.later_body(LANE), &member]).await;
    assert_eq!(numbers(&take(&source, 1).await), [1]);
    assert_eq!(rig.heard.gone(false), 1);
}
