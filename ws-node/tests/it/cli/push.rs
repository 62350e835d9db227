//! `gim push`, through the queue and past it.

use std::time::{Duration, SystemTime};

use gim_proto::MessageId;
use gim_proxy_sdk::cli::{FAILED, NOT_THERE};
use serde_json::json;

use super::{gim, gim_at};
use crate::support::client::Client;
use crate::support::http::settled;
use crate::support::node::TestNode;

#[tokio::test]
async fn a_push_prints_the_id_that_the_client_sees() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    let output = gim_at(node.rpc, &["push", "--to-uid", "anna", "--data", r#"{"say": "hello there"}"#]).await;
    let push = anna.expect_body(json!({ "say": "hello there" })).await;
    assert_eq!(push.id.as_deref(), Some(output.expect_done()));
    assert_eq!(push.msg_type, 3);

    let output = gim(&node, "push --to-uid anna --data {} --json").await;
    let push = anna.expect_body(json!({})).await;
    assert_eq!(output.json(), json!({ "id": push.id }));
}

#[tokio::test]
async fn every_target_is_reached_and_nobody_else() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    let mut bert = Client::user(node.public, "bert").await;
    anna.join("lobby").await;
    bert.join("lobby").await;
    bert.join("attic").await;
    for (target, to_anna, to_bert) in [
        ("--to-uid anna", true, false),
        ("--to-uids anna,bert", true, true),
        ("--tgid attic", false, true),
        ("--tgid lobby --except bert", true, false),
        ("--tgid attic --to-uid anna", false, false),
        ("--tgid lobby --to-uid anna", true, false),
        ("--tgid-list lobby,attic", true, true),
        ("--tgid-list attic,lobby --to-uid anna", true, false),
        ("--all", true, true),
        ("--all --except anna,carl", false, true),
    ] {
        gim(&node, &format!("push {target} --data 1 --mol at")).await.expect_done();
        settled(node.admin).await;
        for (client, is_meant) in [(&mut anna, to_anna), (&mut bert, to_bert)] {
            if is_meant {
                client.expect_body(json!({ "at": 1 })).await;
            }
            client.expect_silence().await;
        }
    }
}

#[tokio::test]
async fn data_is_wrapped_and_raw_is_not() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    gim(&node, "push --to-uid anna --data [1,2] --mol chat --ctrl say").await.expect_done();
    anna.expect_body(json!({ "chat": { "say": [1, 2] } })).await;

    gim_at(node.rpc, &["push", "--to-uid", "anna", "--raw", "-- not JSON"]).await.expect_done();
    assert_eq!(anna.text().await, "-- not JSON");

    let path = std::env::temp_dir().join(MessageId::mint().to_string());
    std::fs::write(&path, [0, 159, 255]).unwrap();
    let pushed = gim_at(node.rpc, &["push", "--to-uid", "anna", "--raw-file", path.to_str().unwrap()]).await;
    std::fs::remove_file(&path).unwrap();
    pushed.expect_done();
    assert_eq!(anna.data().await, [0, 159, 255]);
}

#[tokio::test]
async fn a_repeated_id_has_no_effect() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    for data in ["{}", r#"{"again":1}"#] {
        let output = gim(&node, &format!("push --to-uid anna --id order-7 --data {data}")).await;
        assert_eq!(output.expect_done(), "order-7");
    }
    assert_eq!(anna.expect_body(json!({})).await.id.as_deref(), Some("order-7"));
    gim(&node, r#"push --to-uid anna --data {"last":1}"#).await.expect_done();
    anna.expect_body(json!({ "last": 1 })).await;
}

#[tokio::test]
async fn policies_reach_the_node() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    let minute_ago = SystemTime::now() - Duration::from_secs(60);
    let minute_ago = minute_ago.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();

    gim(&node, "push --to-uid anna --data {} --class latest --key price --priority low").await.expect_done();
    anna.expect_body(json!({})).await;
    gim(&node, &format!("push --to-uid anna --data {{}} --at {minute_ago} --priority high")).await.expect_done();
    anna.expect_body(json!({})).await;

    // Its time had passed before it was due.
    gim(&node, &format!(r#"push --to-uid anna --data {{"old":1}} --at {minute_ago} --ttl 1s"#)).await.expect_done();
    gim(&node, "push --to-uid anna --data {}").await.expect_done();
    anna.expect_body(json!({})).await;

    gim(&node, "push --to-uid anna --data {} --in 1h").await.expect_done();
    let output = gim(&node, "queue --json").await;
    assert_eq!(output.json()["lanes"][0]["later"], 1);
    anna.expect_silence().await;
}

#[tokio::test]
async fn what_the_node_does_not_do_is_refused_and_said_why() {
    let node = TestNode::start().await;
    let output = gim(&node, "push --to-uid anna --raw hello --class durable").await;
    let why = output.expect_failed(FAILED);
    assert!(why.contains("class") || why.contains("raw"), "{output:?}");
}

#[tokio::test]
async fn now_tells_what_became_of_it() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    anna.join("lobby").await;

    let output = gim(&node, r#"push --now --to-uid anna --data {"x":1}"#).await;
    let push = anna.expect_body(json!({ "x": 1 })).await;
    assert_eq!(output.expect_done(), format!("{} offered to 1 session", push.id.unwrap()));

    let output = gim(&node, "push --now --tgid lobby --raw hello --json").await.json();
    assert_eq!(anna.text().await, "hello");
    assert_eq!((&output["outcome"], &output["sessions"]), (&json!("offered"), &json!(1)));

    gim(&node, "push --now --tgid lobby --to-uid anna --data 1 --mol m --ctrl c").await.expect_done();
    anna.expect_body(json!({ "m": { "c": 1 } })).await;
}

#[tokio::test]
async fn now_says_why_nobody_took_it() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    anna.join("lobby").await;
    for (target, outcome) in [
        ("--to-uid bert", "offline"),
        ("--tgid attic", "offline"),
        ("--tgid lobby --except anna", "offline"),
        ("--tgid attic --to-uid anna", "not_member"),
    ] {
        let output = gim(&node, &format!("push --now {target} --data {{}}")).await;
        let text = output.expect_failed(NOT_THERE);
        assert!(text.ends_with(&format!(" not offered: {outcome}")), "{target}: {text}");
        let output = gim(&node, &format!("push --now {target} --data {{}} --json")).await;
        assert_eq!((output.code, &output.json()["outcome"]), (NOT_THERE, &json!(outcome)), "{target}");
    }
    anna.expect_silence().await;
}
