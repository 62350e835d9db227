//! What a node of mode `redis` tells about itself while entries wait.

use gim_proxy_sdk::testing::RedisServer;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::http::{self, get};
use crate::support::node::{NAME, TestNode, unix_ms};

/// A node of two lanes that has read one entry, for a user it does not find, and reads no further: nine wait unread.
async fn held_up() -> Stage {
    let mut stage = Stage::start_with(|config| {
        config.queue.lanes = 2.try_into().unwrap();
        config.worker.unsettled_messages = 1;
        config.worker.attempts = 1_000;
        config.worker.backoff_first = std::time::Duration::from_millis(10);
        config.worker.backoff_max = std::time::Duration::from_millis(200);
    })
    .await;
    stage.haunt("ghost").await;
    for n in 0..10 {
        stage.add(1, &[("to_uid", "ghost"), ("data", &json!({ "n": n }).to_string())]).await;
    }
    http::reached(stage.node.admin, "pending", 1).await;
    http::reached(stage.node.admin, "lag", 9).await;
    stage
}

async fn metrics(node: &TestNode) -> String {
    let response = http::respond("GET", node.admin, "/metrics", &[], b"").await;
    assert_eq!(response.status, 200);
    response.text()
}

#[track_caller]
fn value(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().expect("a number")
}

#[tokio::test]
async fn sysinfo_shows_what_waits_in_each_lane() {
    let stage = held_up().await;
    let (status, found) = get(stage.node.admin, "/sysinfo").await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(found["subMsgList"], json!({ "msgNum": 10, "consumeNum": 2, "freeCNum": 1 }));
    assert_eq!(found["nodeMap"][0]["subMsgList"], found["subMsgList"]);
    let lanes = found["lanes"].as_array().expect("lanes");
    let figures = |lane: &Value| ["lane", "lag", "pending", "later", "dead"].map(|name| lane[name].as_u64().unwrap());
    assert_eq!(lanes.iter().map(figures).collect::<Vec<_>>(), [[0, 0, 0, 0, 0], [1, 9, 1, 0, 0]]);
    assert_eq!(lanes[0]["oldest_pending_ms"], 0);
    assert!(lanes[1]["oldest_pending_ms"].as_u64() > Some(0), "{found}");
    assert!(found["dependencies"].is_object() && found["incarnation"].is_string(), "{found}");
    for field in ["rss_bytes", "connections", "numGoroutine", "numCPU", "nodeNum"] {
        assert!(found[field].is_u64(), "{field}: {found}");
    }
}

#[tokio::test]
async fn metrics_show_what_waits_in_each_lane() {
    let stage = held_up().await;
    let text = metrics(&stage.node).await;
    for (lane, lag, pending) in [(0, 0.0, 0.0), (1, 9.0, 1.0)] {
        let of = |name: &str| value(&text, &format!("gim_{name}{{lane=\"{lane}\"}}"));
        assert_eq!((of("queue_lag"), of("queue_pending")), (lag, pending));
        assert_eq!((of("queue_later"), of("queue_dead")), (0.0, 0.0));
        assert_eq!(of("queue_oldest_pending_seconds") > 0.0, pending > 0.0);
        assert_eq!((of("worker_taken_total"), of("worker_unsettled_messages")), (1.0, pending));
        assert_eq!(of("worker_panics_total"), 0.0);
    }
    assert!(text.lines().any(|line| line.starts_with("gim_worker_retries_total{") && !line.ends_with(" 0")), "{text}");
    assert_eq!(value(&text, "gim_incarnations_total"), 0.0);
    assert!(text.contains("gim_upstream_total{outcome=\"taken\"} 0\n"), "{text}");
}

#[tokio::test]
async fn what_waited_is_delivered_in_order_once_its_user_is_there() {
    let stage = held_up().await;
    let mut ghost = stage.user("ghost", &[]).await;
    for n in 0..10 {
        ghost.expect_body(json!({ "n": n })).await;
    }
    stage.settled().await;
    http::reached(stage.node.admin, "settled", 10).await;
    let (_, found) = get(stage.node.admin, "/sysinfo").await;
    assert_eq!(found["subMsgList"], json!({ "msgNum": 0, "consumeNum": 2, "freeCNum": 2 }));
    assert_eq!(found["lanes"][1]["oldest_pending_ms"], 0);
}

#[tokio::test]
async fn schedules_and_dead_letters_are_counted_apart_from_what_waits() {
    let mut stage = Stage::start().await;
    let due = (unix_ms() + 600_000).to_string();
    for _ in 0..3 {
        stage.add(0, &[("to_uid", "u"), ("deliver_at_ms", due.as_str()), ("data", "{}")]).await;
    }
    stage.add(0, &[("bad", "entry")]).await;
    http::reached(stage.node.admin, "later", 3).await;
    stage.settled().await;
    let (_, found) = get(stage.node.admin, "/sysinfo").await;
    let lane = &found["lanes"][0];
    assert_eq!(
        (&lane["later"], &lane["dead"], &lane["oldest_pending_ms"]),
        (&json!(3), &json!(1), &json!(0)),
        "{found}"
    );
    assert_eq!(found["subMsgList"], json!({ "msgNum": 0, "consumeNum": 1, "freeCNum": 1 }));
    let text = metrics(&stage.node).await;
    assert_eq!(value(&text, "gim_queue_later{lane=\"0\"}"), 3.0);
    assert_eq!(value(&text, "gim_queue_dead{lane=\"0\"}"), 1.0);
    assert_eq!(value(&text, "gim_worker_dead_total{lane=\"0\",reason=\"malformed\"}"), 1.0);
}

#[tokio::test]
async fn the_node_says_that_it_is_ready_and_who_it_is() {
    let mut stage = Stage::start().await;
    for addr in [stage.node.public, stage.node.admin] {
        assert_eq!(get(addr, "/readyz").await.0, 200);
    }
    let (_, nodes) = get(stage.node.admin, "/api/v1/nodes").await;
    let key = stage.keys.node(&NAME.parse().unwrap());
    let record: Value = serde_json::from_str(&stage.redis.call(&["GET", &key]).await.text()).unwrap();
    assert_eq!(nodes["nodes"][0]["incarnation"], record["incarnation"]);
    assert_eq!(record["rpc"], json!(stage.node.rpc.to_string()));
    assert_eq!(record["public"], json!(stage.node.public.to_string()));
    assert!((1..=10_000).contains(&stage.redis.call(&["PTTL", &key]).await.int()), "it is a lease");
    let client = Client::user(stage.node.public, "u").await;
    let bucket = stage.keys.user_bucket(&"u".parse().unwrap());
    let user = stage.redis.call(&["HGET", &bucket, "u"]).await.text();
    let words: Vec<&str> = user.split(' ').collect();
    let fence = client.fence().to_string();
    let incarnation = record["incarnation"].as_str().unwrap();
    assert_eq!(words, ["1", &fence, client.session(), incarnation, NAME]);
}

/// Waits until the node says on both listeners whether it is ready.
async fn says(node: &TestNode, status: u16, word: &str) {
    for addr in [node.public, node.admin] {
        eventually("the node to say how it is", || async {
            let (found, ready) = get(addr, "/readyz").await;
            (found == status && ready["status"] == word).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn without_redis_a_node_is_alive_not_ready_and_says_what_is_missing() {
    let mut server = RedisServer::start().await;
    let url = server.url();
    let node = TestNode::start_with(|config| {
        config.redis.url = url;
        config.redis.call_timeout = std::time::Duration::from_millis(300);
    })
    .await;
    says(&node, 200, "running").await;
    assert_eq!(get(node.admin, "/sysinfo").await.1["dependencies"], json!({ "directory": "up", "queue": "up" }));
    assert_eq!(value(&metrics(&node).await, "gim_redis_up"), 1.0);
    server.stop();
    says(&node, 503, "redis_unavailable").await;
    assert_eq!(get(node.public, "/healthz").await.0, 200);
    let (status, found) = get(node.admin, "/sysinfo").await;
    assert_eq!((status, &found["dependencies"]), (200, &json!({ "directory": "down", "queue": "down" })), "{found}");
    assert_eq!(found["name"], NAME);
    assert_eq!(value(&metrics(&node).await, "gim_redis_up"), 0.0);
    server.restart().await;
    says(&node, 200, "running").await;
    assert_eq!(get(node.admin, "/sysinfo").await.1["dependencies"], json!({ "directory": "up", "queue": "up" }));
    let text = metrics(&node).await;
    assert_eq!((value(&text, "gim_redis_up"), value(&text, "gim_incarnations_total")), (1.0, 1.0));
    for bound in ["waiting", "under_way"] {
        assert_eq!(value(&text, &format!("gim_redis_calls_refused_total{{bound=\"{bound}\"}}")), 0.0);
    }
    let mut client = Client::user(node.public, "u").await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
}
