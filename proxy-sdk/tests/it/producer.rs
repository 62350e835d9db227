//! What a producer puts on the queue, read back as Redis holds it, and what it says when it cannot.

mod bounds;
mod cluster;
mod faults;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use futures_util::future::join_all;
use gim_proto::{Entry, EntryId, Target, Uid, lane_of};
use gim_proxy_sdk::producer::{Bounds, Producer, ProducerOptions};
use gim_proxy_sdk::queue::{QueueErrorKind, agree_on_lanes};
use gim_proxy_sdk::{ErrorKind, Fields, MessageId};
use tokio::time::{Instant, sleep};

use crate::support::streams::{Outside, fields, to, under};

fn lanes(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

/// Everything but the bounds.
fn options(outside: &Outside, number: u16) -> ProducerOptions {
    let prefix = outside.keys.prefix().to_owned();
    ProducerOptions { prefix, lanes: Some(lanes(number)), ..ProducerOptions::default() }
}

async fn producer(outside: &Outside, number: u16, bounds: Bounds) -> Producer {
    let options = ProducerOptions { bounds, ..options(outside, number) };
    Producer::connect(outside.store.options().clone(), options).await.unwrap()
}

async fn put(producer: &Producer, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueErrorKind> {
    producer.enqueue(entries).await.map_err(|error| error.kind)
}

#[tokio::test]
async fn fields_stand_on_the_stream_as_they_were_given() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 1, Bounds::default()).await;
    let given = [("to_uid", "42"), ("data", r#"{ "n": 1 }"#), ("own", "kept"), ("mol", "chat"), ("own", "twice")];
    let ids = producer.enqueue(vec![fields(&given), under("order-1", "7")]).await.unwrap();
    let stream = outside.stream(&outside.keys.queue(0)).await;
    let flat: Vec<&str> = given.iter().flat_map(|(name, value)| [*name, *value]).collect();
    assert_eq!(stream[0].1, flat);
    assert_eq!(stream[1].1, ["to_uid", "7", "data", "{}", "id", "order-1"]);
    assert_eq!(ids, [MessageId::parse(&format!("0-{}", stream[0].0)).unwrap(), MessageId::parse("order-1").unwrap()]);
}

#[tokio::test]
async fn bytes_that_are_no_text_arrive_unchanged() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 1, Bounds::default()).await;
    let raw: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let entry: Fields = [("to_uid", b"1".to_vec()), ("raw", raw.clone())].into_iter().collect();
    producer.enqueue_one(entry).await.unwrap();
    let stream: Vec<(String, Vec<Vec<u8>>)> = outside.send(&["XRANGE", &outside.keys.queue(0), "-", "+"]).await;
    assert_eq!(stream[0].1, [b"to_uid".to_vec(), b"1".to_vec(), b"raw".to_vec(), raw]);
}

#[tokio::test]
async fn every_target_goes_to_its_own_lane_and_users_are_split_under_one_id() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 4, Bounds::default()).await;
    let uids: Vec<String> = (0..40).map(|n| format!("user-{n}")).collect();
    let list = serde_json::to_string(&uids).unwrap();
    let mut entries: Vec<Fields> = uids.iter().map(|uid| to(uid)).collect();
    entries.push(fields(&[("to_uids", &list), ("data", "{}")]));
    entries.push(fields(&[("tgid", "lobby"), ("data", "{}")]));
    entries.push(fields(&[("all", "1"), ("data", "{}")]));
    let ids = producer.enqueue(entries).await.unwrap();
    assert_eq!(ids.len(), 43);
    let mut shared: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = 0;
    for lane in 0..4 {
        for (place, flat) in outside.stream(&outside.keys.queue(lane)).await {
            let fields: Fields = flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            let entry = Entry::decode(&fields).unwrap();
            assert_eq!(lane_of(&entry.target, lanes(4)), lane, "{:?}", entry.target);
            match (&entry.target, entry.id) {
                (Target::Users(mine), Some(id)) => {
                    assert!(mine.iter().all(|uid| lane_of(&Target::User(Uid::clone(uid)), lanes(4)) == lane));
                    *shared.entry(id.to_string()).or_default() += mine.len();
                }
                (_, None) => {
                    assert!(ids.iter().any(|id| id.as_str() == format!("{lane}-{place}")));
                    seen += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(seen, 42);
    assert_eq!(shared.into_iter().collect::<Vec<_>>(), [(ids[40].to_string(), 40)]);
}

#[tokio::test]
async fn a_repeat_within_the_window_returns_the_id_and_has_no_effect() {
    let outside = Outside::shared().await;
    let window = Duration::from_millis(300);
    let producer = producer(&outside, 1, Bounds { idempotency_window: window, ..Bounds::default() }).await;
    let (queue, mark) = (outside.keys.queue(0), outside.keys.idempotency(0, &MessageId::parse("x").unwrap()));
    let ids = producer.enqueue(vec![under("x", "1"), to("2"), under("x", "1")]).await.unwrap();
    assert_eq!((ids[0].as_str(), &ids[2]), ("x", &ids[0]));
    assert_eq!(producer.enqueue_one(under("x", "1")).await.unwrap(), ids[0]);
    let stream = outside.stream(&queue).await;
    assert_eq!(stream.len(), 2);
    assert_eq!(outside.send::<String>(&["GET", &mark]).await, stream[0].0, "a mark names the entry that carries it");
    let left: i64 = outside.send(&["PTTL", &mark]).await;
    assert!((0..=300).contains(&left), "{left}");
    while outside.send::<bool>(&["EXISTS", &mark]).await {
        sleep(Duration::from_millis(10)).await;
    }
    producer.enqueue_one(under("x", "1")).await.unwrap();
    assert_eq!(outside.length(&queue).await, 3);
}

#[tokio::test]
async fn an_entry_that_is_not_acceptable_keeps_the_whole_call_off_every_lane() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 4, Bounds::default()).await;
    let mut entries: Vec<Fields> = (0..20).map(|n| to(&n.to_string())).collect();
    entries.push(fields(&[("to_uid", "1"), ("data", "no json")]));
    let error = producer.enqueue(entries).await.unwrap_err();
    assert_eq!((error.kind, error.index, error.field.as_deref()), (QueueErrorKind::Malformed, Some(20), Some("data")));
    let far = (outside.now_ms().await + 31 * 86_400_000).to_string();
    let error = producer.enqueue_one(fields(&[("to_uid", "1"), ("data", "{}"), ("deliver_at_ms", &far)])).await;
    assert_eq!(error.unwrap_err().field.as_deref(), Some("deliver_at_ms"));
    for lane in 0..4 {
        assert_eq!(outside.length(&outside.keys.queue(lane)).await, 0);
    }
}

#[tokio::test]
async fn more_than_one_step_of_entries_keeps_its_order() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 1, Bounds::default()).await;
    let ids = producer.enqueue((0..2_500).map(|n| to(&n.to_string())).collect()).await.unwrap();
    let stream = outside.stream(&outside.keys.queue(0)).await;
    assert_eq!(ids.len(), 2_500);
    for (n, ((place, flat), id)) in stream.iter().zip(&ids).enumerate() {
        assert_eq!((flat[1].as_str(), id.as_str()), (n.to_string().as_str(), format!("0-{place}").as_str()));
    }
}

#[tokio::test]
async fn ten_thousand_calls_at_once_keep_the_order_of_each_caller() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 2, Bounds::default()).await;
    let begun = Instant::now();
    let callers = (0..200).map(|caller| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                let entry = fields(&[("to_uid", &caller.to_string()), ("data", "{}"), ("n", &n.to_string())]);
                producer.enqueue_one(entry).await.unwrap();
            }
        })
    });
    join_all(callers).await.into_iter().for_each(|caller| caller.unwrap());
    println!("10,000 calls of one entry by 200 callers: {:?}", begun.elapsed());
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for lane in 0..2 {
        for (_, flat) in outside.stream(&outside.keys.queue(lane)).await {
            let next = counts.entry(flat[1].clone()).or_default();
            assert_eq!(flat[5], next.to_string(), "of caller {}", flat[1]);
            *next += 1;
        }
    }
    assert_eq!((counts.len(), counts.values().sum::<u32>()), (200, 10_000));
}

#[tokio::test]
async fn the_number_of_lanes_is_read_or_given_and_the_two_must_not_differ() {
    let outside = Outside::shared().await;
    let connect = |lanes| {
        let options = ProducerOptions { lanes, ..options(&outside, 1) };
        Producer::connect(outside.store.options().clone(), options)
    };
    let error = connect(None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "no node has ever started here");
    connect(Some(lanes(3))).await.unwrap();
    agree_on_lanes(&outside.store, &outside.keys, lanes(8)).await.unwrap();
    assert_eq!(connect(Some(lanes(3))).await.unwrap_err().kind, ErrorKind::Invalid);
    let producer = connect(None).await.unwrap();
    let user = Target::User(Uid::parse("user-1").unwrap());
    let id = producer.enqueue_one(to("user-1")).await.unwrap();
    let lane = lane_of(&user, lanes(8));
    assert!(id.as_str().starts_with(&format!("{lane}-")), "{id}");
    let place = EntryId::parse(id.as_str().split_once('-').unwrap().1).unwrap();
    assert_eq!(outside.stream(&outside.keys.queue(lane)).await[0].0, place.to_string());
}
