//! `gim users`, `gim kick`, `gim join`, `gim leave`.

use gim_proxy_sdk::cli::{FAILED, NOT_THERE};
use serde_json::json;

use super::{gim, gim_at};
use crate::support::client::Client;
use crate::support::node::{NAME, TestNode};

#[tokio::test]
async fn a_kicked_client_is_told_why() {
    let node = TestNode::start().await;
    let anna = Client::user(node.public, "anna").await;
    let output = gim_at(node.rpc, &["kick", "anna", "--reason", "spent too long here"]).await;
    assert_eq!(output.expect_done(), "kicked anna");
    assert_eq!(anna.expect_close(4503).await, "spent too long here");

    let bert = Client::user(node.public, "bert").await;
    assert_eq!(gim(&node, "kick bert --json").await.json(), json!({ "uid": "bert", "stopped": true }));
    bert.expect_close(4503).await;
}

#[tokio::test]
async fn a_user_put_into_a_group_gets_its_messages_until_taken_out() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    assert_eq!(gim(&node, "join lobby anna").await.expect_done(), "anna is in lobby");
    gim(&node, "push --now --tgid lobby --data {}").await.expect_done();
    anna.expect_body(json!({})).await;

    assert_eq!(gim(&node, "leave lobby anna").await.expect_done(), "anna is not in lobby");
    gim(&node, "push --now --tgid lobby --data {}").await.expect_failed(NOT_THERE);
    anna.expect_silence().await;

    let joined = json!({ "tgid": "attic", "uid": "anna", "online": true });
    assert_eq!(gim(&node, "join attic anna --json").await.json(), joined);
}

#[tokio::test]
async fn a_user_who_is_not_online_is_told_by_the_exit_code() {
    let node = TestNode::start().await;
    for line in ["kick carl", "join lobby carl", "leave lobby carl"] {
        assert_eq!(gim(&node, line).await.expect_failed(NOT_THERE), "carl is not online", "{line}");
        let output = gim(&node, &format!("{line} --json")).await;
        assert_eq!((output.code, &output.json()["uid"]), (NOT_THERE, &json!("carl")), "{line}");
    }
}

#[tokio::test]
async fn a_group_too_many_is_refused() {
    let node = TestNode::start_with(|config| config.session.groups = 1).await;
    let _anna = Client::user(node.public, "anna").await;
    gim(&node, "join lobby anna").await.expect_done();
    let output = gim(&node, "join attic anna").await;
    assert!(output.expect_failed(FAILED).contains("group"), "{output:?}");
}

#[tokio::test]
async fn users_are_shown_with_their_node_and_fence() {
    let node = TestNode::start().await;
    let anna = Client::user(node.public, "anna").await;
    let shown = gim(&node, "users bert anna --json").await.json();
    let online = json!({ "uid": "anna", "online": true, "node": NAME, "fence": anna.fence() });
    assert_eq!(shown, json!({ "users": [{ "uid": "bert", "online": false }, online] }));
    let output = gim(&node, "users anna bert").await;
    let rows: Vec<Vec<&str>> = output.expect_done().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["UID", "NODE", "FENCE"]);
    assert_eq!(rows[1][..2], ["anna", NAME]);
    assert_eq!(rows[2], ["bert", "-", "-"]);
    assert_eq!(gim(&node, "users bert carl").await.code, NOT_THERE);
}

#[tokio::test]
async fn a_user_who_is_away_is_put_into_a_group_for_good_and_taken_out() {
    let node = TestNode::start().await;
    assert_eq!(gim(&node, "join lobby anna --durable").await.expect_done(), "anna is in lobby until it leaves");
    let mut anna = Client::user(node.public, "anna").await;
    gim(&node, "push --now --tgid lobby --data {}").await.expect_done();
    anna.expect_body(json!({})).await;
    anna.close().await;
    crate::support::node::gone(&node, "anna").await;
    assert_eq!(gim(&node, "leave lobby anna").await.expect_done(), "anna is not in lobby");
    gim(&node, "leave lobby anna").await.expect_failed(NOT_THERE);
}
