//! Who may be the one node of mode `redis`.

use std::time::Duration;

use gim_proto::NodeId;
use gim_proxy_sdk::testing::RedisServer;
use redis::cmd;
use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{NodeProcess, Spec};

/// Far above the 300 ms of the probe and far below any lease.
const SOON: Duration = Duration::from_secs(2);

/// A message goes all the way.
async fn works(node: &NodeProcess, n: u32) {
    let mut client = Client::user(node.public, "u").await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "n": n } })).await;
    // What the run before did not settle comes again first.
    while client.expect_push().await.a != json!({ "n": n }) {}
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_while_the_node_lives_is_refused_and_told_why() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis);
    let node = spec.start().await;
    let mut client = Client::user(node.public, "u").await;
    let (code, said) = spec.other("n2").refused().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("n1") && said.contains("there is one node"), "{said}");
    let (code, said) = spec.elsewhere().refused().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("lives already"), "{said}");
    let (code, said) = spec.elsewhere().lanes(2).refused().await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("queue.lanes"), "{said}");
    // Nobody has noticed.
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    assert_eq!(node.metric("gim_incarnations_total", "").await, 0);
    drop(node);
    let (code, _) = spec.lanes(2).refused().await;
    assert_eq!(code, Some(64), "the number of lanes outlives the node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_of_a_killed_node_is_free_at_once_for_it_and_for_others() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis);
    let mut took = Vec::new();
    let specs = [spec.clone(), spec.clone(), spec.elsewhere(), spec.other("n2"), spec.other("n3"), spec.clone()];
    let mut last: Option<NodeProcess> = None;
    for (n, spec) in (0..).zip(&specs) {
        if let Some(mut node) = last.take() {
            node.kill();
        }
        let begun = Instant::now();
        let node = spec.start().await;
        works(&node, n).await;
        took.push(begun.elapsed());
        last = Some(node);
    }
    eprintln!("from start to a delivery after kills: {took:?}");
    assert!(took.iter().all(|took| *took < SOON), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_die_before_they_have_taken_a_lane_do_not_hold_it_up() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis).lanes(4);
    let link = redis.store().link("any");
    let key = spec.keys().node(&NodeId::parse("n1").unwrap());
    let mut node = spec.start().await;
    works(&node, 0).await;
    node.kill();
    for _ in 0..5 {
        let before: Option<String> = link.query(cmd("GET").arg(&key)).await.unwrap();
        let mut dying = spec.launch();
        crate::support::within("the place to be taken", async {
            while link.query::<Option<String>>(cmd("GET").arg(&key)).await.unwrap() == before {}
        })
        .await;
        dying.kill();
    }
    let begun = Instant::now();
    node = spec.start().await;
    for n in 1..20 {
        works(&node, n).await;
    }
    let took = begun.elapsed();
    eprintln!("from start to deliveries after five runs died at their start: {took:?}");
    assert!(took < SOON, "{took:?}");
}
