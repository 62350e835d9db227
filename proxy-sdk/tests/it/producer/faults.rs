//! What a producer says when Redis is not there, and that it is of use again when Redis is back.

use gim_proxy_sdk::testing::RedisServer;

use super::*;
use crate::support::within;

async fn until_accepted(producer: &Producer, entry: impl Fn() -> Fields) -> MessageId {
    let trying = async {
        loop {
            match producer.enqueue_one(entry()).await {
                Ok(id) => return id,
                Err(error) => assert!(error.kind.is_retryable(), "{error:?}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    within("the queue to take an entry again", trying).await
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_back_costs_retryable_errors_and_no_restart() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let outside = Outside::of(&server).await;
    let producer = producer(&outside, 1, Bounds::default()).await;
    producer.enqueue_one(under("before", "1")).await.unwrap();
    server.stop();
    let kind = put(&producer, vec![under("meanwhile", "1")]).await.unwrap_err();
    assert!(matches!(kind, QueueErrorKind::Unavailable | QueueErrorKind::Timeout), "{kind:?}");
    assert_eq!(put(&producer, vec![under("meanwhile", "1")]).await, Err(QueueErrorKind::Unavailable));
    server.restart().await;
    until_accepted(&producer, || under("meanwhile", "1")).await;
    producer.enqueue_one(under("before", "1")).await.unwrap();
    let again = server.store().connect("any", None).await.unwrap();
    let count: u64 = redis::cmd("XLEN").arg(outside.keys.queue(0)).query_async(&mut again.clone()).await.unwrap();
    assert_eq!(count, 2, "marks and entries outlived the restart together");
}

#[tokio::test]
async fn an_unknown_outcome_is_a_timeout_and_its_repeat_has_no_second_effect() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let producer = producer(&outside, 1, Bounds { deadline: Duration::from_millis(300), ..Bounds::default() }).await;
    producer.enqueue_one(under("first", "1")).await.unwrap();
    server.freeze();
    assert_eq!(put(&producer, vec![under("x", "1")]).await, Err(QueueErrorKind::Timeout));
    server.thaw();
    until_accepted(&producer, || under("x", "1")).await;
    assert_eq!(outside.length(&outside.keys.queue(0)).await, 2);
}

#[tokio::test]
async fn a_redis_that_forgot_its_scripts_is_told_them_again() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let producer = producer(&outside, 1, Bounds::default()).await;
    for n in 0..5 {
        outside.send::<()>(&["SCRIPT", "FLUSH"]).await;
        let calls = (0..20).map(|_| producer.enqueue_one(to(&n.to_string())));
        join_all(calls).await.into_iter().for_each(|id| drop(id.unwrap()));
    }
    assert_eq!(outside.length(&outside.keys.queue(0)).await, 100);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_anew() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let producer = producer(&outside, 1, Bounds::default()).await;
    producer.enqueue_one(to("1")).await.unwrap();
    outside.send::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until_accepted(&producer, || under("x", "1")).await;
    assert_eq!(outside.length(&outside.keys.queue(0)).await, 2);
}

#[tokio::test]
async fn a_changed_number_of_lanes_is_noticed_within_ten_seconds() {
    let outside = Outside::shared().await;
    agree_on_lanes(&outside.store, &outside.keys, lanes(1)).await.unwrap();
    let options = ProducerOptions { lanes: None, ..options(&outside, 1) };
    let producer = Producer::connect(outside.store.options().clone(), options).await.unwrap();
    let uid = (0..).map(|n| n.to_string()).find(|uid| {
        let target = Target::User(Uid::parse(uid).unwrap());
        lane_of(&target, lanes(64)) == 63
    });
    let entry = to(&uid.unwrap());
    producer.enqueue_one(entry.clone()).await.unwrap();
    outside.send::<u64>(&["HSET", &outside.keys.meta(), "lanes", "64"]).await;
    assert!(producer.enqueue_one(entry.clone()).await.unwrap().as_str().starts_with("0-"));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    assert!(producer.enqueue_one(entry).await.unwrap().as_str().starts_with("63-"));
}
