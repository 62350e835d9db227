//! What `POST /api/v1/messages` does not accept, and how it says so.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::http::{self, Response};
use crate::support::node::{TestNode, unix_ms};

async fn post(node: &TestNode, body: &[u8]) -> Response {
    http::respond("POST", node.admin, "/api/v1/messages", &[], body).await
}

/// A message that breaks the rules, and the field that does.
fn malformed() -> Vec<(Value, &'static str)> {
    let long = "x".repeat(129);
    let body = json!({ "x": 1 });
    let month = 31 * 24 * 60 * 60 * 1_000;
    vec![
        (json!({ "to_uid": "u" }), "data"),
        (json!({ "to_uid": "u", "data": [1] }), "data"),
        (json!({ "to_uid": "u", "data": "text" }), "data"),
        (json!({ "to_uid": "u", "data": 5 }), "data"),
        (json!({ "to_uid": "a b", "data": body }), "to_uid"),
        (json!({ "to_uid": long, "data": body }), "to_uid"),
        (json!({ "to_uid": { "x": 1 }, "data": body }), "to_uid"),
        (json!({ "to_uids": ["ok", "a b"], "data": body }), "to_uids"),
        (json!({ "to_uids": [5, []], "data": body }), "to_uids"),
        (json!({ "to_uids": "u", "data": body }), "to_uids"),
        (json!({ "tgid": "a{b", "data": body }), "tgid"),
        (json!({ "tgid": "a\nb", "data": body }), "tgid"),
        (json!({ "tgid_list": ["ok", ""], "data": body }), "tgid_list"),
        (json!({ "tgid_list": ["a}"], "data": body }), "tgid_list"),
        (json!({ "to_uid": "u", "except_uid": "a b", "data": body }), "except_uid"),
        (json!({ "to_uid": "u", "except_uid": ["ok", "a b"], "data": body }), "except_uid"),
        (json!({ "to_uid": "u", "id": "not an id", "data": body }), "id"),
        (json!({ "to_uid": "u", "id": long, "data": body }), "id"),
        (json!({ "to_uid": "u", "class": "lively", "data": body }), "class"),
        (json!({ "to_uid": "u", "class": "LIVE", "data": body }), "class"),
        (json!({ "to_uid": "u", "class": "latest", "data": body }), "key"),
        (json!({ "to_uid": "u", "ttl_ms": "soon", "data": body }), "ttl_ms"),
        (json!({ "to_uid": "u", "ttl_ms": -5, "data": body }), "ttl_ms"),
        (json!({ "to_uid": "u", "ttl_ms": 1.5, "data": body }), "ttl_ms"),
        (json!({ "to_uid": "u", "ttl_ms": 1_u64 << 53, "data": body }), "ttl_ms"),
        (json!({ "to_uid": "u", "deliver_at_ms": "later", "data": body }), "deliver_at_ms"),
        (json!({ "to_uid": "u", "deliver_at_ms": unix_ms() + month, "data": body }), "deliver_at_ms"),
        (json!({ "to_uid": "u", "priority": "urgent", "data": body }), "priority"),
        (json!({ "to_uid": "u", "raw_b64": "!!!" }), "raw"),
        (json!({ "to_uid": "u", "mol": { "x": 1 }, "data": body }), "mol"),
    ]
}

/// A message that contradicts itself; which of its fields is named is open.
fn contradictory() -> Vec<Value> {
    let body = json!({ "x": 1 });
    let uids: Vec<String> = (0..10_001).map(|number| format!("u{number}")).collect();
    vec![
        json!({}),
        json!({ "data": body }),
        json!({ "to_uid": "", "tgid": null, "data": body }),
        json!({ "all": 0, "data": body }),
        json!({ "except_uid": "u", "data": body }),
        json!({ "to_uid": "u", "to_uids": ["v"], "data": body }),
        json!({ "to_uid": "u", "all": 1, "data": body }),
        json!({ "tgid": "g", "tgid_list": ["h"], "data": body }),
        json!({ "tgid": "g", "to_uids": ["u"], "data": body }),
        json!({ "tgid": "g", "all": 1, "data": body }),
        json!({ "to_uid": "u", "data": body, "raw_b64": "eA==" }),
        json!({ "to_uid": "u", "raw_b64": "eA==", "class": "latest", "key": "k" }),
        json!({ "to_uid": "u", "raw_b64": "eA==", "class": "durable" }),
        json!({ "all": 1, "class": "latest", "key": "k", "data": body }),
        json!({ "all": 1, "class": "durable", "data": body }),
        json!({ "to_uids": uids, "data": body }),
    ]
}

#[tokio::test]
async fn a_malformed_message_is_refused_and_its_field_named() {
    let node = TestNode::start().await;
    for (message, field) in malformed() {
        let error = post(&node, message.to_string().as_bytes()).await.expect_error(400);
        let named = error["field"].as_str().unwrap_or_else(|| panic!("no field in {error} for {message}"));
        assert!(named.contains(field), "{named} is not {field}: {message}");
    }
}

#[tokio::test]
async fn a_contradictory_message_is_refused() {
    let node = TestNode::start().await;
    for message in contradictory() {
        let response = post(&node, message.to_string().as_bytes()).await;
        let shown = message.to_string();
        assert_eq!(response.status, 400, "{:?}: {}", shown.get(..200).unwrap_or(&shown), response.text());
        response.expect_error(400);
    }
}

#[tokio::test]
async fn one_bad_message_of_many_is_named_by_its_place_and_none_is_accepted() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for (message, field) in malformed() {
        let mut messages: Vec<Value> = (0..20).map(|n| json!({ "to_uid": "u", "data": { "n": n } })).collect();
        messages[17] = message;
        let error = post(&node, json!(messages).to_string().as_bytes()).await.expect_error(400);
        let named = error["field"].as_str().unwrap_or_default();
        assert!(named.contains("17") && named.contains(field), "{error}");
    }
    for message in contradictory() {
        let messages = json!([{ "to_uid": "u", "data": {} }, { "to_uid": "u", "data": {} }, message]);
        let error = post(&node, messages.to_string().as_bytes()).await.expect_error(400);
        assert!(format!("{} {}", error["field"], error["msg"]).contains('2'), "{error}");
    }
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_body_that_is_no_message_is_a_bad_request() {
    let node = TestNode::start().await;
    let bodies: [&[u8]; 10] = [
        b" ",
        b"hello",
        b"{",
        b"null",
        b"5",
        b"\"text\"",
        b"[5]",
        b"[null]",
        b"{\"to_uid\":\"u\",\"data\":{}} more",
        b"{\"to_uid\":\"\xFF\",\"data\":{}}",
    ];
    for body in bodies {
        let response = post(&node, body).await;
        assert_eq!(response.status, 400, "{:?}: {}", String::from_utf8_lossy(body), response.text());
        response.expect_error(400);
    }
}

#[tokio::test]
async fn more_than_a_thousand_messages_are_too_many() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let messages = vec![json!({ "to_uid": "u", "data": {} }); 1_001];
    post(&node, json!(messages).to_string().as_bytes()).await.expect_error(400);
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_message_over_256_kib_is_too_large() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let large = json!({ "to_uid": "u", "data": { "x": "y".repeat(256 * 1024) } });
    post(&node, large.to_string().as_bytes()).await.expect_error(413);
    let among = json!([{ "to_uid": "u", "data": {} }, large]);
    post(&node, among.to_string().as_bytes()).await.expect_error(413);
    http::settled(node.admin).await;
    client.expect_silence().await;
    let fits = json!({ "x": "y".repeat(255 * 1024) });
    http::push(node.admin, &json!({ "to_uid": "u", "data": fits })).await;
    client.expect_body(fits).await;
}

#[tokio::test]
async fn a_request_beyond_all_bounds_is_too_large() {
    let node = TestNode::start().await;
    let body = vec![b' '; 64 * 1024 * 1024];
    assert_eq!(post(&node, &body).await.status, 413);
}

#[tokio::test]
async fn another_method_is_not_allowed() {
    let node = TestNode::start().await;
    for method in ["GET", "PUT", "DELETE"] {
        http::respond(method, node.admin, "/api/v1/messages", &[], b"").await.expect_error(405);
    }
}

#[tokio::test]
async fn a_full_queue_answers_429_and_takes_all_or_nothing() {
    let node = TestNode::start_with(|config| config.queue.later = 5).await;
    let mut client = Client::user(node.public, "u").await;
    let due = unix_ms() + 60_000;
    let later = |n: u64| json!({ "to_uid": "u", "deliver_at_ms": due, "data": { "n": n } });
    http::push(node.admin, &json!([later(0), later(1), later(2)])).await;
    // On a stream an entry counts there until the worker has put it aside.
    http::reached(node.admin, "later", 3).await;
    post(&node, json!([later(3), later(4), later(5)]).to_string().as_bytes()).await.expect_error(429);
    http::push(node.admin, &json!([later(3), later(4)])).await;
    http::reached(node.admin, "later", 5).await;
    post(&node, later(5).to_string().as_bytes()).await.expect_error(429);
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "now": true } })).await;
    client.expect_body(json!({ "now": true })).await;
    let (_, queue) = http::get(node.admin, "/api/v1/queue").await;
    assert_eq!(queue["lanes"][0]["later"], 5, "{queue}");
}
