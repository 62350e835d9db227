//! A producer's id makes a repeat harmless.

use serde_json::json;

use super::push;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{TestNode, unix_ms};

#[tokio::test]
async fn a_repeat_returns_the_id_and_has_no_effect() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for round in 0..3 {
        let id = push(&node, json!({ "to_uid": "u", "id": "order:17.a_b-c", "data": { "round": round } })).await;
        assert_eq!(id, "order:17.a_b-c");
    }
    let found = client.expect_body(json!({ "round": 0 })).await;
    assert_eq!(found.id.as_deref(), Some("order:17.a_b-c"));
    client.expect_silence().await;
}

#[tokio::test]
async fn a_repeat_within_one_array_has_no_effect_either() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let messages = json!([
        { "to_uid": "u", "id": "a", "data": { "n": 1 } },
        { "to_uid": "u", "id": "b", "data": { "n": 2 } },
        { "to_uid": "u", "id": "a", "data": { "n": 3 } },
    ]);
    assert_eq!(http::push(node.admin, &messages).await, ["a", "b", "a"]);
    http::settled(node.admin).await;
    client.expect_body(json!({ "n": 1 })).await;
    client.expect_body(json!({ "n": 2 })).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn repeats_at_the_same_time_are_delivered_once() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let mut posts = tokio::task::JoinSet::new();
    for n in 0..50 {
        let admin = node.admin;
        posts
            .spawn(async move { http::push(admin, &json!({ "to_uid": "u", "id": "same", "data": { "n": n } })).await });
    }
    for ids in posts.join_all().await {
        assert_eq!(ids, ["same"]);
    }
    http::settled(node.admin).await;
    client.expect_push().await;
    client.expect_silence().await;
}

#[tokio::test]
async fn messages_without_an_id_are_never_repeats() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for _ in 0..3 {
        push(&node, json!({ "to_uid": "u", "data": { "same": 1 } })).await;
        client.expect_body(json!({ "same": 1 })).await;
    }
}

#[tokio::test]
async fn a_repeat_of_a_scheduled_message_is_a_repeat() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let due = unix_ms() + 300;
    http::push(node.admin, &json!({ "to_uid": "u", "id": "s", "deliver_at_ms": due, "data": { "n": 1 } })).await;
    http::push(node.admin, &json!({ "to_uid": "u", "id": "s", "data": { "n": 2 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    http::push(node.admin, &json!({ "to_uid": "u", "id": "s", "data": { "n": 3 } })).await;
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_refused_array_remembers_no_id() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let refused = json!([{ "to_uid": "u", "id": "x", "data": {} }, { "to_uid": "a b", "data": {} }]);
    assert_eq!(http::post(node.admin, "/api/v1/messages", &refused).await.0, 400);
    push(&node, json!({ "to_uid": "u", "id": "x", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
}
