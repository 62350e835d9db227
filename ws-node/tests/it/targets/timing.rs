//! Messages with a time: expiry, schedules, priorities.

use serde_json::json;

use super::push;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{TestNode, unix_ms};

#[tokio::test]
async fn a_message_whose_time_has_passed_is_not_delivered() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    client.join("g").await;
    let past = unix_ms() - 60_000;
    for target in [json!({ "to_uid": "u" }), json!({ "to_uids": ["u"] }), json!({ "tgid": "g" }), json!({ "all": 1 })] {
        let mut message = target;
        message["deliver_at_ms"] = json!(past);
        message["ttl_ms"] = json!(1_000);
        message["data"] = json!({ "late": true });
        push(&node, message).await;
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn a_message_whose_time_has_not_passed_is_delivered() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    push(&node, json!({ "to_uid": "u", "ttl_ms": 60_000, "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    let past = unix_ms() - 60_000;
    push(&node, json!({ "to_uid": "u", "deliver_at_ms": past, "ttl_ms": 600_000, "data": { "n": 2 } })).await;
    client.expect_body(json!({ "n": 2 })).await;
    push(&node, json!({ "to_uid": "u", "deliver_at_ms": past, "data": { "n": 3 } })).await;
    client.expect_body(json!({ "n": 3 })).await;
}

#[tokio::test]
async fn an_expired_message_is_settled_and_no_dead_letter() {
    let node = TestNode::start().await;
    push(&node, json!({ "to_uid": "u", "deliver_at_ms": unix_ms() - 60_000, "ttl_ms": 1, "data": {} })).await;
    push(&node, json!({ "to_uid": "nobody", "data": {} })).await;
    let (_, queue) = http::get(node.admin, "/api/v1/queue").await;
    let lane = &queue["lanes"][0];
    assert_eq!((&lane["lag"], &lane["pending"], &lane["dead"]), (&json!(0), &json!(0), &json!(0)), "{queue}");
}

#[tokio::test]
async fn a_scheduled_message_comes_at_its_time_and_holds_nothing_up() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let due = unix_ms() + 700;
    let id = http::push(node.admin, &json!({ "to_uid": "u", "deliver_at_ms": due, "data": { "n": 2 } })).await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    assert!(unix_ms() < due, "the machine is too busy for this test");
    let (_, queue) = http::get(node.admin, "/api/v1/queue").await;
    assert_eq!(queue["lanes"][0]["later"], 1, "{queue}");
    let push = client.expect_body(json!({ "n": 2 })).await;
    assert!(unix_ms() >= due, "it came too early");
    assert_eq!(push.id.as_deref(), Some(id[0].as_str()));
    client.expect_silence().await;
}

#[tokio::test]
async fn schedules_come_in_the_order_of_their_times() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let now = unix_ms();
    let messages: Vec<_> = [900, 500, 800, 600, 700]
        .map(|wait| json!({ "to_uid": "u", "deliver_at_ms": now + wait, "data": { "wait": wait } }))
        .into();
    http::push(node.admin, &json!(messages)).await;
    for wait in [500, 600, 700, 800, 900] {
        client.expect_body(json!({ "wait": wait })).await;
    }
}

#[tokio::test]
async fn a_scheduled_message_goes_to_whoever_is_the_user_then() {
    let node = TestNode::start().await;
    let due = unix_ms() + 500;
    http::push(node.admin, &json!({ "to_uid": "u", "deliver_at_ms": due, "data": { "n": 1 } })).await;
    let mut client = Client::user(node.public, "u").await;
    client.expect_body(json!({ "n": 1 })).await;
}

#[tokio::test]
async fn messages_of_every_priority_arrive() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for round in 0..10 {
        for priority in ["low", "normal", "high"] {
            let body = json!({ "round": round, "priority": priority });
            push(&node, json!({ "to_uid": "u", "priority": priority, "data": body })).await;
            client.expect_body(body).await;
        }
    }
}

#[tokio::test]
async fn priority_never_reorders_messages_of_one_target_and_priority() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let priorities = ["low", "high", "normal"];
    let messages: Vec<_> =
        (0..900).map(|n| json!({ "to_uid": "u", "priority": priorities[n % 3], "data": { "n": n } })).collect();
    http::push(node.admin, &json!(messages)).await;
    let mut next = [0, 1, 2];
    for _ in 0..900 {
        let n = usize::try_from(client.expect_push().await.a["n"].as_u64().unwrap()).unwrap();
        assert_eq!(n, next[n % 3], "out of order within {}", priorities[n % 3]);
        next[n % 3] += 3;
    }
    client.expect_silence().await;
}
