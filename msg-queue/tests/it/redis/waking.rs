//! Ending a wait before its time.

use std::sync::Arc;
use std::time::Duration;

use gim_msg_queue::redis::LaneOptions;
use gim_msg_queue::source::{Room, Source};
use gim_proxy_sdk::testing::DEADLINE;
use tokio::time::{Instant, timeout};

use super::rig::{LANE, ROOM, Rig, ack, numbers, take};

#[tokio::test]
async fn stop_waiting_wakes_a_read_at_once_and_lets_no_later_one_wait() {
    let rig = Rig::shared().await;
    let source = rig.source_with(LaneOptions { block: Duration::from_secs(10), ..rig.options() });
    rig.fill(0..1).await;
    take(&source, 1).await;
    let reading = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.fetch(ROOM).await }
    });
    rig.blocked().await;
    let begun = Instant::now();
    source.stop_waiting();
    assert!(timeout(DEADLINE, reading).await.unwrap().unwrap().unwrap().is_empty());
    assert!(source.fetch(ROOM).await.unwrap().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    rig.fill(1..2).await;
    assert_eq!(numbers(&take(&source, 1).await), [1], "what is there is still read");
}

#[tokio::test]
async fn stop_waiting_wakes_a_read_that_has_just_begun() {
    let rig = Rig::shared().await;
    for pause_us in [0, 50, 100, 200, 400, 800, 1_600] {
        let source = rig.source_with(LaneOptions { block: Duration::from_secs(10), ..rig.options() });
        let reading = tokio::spawn({
            let source = Arc::clone(&source);
            async move { source.fetch(ROOM).await }
        });
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
        let begun = Instant::now();
        source.stop_waiting();
        timeout(DEADLINE, reading).await.unwrap().unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        source.release().await;
    }
}

#[tokio::test]
async fn what_came_in_one_write_with_the_entry_that_ends_the_wait_comes_with_it() {
    let rig = Rig::shared().await;
    let source = rig.source_with(LaneOptions { block: Duration::from_secs(10), ..rig.options() });
    rig.fill(0..1).await;
    take(&source, 1).await;
    for entries in [1, 20] {
        let reading = tokio::spawn({
            let source = Arc::clone(&source);
            async move { source.fetch(ROOM).await }
        });
        rig.blocked().await;
        rig.fill(0..entries).await;
        let taken = timeout(DEADLINE, reading).await.unwrap().unwrap().unwrap();
        assert_eq!(numbers(&taken), (0..entries).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_is_settled_as_a_read_begins_does_not_wait_as_long_as_that_does() {
    let rig = Rig::shared().await;
    let source = rig.source_with(LaneOptions { block: Duration::from_secs(10), ..rig.options() });
    for number in 0..5 {
        rig.fill(number..number + 1).await;
        let taken = take(&source, 1).await;
        let begun = Instant::now();
        // The read that was answered at once makes the next one take the settlement along; nothing new comes.
        let settling = async {
            ack(&source, &taken).await;
            begun.elapsed()
        };
        let (took, read) = tokio::join!(settling, timeout(Duration::from_secs(3), source.fetch(ROOM)));
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(read.map_or(true, |read| read.unwrap().is_empty()));
        assert_eq!(rig.pending().await, 0);
    }
}

#[tokio::test]
async fn a_wait_with_room_for_few_brings_no_more() {
    let rig = Rig::shared().await;
    let source = rig.source_with(LaneOptions { block: Duration::from_secs(10), ..rig.options() });
    rig.fill(0..1).await;
    // What an entry takes is known from then on.
    take(&source, 1).await;
    for room in [1, 2, 5] {
        let reading = tokio::spawn({
            let source = Arc::clone(&source);
            async move { source.fetch(Room { entries: room, ..ROOM }).await }
        });
        rig.blocked().await;
        rig.fill(0..10).await;
        let taken = timeout(DEADLINE, reading).await.unwrap().unwrap().unwrap();
        assert!(!taken.is_empty() && taken.len() <= room, "{:?} of {room}", numbers(&taken));
        take(&source, 10 - taken.len()).await;
    }
}

#[tokio::test]
async fn a_new_entry_ends_the_wait() {
    let rig = Rig::shared().await;
    let source = rig.source_with(LaneOptions { block: Duration::from_secs(10), ..rig.options() });
    let reading = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.fetch(ROOM).await }
    });
    while rig.ask::<Option<String>>(&["HGET", &rig.keys.lease(LANE), "client"]).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rig.blocked().await;
    let begun = Instant::now();
    rig.fill(0..1).await;
    assert_eq!(timeout(DEADLINE, reading).await.unwrap().unwrap().unwrap().len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(2));
}
