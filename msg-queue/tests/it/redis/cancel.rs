//! Messages that are taken back before anybody delivers them.

use std::num::NonZeroU16;

use gim_proto::MessageId;
use gim_proxy_sdk::producer::Bounds;
use gim_proxy_sdk::queue::{Cancelled, Queue, RedisQueue};
use gim_proxy_sdk::testing::RedisServer;

use super::rig::{LANE, Rig, ack, nothing, now_ms, numbers, take, to_one};

fn queue(rig: &Rig) -> RedisQueue {
    RedisQueue::new(&rig.store, rig.keys.clone(), NonZeroU16::new(LANE + 1).unwrap(), Bounds::default())
}

fn id(name: &str) -> MessageId {
    MessageId::parse(name).unwrap()
}

#[tokio::test]
async fn an_unread_entry_is_taken_off_the_stream_and_nobody_calls_it_lost() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let (source, queue) = (rig.source(), queue(&rig));
    rig.fill(0..1).await;
    let taken = take(&source, 1).await;
    ack(&source, &taken).await;
    let mut ids = Vec::new();
    for number in 1..4 {
        ids.push(MessageId::of_entry(LANE, rig.add(&to_one(number, &[])).await));
    }
    let cancelled = queue.cancel(&ids[1]).await.unwrap();
    let Cancelled::Done(entries) = cancelled else { panic!("{cancelled:?}") };
    assert_eq!(entries[0].get("data").map(|data| &data[..]), Some(&br#"{"n":2}"#[..]));
    assert_eq!(queue.cancel(&ids[1]).await.unwrap(), Cancelled::Unknown);
    let taken = take(&source, 2).await;
    assert_eq!(numbers(&taken), [1, 3]);
    ack(&source, &taken).await;
    // The last of all that is there.
    let last = MessageId::of_entry(LANE, rig.add(&to_one(4, &[])).await);
    assert!(matches!(queue.cancel(&last).await.unwrap(), Cancelled::Done(_)));
    nothing(&source).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    nothing(&source).await;
    assert_eq!((rig.heard.gone(true), rig.heard.gone(false)), (0, 0));
}

#[tokio::test]
async fn what_was_read_is_too_late_and_what_nobody_knows_is_unknown() {
    let rig = Rig::shared().await;
    let (source, queue) = (rig.source(), queue(&rig));
    let plain = MessageId::of_entry(LANE, rig.add(&to_one(1, &[])).await);
    rig.add(&to_one(2, &[("id", "mine")])).await;
    let taken = take(&source, 2).await;
    for id in [&plain, &id("mine")] {
        assert_eq!(queue.cancel(id).await.unwrap(), Cancelled::TooLate);
    }
    ack(&source, &taken).await;
    for id in [&plain, &id("mine")] {
        assert_eq!(queue.cancel(id).await.unwrap(), Cancelled::TooLate);
    }
    for name in ["other", "3-1-1", "3-1", "99-1-1"] {
        assert_eq!(queue.cancel(&id(name)).await.unwrap(), Cancelled::Unknown, "{name}");
    }
}

#[tokio::test]
async fn a_schedule_is_taken_back_by_its_id_however_long_it_waits() {
    let rig = Rig::shared().await;
    let (source, queue) = (rig.source(), queue(&rig));
    let hour = 3_600_000;
    let due_ms = now_ms() + hour;
    let at = due_ms.to_string();
    rig.add(&to_one(1, &[("id", "by-hand"), ("deliver_at_ms", &at)])).await;
    let due = [("deliver_at_ms", at.as_str()), ("id", "by-producer"), ("receipt", "1")];
    let queued = queue.enqueue(vec![to_one(2, &due)]).await.unwrap();
    assert_eq!(queued, [id("by-producer")]);
    let lane =
        gim_proto::lane_of(&gim_proto::Target::User(crate::support::uid("1")), NonZeroU16::new(LANE + 1).unwrap());
    let taken = take(&source, 1 + usize::from(lane == LANE)).await;
    let batch: Vec<_> = taken
        .iter()
        .map(|fetched| (fetched.entry_id, gim_msg_queue::source::Settlement::Later { due_ms, attempts: 0, rest: None }))
        .collect();
    for (lane, name) in [(LANE, "by-hand"), (lane, "by-producer")] {
        let left: u64 = rig.ask(&["PTTL", &rig.keys.idempotency(lane, &id(name))]).await;
        assert!((hour..hour + 700_000).contains(&left), "{name}: {left}");
    }
    gim_msg_queue::source::Source::settle(&*source, &batch).await.unwrap();
    let tried = rig.aside().await.into_iter().filter(|(_, score)| *score < 0.0).count();
    assert_eq!(tried, 0, "it is a schedule");
    for name in ["by-hand", "by-producer"] {
        let cancelled = queue.cancel(&id(name)).await.unwrap();
        let Cancelled::Done(entries) = cancelled else { panic!("{name}: {cancelled:?}") };
        assert_eq!(entries[0].get("id").map(|id| &id[..]), Some(name.as_bytes()));
        assert_eq!(queue.cancel(&id(name)).await.unwrap(), Cancelled::TooLate);
    }
    assert!(rig.aside().await.is_empty());
}

#[tokio::test]
async fn a_retry_that_waits_is_too_late() {
    let rig = Rig::shared().await;
    let (source, queue) = (rig.source(), queue(&rig));
    rig.add(&to_one(1, &[("id", "tried")])).await;
    let taken = take(&source, 1).await;
    let later = gim_msg_queue::source::Settlement::Later { due_ms: now_ms() + 60_000, attempts: 1, rest: None };
    super::rig::settle(&source, &taken, &later).await;
    assert_eq!(queue.cancel(&id("tried")).await.unwrap(), Cancelled::TooLate);
    assert_eq!(rig.aside().await.len(), 1);
}

#[tokio::test]
async fn users_of_several_lanes_are_all_taken_back() {
    let rig = Rig::shared().await;
    let queue = queue(&rig);
    let list = serde_json::to_string(&(0..50).map(|n| format!("u{n}")).collect::<Vec<_>>()).unwrap();
    let ids = queue.enqueue(vec![crate::support::entry(1, &[("to_uids", &list)])]).await.unwrap();
    let Cancelled::Done(entries) = queue.cancel(&ids[0]).await.unwrap() else { panic!("not taken back") };
    assert_eq!(entries.len(), usize::from(LANE) + 1);
    assert!(queue.stats().await.unwrap().iter().all(|lane| lane.lag == 0));
}
