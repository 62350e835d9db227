//! `gim trace`, `gim receipts`, `gim presence`.

use gim_proto::Uid;
use gim_proxy_sdk::cli::{FAILED, NOT_THERE, USAGE};
use gim_proxy_sdk::client::{Followed, Happening};
use gim_proxy_sdk::{ClientOptions, ErrorKind, NodeClient};
use serde_json::json;

use super::gim;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{NAME, TestNode};
use crate::support::within;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn traced(node: &TestNode) -> String {
    let message = json!({ "to_uid": "anna", "traceparent": SAMPLED, "data": {} });
    http::push(node.admin, &message).await.remove(0)
}

async fn client(node: &TestNode) -> NodeClient {
    NodeClient::connect(&node.rpc.to_string(), ClientOptions::default()).await.unwrap()
}

async fn next(followed: &mut Followed) -> Happening {
    within("an event", followed.next()).await.unwrap().expect("the node tells")
}

#[tokio::test]
async fn the_way_of_a_message_is_shown_with_its_times() {
    let node = TestNode::start().await;
    let id = traced(&node).await;
    let output = gim(&node, &format!("trace {id} --follow --for 300ms")).await;
    let line = output.expect_done().lines().next().unwrap().to_owned();
    assert!(line.contains("accepted") && line.contains("anna") && line.contains(NAME), "{line}");
    let output = gim(&node, &format!("trace {id}")).await;
    let rows = output.rows();
    assert_eq!(rows[0], ["AT", "SINCE", "FIRST", "SINCE", "LAST", "HOP", "TARGET", "PROCESS", "DETAIL"]);
    assert_eq!(rows[1][1..6], ["0us", "0us", "accepted", "anna", NAME]);
    let json = gim(&node, &format!("trace {id} --json")).await.json();
    assert_eq!((&json["id"], &json["hops"][0]["hop"]), (&json!(id), &json!("accepted")));
}

#[tokio::test]
async fn of_a_message_without_a_trace_nothing_is_shown() {
    let node = TestNode::start().await;
    let said = "nothing is known of nobody: it was not traced, or too long ago";
    assert_eq!(gim(&node, "trace nobody").await.expect_failed(NOT_THERE), said);
    assert_eq!(gim(&node, "trace nobody --follow --for 50ms").await.expect_failed(NOT_THERE), said);
    assert_eq!(gim(&node, "trace").await.code, USAGE);
    assert_eq!(gim(&node, "trace m --uid anna").await.code, USAGE);
}

#[tokio::test]
async fn receipts_and_presence_are_tables() {
    let node = TestNode::start().await;
    let head = ["ENTRY", "AT", "MESSAGE", "TARGET", "STATE", "REASON", "PROCESS"];
    assert_eq!(gim(&node, "receipts").await.rows()[0], head);
    let head = ["ENTRY", "AT", "USER", "STATE", "FENCE", "REASON", "NODE"];
    assert_eq!(gim(&node, "presence --limit 5 --after 1-0").await.rows()[0], head);
    assert_eq!(gim(&node, "receipts --limit 1001").await.code, USAGE);
}

#[tokio::test]
async fn a_user_is_followed_from_login_to_close() {
    let node = TestNode::start().await;
    let client = client(&node).await;
    let mut followed = client.follow(&Uid::parse("anna").unwrap()).await.unwrap();
    let first = next(&mut followed).await;
    assert_eq!((first.event.as_str(), first.fence), ("following", None));
    assert!(first.detail.contains("not connected here") && first.detail.contains(NAME), "{first:?}");
    let mut bert = Client::user(node.public, "bert").await;
    bert.join("lobby").await;
    let mut anna = Client::user(node.public, "anna").await;
    let login = next(&mut followed).await;
    assert_eq!((login.event.as_str(), login.fence.map(|fence| fence.0)), ("login", Some(anna.fence())));
    anna.join("lobby").await;
    assert_eq!(next(&mut followed).await.event, "join");
    let command = next(&mut followed).await;
    assert!(command.event == "command" && command.detail.contains("gim.join"), "{command:?}");
    let direct = http::push(node.admin, &json!({ "to_uid": "anna", "data": {} })).await.remove(0);
    anna.expect_body(json!({})).await;
    let offered = next(&mut followed).await;
    assert_eq!(
        (offered.event.as_str(), offered.id, offered.detail.as_str()),
        ("offered", Some(direct), "live: offered")
    );
    let group = http::push(node.admin, &json!({ "tgid": "lobby", "data": {} })).await.remove(0);
    anna.expect_body(json!({})).await;
    assert_eq!(next(&mut followed).await.id, Some(group));
    gim(&node, "kick anna --reason enough").await.expect_done();
    let close = next(&mut followed).await;
    assert_eq!((close.event.as_str(), close.detail.as_str()), ("close", "4503 by this node: enough"));
}

#[tokio::test]
async fn so_many_follow_and_no_more() {
    let node = TestNode::start().await;
    let (client, uid) = (client(&node).await, Uid::parse("anna").unwrap());
    let mut all = Vec::new();
    for _ in 0..16 {
        let mut followed = client.follow(&uid).await.unwrap();
        next(&mut followed).await;
        all.push(followed);
    }
    assert_eq!(client.follow(&uid).await.map(|_| ()).unwrap_err().kind, ErrorKind::Full);
    let output = gim(&node, "trace --uid anna --for 5s").await;
    assert!(output.expect_failed(FAILED).ends_with("too many follow users already"), "{output:?}");
}

#[tokio::test]
async fn a_followed_user_is_a_line_per_event() {
    let node = TestNode::start().await;
    let _anna = Client::user(node.public, "anna").await;
    let output = gim(&node, "trace --uid anna --for 300ms").await;
    let line = output.expect_done();
    assert!(line.contains("following") && line.contains("the user is connected here"), "{line}");
    let output = gim(&node, "trace --uid anna --for 300ms --json").await;
    assert_eq!(output.json()["event"], "following");
}

#[tokio::test]
async fn who_follows_does_not_keep_a_node_from_stopping() {
    let node = TestNode::start().await;
    let mut followed = client(&node).await.follow(&Uid::parse("anna").unwrap()).await.unwrap();
    next(&mut followed).await;
    within("the node to stop", node.node.shutdown()).await;
    assert!(!matches!(within("the end", followed.next()).await, Ok(Some(_))));
}
