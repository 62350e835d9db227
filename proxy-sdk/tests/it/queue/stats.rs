//! Figures of a lane, against a worker that is played by hand.

use std::sync::atomic::Ordering;

use gim_proxy_sdk::queue::LaneStats;

use super::*;

async fn stats(queue: &RedisQueue) -> LaneStats {
    queue.stats().await.unwrap().remove(0)
}

impl Outside {
    async fn make_group(&self) {
        self.send::<()>(&["XGROUP", "CREATE", &self.keys.queue(0), "gim", "0", "MKSTREAM"]).await;
    }

    /// Reads as the lane's reader does.
    async fn read(&self, count: u32) {
        let (key, count) = (self.keys.queue(0), count.to_string());
        let words = ["XREADGROUP", "GROUP", "gim", "lane", "COUNT", &count, "STREAMS", &key, ">"];
        self.send::<redis::Value>(&words).await;
    }

    async fn put_aside(&self, score: f64, member: &str) {
        self.send::<u64>(&["ZADD", &self.keys.later(0), &format!("{score:.0}"), member]).await;
    }
}

#[tokio::test]
async fn a_lane_that_nobody_has_read_lags_by_all_it_holds() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 2);
    assert_eq!(stats(&queue).await, LaneStats::default());
    queue.enqueue((0..5).map(|_| to("1")).collect()).await.unwrap();
    let both = queue.stats().await.unwrap();
    assert_eq!(both.iter().map(|lane| lane.lane).collect::<Vec<_>>(), [0, 1]);
    let lag: u64 = both.iter().map(|lane| lane.lag).sum();
    assert_eq!((lag, both.iter().map(|lane| lane.pending).sum::<u64>()), (5, 0));
}

#[tokio::test]
async fn what_is_read_is_pending_until_it_is_settled() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let key = outside.keys.queue(0);
    outside.make_group().await;
    queue.enqueue((0..5).map(|_| to("1")).collect()).await.unwrap();
    outside.read(3).await;
    let found = stats(&queue).await;
    assert_eq!((found.lag, found.pending), (2, 3));
    for (place, _) in outside.stream(&key).await.iter().take(2) {
        outside.send::<u64>(&["XACK", &key, "gim", place]).await;
    }
    queue.settled(0).unwrap().fetch_add(2, Ordering::Relaxed);
    let found = stats(&queue).await;
    assert_eq!((found.lag, found.pending, found.settled), (2, 1, 2));
}

#[tokio::test]
async fn where_redis_does_not_count_the_lag_it_is_what_is_not_pending() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let key = outside.keys.queue(0);
    outside.make_group().await;
    queue.enqueue((0..6).map(|_| to("1")).collect()).await.unwrap();
    outside.read(2).await;
    let stream = outside.stream(&key).await;
    // A hole in what is unread: from then on Redis does not know.
    outside.send::<u64>(&["XDEL", &key, &stream[4].0]).await;
    let groups: Vec<Vec<redis::Value>> = outside.send(&["XINFO", "GROUPS", &key]).await;
    assert_eq!(groups[0].last(), Some(&redis::Value::Nil));
    let found = stats(&queue).await;
    assert_eq!((found.lag, found.pending), (3, 2));
    outside.read(9).await;
    assert_eq!(stats(&queue).await.lag, 0);
}

#[tokio::test]
async fn what_waits_counts_by_its_band_and_its_time() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let now = outside.now_ms().await as f64;
    let (soon, long_ago) = (now + 60_000.0, now - 5_000.0);
    for (member, score) in [
        ("s-soon", soon),
        ("s-due", long_ago),
        ("r-soon", soon - 1e15),
        ("r-due", long_ago - 1e15),
        ("r-due-2", now - 2_000.0 - 1e15),
        ("t-1", now - 9_000.0 - 2e15),
        ("t-2", soon - 2e15),
    ] {
        outside.put_aside(score, member).await;
    }
    let found = stats(&queue).await;
    assert_eq!((found.lag, found.pending, found.later), (3, 2, 2));
    assert!((9_000..15_000).contains(&found.oldest_pending_ms), "{found:?}");
}

#[tokio::test]
async fn the_oldest_counts_wherever_it_is() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    let key = outside.keys.queue(0);
    let now = outside.now_ms().await;
    let age = || async { stats(&queue).await.oldest_pending_ms };
    outside.make_group().await;
    assert_eq!(age().await, 0);
    for back in [30_000, 20_000] {
        outside.send::<String>(&["XADD", &key, &format!("{}-0", now - back), "to_uid", "1", "data", "{}"]).await;
    }
    assert!((30_000..36_000).contains(&age().await));
    outside.read(1).await;
    assert!((30_000..36_000).contains(&age().await), "pending");
    outside.send::<u64>(&["XACK", &key, "gim", &format!("{}-0", now - 30_000)]).await;
    assert!((20_000..26_000).contains(&age().await), "unread");
    outside.put_aside(now as f64 - 40_000.0, "due").await;
    assert!((40_000..46_000).contains(&age().await), "due");
}

#[tokio::test]
async fn dead_letters_are_counted() {
    let outside = Outside::shared().await;
    let queue = queue(&outside, 1);
    for _ in 0..3 {
        outside.send::<String>(&["XADD", &outside.keys.dead(0), "*", "to_uid", "1"]).await;
    }
    assert_eq!(stats(&queue).await.dead, 3);
}
