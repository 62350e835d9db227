//! Redis has no memory left for writes, and then has again.

use std::time::Duration;

use gim_proxy_sdk::testing::RedisServer;
use redis::cmd;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::support::client::Client;
use crate::support::lanes::Lanes;
use crate::support::node::Spec;
use crate::support::oracle::judge;
use crate::support::recorder::{Plan, all_reach_the_end};
use crate::support::traffic::{People, Traffic};
use crate::support::{eventually, http};

const BATCH: usize = 1_000;
const PER_SECOND: usize = 5_000;
const ROUNDS: usize = 3;
/// How long it stays full: longer than a lane's lease once.
const FULL: [Duration; ROUNDS] = [Duration::from_millis(300), Duration::from_secs(7), Duration::from_millis(300)];
const PEOPLE: People = People { users: 20, groups: 2 };

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_and_pauses_and_loses_nothing() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis).lanes(2);
    let lanes = Lanes::new(&spec, &redis);
    let node = spec.start().await;
    let recorders = Plan::once(PEOPLE, node.public).connect_all().await;
    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    let link = redis.store().link("any");
    let limit = |bytes: &str| {
        let mut limit = cmd("CONFIG");
        limit.arg("SET").arg("maxmemory").arg(bytes);
        limit
    };
    for full in FULL {
        traffic.produce(BATCH, BATCH / 10, PER_SECOND).await;
        let until = Instant::now() + full;
        traffic.batch_then(BATCH, &limit("1")).await;
        eventually("the lanes to pause", || async {
            (node.metric("gim_worker_pauses_total", "").await > 0).then_some(())
        })
        .await;
        assert_eq!(Client::try_open(node.public, "/ws?uid=late").await.err(), Some(503));
        let message = json!({ "to_uid": People::uid(0), "data": {} });
        let (status, answer) = http::post(node.admin, "/api/v1/messages", &message).await;
        assert_eq!(status, 429, "{answer}");
        let upgrade = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13"), KEY];
        let refused = http::respond("GET", node.public, "/ws?uid=late", &upgrade, b"").await;
        assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{}", refused.text());
        sleep_until(until).await;
        let _: () = link.query(&limit("0")).await.unwrap();
        Client::user(node.public, "late").await.close().await;
    }
    traffic.produce(BATCH, BATCH / 10, PER_SECOND).await;
    all_reach_the_end(&recorders, PEOPLE, &traffic).await;
    lanes.settle().await;
    assert!(recorders.iter().all(|recorder| recorder.is_on_its_first_connection()), "a client was closed");
    let counts = judge(&traffic, PEOPLE, &recorders, &[]);
    let pauses = node.metric("gim_worker_pauses_total", "").await;
    eprintln!("redis full {ROUNDS} times: {counts}; pauses {pauses}");
    assert_eq!((counts.seen, counts.again, counts.late), (counts.due, 0, 0));
    assert_eq!(node.metric("gim_incarnations_total", "").await, 0, "nothing was lost");
}
