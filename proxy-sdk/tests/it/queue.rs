//! The operators' side of the queue in Redis: figures, dead letters, and the number of lanes.

mod dead;
mod stats;

use std::num::NonZeroU16;

use gim_proxy_sdk::producer::Bounds;
use gim_proxy_sdk::queue::{LanesError, Queue, QueueErrorKind, RedisQueue, Selection, agree_on_lanes};
use gim_proxy_sdk::testing::{RedisServer, free_port};

use crate::support::streams::{Outside, to};

fn queue_with(outside: &Outside, lanes: u16, bounds: Bounds) -> RedisQueue {
    RedisQueue::new(&outside.store, outside.keys.clone(), NonZeroU16::new(lanes).unwrap(), bounds)
}

fn queue(outside: &Outside, lanes: u16) -> RedisQueue {
    queue_with(outside, lanes, Bounds::default())
}

#[tokio::test]
async fn a_closed_queue_accepts_nothing_and_still_answers() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    queue.enqueue(vec![to("1")]).await.unwrap();
    queue.close();
    let error = queue.enqueue(vec![to("2")]).await.unwrap_err();
    assert_eq!((error.kind, &*error.detail), (QueueErrorKind::Unavailable, "the queue is shutting down"));
    assert_eq!(queue.redrive(0, Selection::All).await.unwrap_err().kind, QueueErrorKind::Unavailable);
    assert_eq!(queue.stats().await.unwrap()[0].lag, 1);
}

#[tokio::test]
async fn a_lane_beyond_the_last_is_none() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 2);
    let kinds = [
        queue.dead(2, None, 1).await.unwrap_err().kind,
        queue.redrive(2, Selection::All).await.unwrap_err().kind,
        queue.purge(2, Selection::All).await.unwrap_err().kind,
    ];
    assert_eq!(kinds, [QueueErrorKind::NoSuchLane; 3]);
    assert!(queue.settled(1).is_some() && queue.settled(2).is_none());
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_unavailable() {
    let outside = Outside::shared().await;
    let nowhere = gim_proxy_sdk::store::RedisOptions::parse(&format!("redis://127.0.0.1:{}", free_port())).unwrap();
    let store = gim_proxy_sdk::store::Store::new(nowhere);
    let queue = RedisQueue::new(&store, outside.keys.clone(), NonZeroU16::MIN, Bounds::default());
    assert_eq!(queue.enqueue(vec![to("1")]).await.unwrap_err().kind, QueueErrorKind::Unavailable);
    assert_eq!(queue.stats().await.unwrap_err().kind, QueueErrorKind::Unavailable);
    assert_eq!(queue.dead(0, None, 1).await.unwrap_err().kind, QueueErrorKind::Unavailable);
}

#[tokio::test]
async fn the_first_node_sets_the_number_of_lanes_and_another_number_is_refused() {
    let outside = Outside::shared().await;
    let agree = |lanes| agree_on_lanes(&outside.store, &outside.keys, NonZeroU16::new(lanes).unwrap());
    agree(4).await.unwrap();
    agree(4).await.unwrap();
    match agree(5).await.unwrap_err() {
        LanesError::Differ { configured, found } => assert_eq!((configured.get(), &*found), (5, "4")),
        other => panic!("{other:?}"),
    }
    let meta: Vec<String> = outside.send(&["HMGET", &outside.keys.meta(), "schema", "lanes"]).await;
    assert_eq!(meta, ["1", "4"]);
    outside.send::<()>(&["HSET", &outside.keys.meta(), "schema", "2"]).await;
    assert!(matches!(agree(4).await, Err(LanesError::Schema { found }) if &*found == "2"));
}

#[tokio::test]
async fn of_nodes_that_start_at_once_with_different_numbers_one_number_wins() {
    let outside = Outside::shared().await;
    let all = (1..=16).map(|lanes| {
        let outside = outside.clone();
        async move { agree_on_lanes(&outside.store, &outside.keys, NonZeroU16::new(lanes).unwrap()).await.is_ok() }
    });
    let agreed = futures_util::future::join_all(all).await;
    assert_eq!(agreed.into_iter().filter(|agreed| *agreed).count(), 1);
}

#[tokio::test]
async fn a_redis_that_lost_everything_has_no_lanes_and_agrees_anew() {
    let mut server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let agree = |lanes| agree_on_lanes(&outside.store, &outside.keys, NonZeroU16::new(lanes).unwrap());
    agree(4).await.unwrap();
    server.stop();
    assert!(matches!(agree(4).await, Err(LanesError::Store(_))));
    server.restart().await;
    agree(2).await.unwrap();
}
