//! What happens at a bound: the call is refused, and nothing of it is left behind.

use gim_proxy_sdk::testing::RedisServer;

use super::*;

#[tokio::test]
async fn a_lane_that_is_full_takes_nothing_of_a_call() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 1, Bounds { entries: 3, ..Bounds::default() }).await;
    let queue = outside.keys.queue(0);
    put(&producer, vec![under("a", "1"), under("b", "1")]).await.unwrap();
    assert_eq!(put(&producer, vec![under("c", "1"), under("d", "1")]).await, Err(QueueErrorKind::Full));
    let marks: u64 = outside.send(&["EXISTS", &mark(&outside, "c"), &mark(&outside, "d")]).await;
    assert_eq!((outside.length(&queue).await, marks), (2, 0));
    put(&producer, vec![under("a", "1"), under("c", "1"), under("b", "1")]).await.unwrap();
    assert_eq!(put(&producer, vec![to("1")]).await, Err(QueueErrorKind::Full));
    put(&producer, vec![under("a", "1"), under("c", "1")]).await.unwrap();
    assert_eq!(outside.length(&queue).await, 3, "a repeat needs no room");
}

fn mark(outside: &Outside, id: &str) -> String {
    outside.keys.idempotency(0, &MessageId::parse(id).unwrap())
}

#[tokio::test]
async fn only_scheduled_entries_are_refused_when_too_many_wait() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 1, Bounds { later: 2, ..Bounds::default() }).await;
    let due = (outside.now_ms().await + 60_000).to_string();
    let scheduled = || fields(&[("to_uid", "1"), ("data", "{}"), ("deliver_at_ms", &due)]);
    outside.send::<()>(&["ZADD", &outside.keys.later(0), &due, "m"]).await;
    assert_eq!(put(&producer, vec![scheduled(), scheduled()]).await, Err(QueueErrorKind::Full));
    put(&producer, vec![scheduled(), to("1"), to("2")]).await.unwrap();
    assert_eq!(outside.length(&outside.keys.queue(0)).await, 3);
}

#[tokio::test]
async fn a_call_for_several_lanes_is_refused_whole_while_one_of_them_is_full() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 2, Bounds { entries: 2, ..Bounds::default() }).await;
    let uids: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let lane = |uid: &str| lane_of(&Target::User(Uid::parse(uid).unwrap()), lanes(2));
    let of = |wanted: u16| uids.iter().filter(move |uid| lane(uid) == wanted);
    put(&producer, of(1).take(2).map(|uid| to(uid)).collect()).await.unwrap();
    let both = of(0).take(1).chain(of(1).take(1)).map(|uid| to(uid)).collect();
    assert_eq!(put(&producer, both).await, Err(QueueErrorKind::Full));
    assert_eq!(outside.length(&outside.keys.queue(0)).await, 0);
}

#[tokio::test]
async fn what_came_of_the_first_steps_is_not_taken_back_and_the_error_says_so() {
    let outside = Outside::shared().await;
    let producer = producer(&outside, 1, Bounds { entries: 1_500, ..Bounds::default() }).await;
    let entries = || (0..2_000).map(|n| under(&format!("m{n}"), "1")).collect::<Vec<_>>();
    assert_eq!(put(&producer, entries()).await, Err(QueueErrorKind::Timeout));
    assert_eq!(outside.length(&outside.keys.queue(0)).await, 1_000);
    let wider = super::producer(&outside, 1, Bounds::default()).await;
    put(&wider, entries()).await.unwrap();
    assert_eq!(outside.length(&outside.keys.queue(0)).await, 2_000, "a repeat brings what is missing, once");
}

#[tokio::test]
async fn a_redis_without_memory_refuses_whole_calls_and_takes_them_again_later() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let producer = producer(&outside, 1, Bounds::default()).await;
    let body = format!(r#"{{"x":"{}"}}"#, "x".repeat(20_000));
    let call = |n: u32| {
        let entry = move |m: u32| fields(&[("to_uid", "1"), ("data", &body), ("id", &format!("{n}-{m}"))]);
        (0..10).map(entry).collect::<Vec<_>>()
    };
    producer.enqueue(call.clone()(0)).await.unwrap();
    outside.send::<()>(&["CONFIG", "SET", "maxmemory", "8mb"]).await;
    let mut accepted = 1;
    let refused = loop {
        match put(&producer, call.clone()(accepted)).await {
            Ok(_) => accepted += 1,
            Err(kind) => break kind,
        }
    };
    assert_eq!(refused, QueueErrorKind::Full);
    let marks: Vec<String> = outside.send(&["KEYS", &format!("*:id:{accepted}-*")]).await;
    assert_eq!(outside.length(&outside.keys.queue(0)).await, u64::from(accepted) * 10);
    assert!(marks.is_empty(), "{marks:?}");
    outside.send::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    producer.enqueue(call.clone()(accepted)).await.unwrap();
    assert_eq!(outside.length(&outside.keys.queue(0)).await, u64::from(accepted) * 10 + 10);
}

#[tokio::test]
async fn what_finds_no_place_on_the_way_waits_until_its_deadline() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let bounds = Bounds { calls_in_flight: 1, deadline: Duration::from_millis(500), ..Bounds::default() };
    let producer = producer(&outside, 1, bounds).await;
    server.freeze();
    let calls = join_all((0..3).map(|_| put(&producer, vec![to("1")]))).await;
    server.thaw();
    let count = |kind| calls.iter().filter(|call| **call == Err(kind)).count();
    assert_eq!((count(QueueErrorKind::Timeout), count(QueueErrorKind::Full)), (1, 2), "{calls:?}");
}
