//! The queue's figures and its dead letters.

use serde_json::json;

use crate::support::http::{self, get, post, request};
use crate::support::node::{TestNode, unix_ms};

#[tokio::test]
async fn the_queue_tells_the_figures_of_every_lane() {
    let node = TestNode::start_with(|config| config.queue.lanes = 3.try_into().unwrap()).await;
    let messages: Vec<_> = (0..30).map(|n| json!({ "to_uid": format!("u{n}"), "data": {} })).collect();
    http::push(node.admin, &json!(messages)).await;
    http::push(node.admin, &json!({ "to_uid": "u", "deliver_at_ms": unix_ms() + 60_000, "data": {} })).await;
    http::settled(node.admin).await;
    // A worker beside its store counts once the store has confirmed.
    http::reached(node.admin, "settled", 30).await;
    let (status, queue) = get(node.admin, "/api/v1/queue").await;
    assert_eq!(status, 200);
    let lanes = queue["lanes"].as_array().expect("lanes");
    assert_eq!(lanes.len(), 3);
    let sum = |field: &str| lanes.iter().map(|lane| lane[field].as_u64().expect("a figure")).sum::<u64>();
    for (at, lane) in lanes.iter().enumerate() {
        assert_eq!(lane["lane"], at);
        assert_eq!(lane["oldest_pending_ms"], 0, "{lane}");
    }
    assert_eq!((sum("lag"), sum("pending"), sum("later"), sum("dead"), sum("settled")), (0, 0, 1, 0, 30), "{queue}");
}

#[tokio::test]
async fn dead_letters_are_listed_per_lane_and_there_are_none_at_first() {
    let node = TestNode::start().await;
    let (status, dead) = get(node.admin, "/api/v1/dead/0").await;
    assert_eq!((status, &dead["dead"]), (200, &json!([])), "{dead}");
    let (status, redriven) = post(node.admin, "/api/v1/dead/0/redrive", &json!({})).await;
    assert_eq!((status, &redriven["redriven"]), (200, &json!(0)), "{redriven}");
    let (status, purged) = request("DELETE", node.admin, "/api/v1/dead/0", None).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(0)), "{purged}");
}

#[tokio::test]
async fn a_lane_that_does_not_exist_is_an_error() {
    let node = TestNode::start().await;
    http::respond("GET", node.admin, "/api/v1/dead/1", &[], b"").await.expect_error(404);
    http::respond("GET", node.admin, "/api/v1/dead/x", &[], b"").await.expect_error(400);
    http::respond("POST", node.admin, "/api/v1/dead/99/redrive", &[], b"").await.expect_error(404);
    http::respond("DELETE", node.admin, "/api/v1/dead/70000", &[], b"").await.expect_error(400);
    let bad = json!({ "ids": ["not an id"] }).to_string();
    http::respond("POST", node.admin, "/api/v1/dead/0/redrive", &[], bad.as_bytes()).await.expect_error(400);
    http::respond("POST", node.admin, "/api/v1/dead/0/redrive", &[], b"{").await.expect_error(400);
}
