//! Class `latest`: of what a client has not taken yet, the newest of a key counts.

use serde_json::{Value, json};

use super::push;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;
use crate::support::raw::Raw;
use crate::support::stalled::fill;

/// Everything JSON that comes until the body with `end`.
async fn read_until_end(client: &mut Raw) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let frame = client.frame().await;
        let Ok(frame) = serde_json::from_slice::<Value>(&frame.payload) else { continue };
        let body = frame["response"]["a"].clone();
        if body.get("end").is_some() {
            return found;
        }
        found.push(body);
    }
}

fn latest(key: &str, n: u64) -> Value {
    json!({ "to_uid": "u", "class": "latest", "key": key, "data": { "key": key, "n": n } })
}

#[tokio::test]
async fn a_stalled_reader_gets_the_newest_of_each_key_alone() {
    let node = TestNode::start().await;
    let mut client = Raw::connect_narrow(node.public, "/acc?uid=u&msg_code=1").await;
    fill(&node, "u").await;
    for n in 0..200 {
        http::push(node.admin, &json!([latest("a", n), latest("b", n)])).await;
    }
    http::settled(node.admin).await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "end": 1 } })).await;
    let found = read_until_end(&mut client).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for key in ["a", "b"] {
        assert!(found.contains(&json!({ "key": key, "n": 199 })), "{found:?}");
    }
}

#[tokio::test]
async fn a_reader_that_keeps_up_gets_every_value() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for n in 0..20 {
        push(&node, latest("a", n)).await;
        client.expect_body(json!({ "key": "a", "n": n })).await;
    }
}

#[tokio::test]
async fn values_are_not_dropped_for_live_messages() {
    let node = TestNode::start().await;
    let mut client = Raw::connect_narrow(node.public, "/acc?uid=u&msg_code=1").await;
    fill(&node, "u").await;
    for key in 0..100 {
        http::push(node.admin, &latest(&format!("k{key}"), 1)).await;
    }
    http::settled(node.admin).await;
    fill(&node, "u").await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "end": 1 } })).await;
    let found = read_until_end(&mut client).await;
    assert_eq!(found.len(), 100, "every key has its value");
}

#[tokio::test]
async fn a_groups_latest_collapses_for_the_stalled_and_not_for_the_others() {
    let node = TestNode::start().await;
    let mut quick = Client::user(node.public, "quick").await;
    quick.join("g").await;
    let mut stalled = Raw::connect_narrow(node.public, "/acc?uid=u&msg_code=1").await;
    let (status, _) = http::request("PUT", node.admin, "/api/v1/groups/g/members/u", None).await;
    assert!((200..300).contains(&status), "{status}");
    fill(&node, "u").await;
    for n in 0..100 {
        push(&node, json!({ "tgid": "g", "class": "latest", "key": "k", "data": { "n": n } })).await;
        quick.expect_body(json!({ "n": n })).await;
    }
    push(&node, json!({ "to_uid": "u", "data": { "end": 1 } })).await;
    assert_eq!(read_until_end(&mut stalled).await, [json!({ "n": 99 })]);
}
