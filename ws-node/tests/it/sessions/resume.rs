//! Temporary groups outlive a disconnect, for a client that names its previous session.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{TestNode, gone, pass};

fn groups(client: &Client) -> Vec<String> {
    let mut groups: Vec<String> = serde_json::from_value(client.welcome["groups"].clone()).expect("names");
    groups.sort();
    groups
}

/// A session in two groups that has ended; returns its id.
async fn ended_session(node: &TestNode) -> String {
    let mut client = Client::user(node.public, "u").await;
    client.join("g").await;
    client.join("h").await;
    client.join("left").await;
    client.ask("gim.leave", json!({ "tgid": "left" })).await;
    let session = client.session().to_owned();
    client.close().await;
    gone(node, "u").await;
    session
}

async fn resume(node: &TestNode, session: &str) -> Client {
    Client::connect(node.public, &format!("/ws?uid=u&msg_code=1&session={session}")).await
}

async fn is_in(node: &TestNode, client: &mut Client, tgids: &[&str]) {
    for tgid in ["g", "h", "left"] {
        http::push(node.admin, &json!({ "tgid": tgid, "data": { "to": tgid } })).await;
        http::settled(node.admin).await;
        if tgids.contains(&tgid) {
            client.expect_body(json!({ "to": tgid })).await;
        }
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn a_client_that_names_its_session_has_its_groups_back() {
    let node = TestNode::start().await;
    let session = ended_session(&node).await;
    let mut client = resume(&node, &session).await;
    assert_eq!(groups(&client), ["g", "h"]);
    assert_ne!(client.session(), session, "a session is resumed by another one");
    is_in(&node, &mut client, &["g", "h"]).await;
}

#[tokio::test]
async fn groups_can_be_resumed_again_and_again() {
    let node = TestNode::start().await;
    let mut session = ended_session(&node).await;
    for _ in 0..5 {
        let client = resume(&node, &session).await;
        assert_eq!(groups(&client), ["g", "h"]);
        session = client.session().to_owned();
        client.close().await;
        gone(&node, "u").await;
    }
}

#[tokio::test]
async fn a_client_that_comes_back_before_its_end_was_noticed_has_its_groups_too() {
    let node = TestNode::start().await;
    let mut older = Client::user(node.public, "u").await;
    older.join("g").await;
    older.join("h").await;
    let mut newer = resume(&node, older.session()).await;
    older.expect_close(4501).await;
    assert_eq!(groups(&newer), ["g", "h"]);
    is_in(&node, &mut newer, &["g", "h"]).await;
}

#[tokio::test]
async fn a_client_on_acc_resumes_without_a_welcome() {
    let node = TestNode::start().await;
    let session = ended_session(&node).await;
    let mut client = Client::connect(node.public, &format!("/acc?uid=u&session={session}")).await;
    is_in(&node, &mut client, &["g", "h"]).await;
}

#[tokio::test]
async fn a_client_that_names_no_session_has_no_groups() {
    let node = TestNode::start().await;
    ended_session(&node).await;
    let mut client = Client::user(node.public, "u").await;
    assert_eq!(client.welcome["groups"], json!([]));
    is_in(&node, &mut client, &[]).await;
}

#[tokio::test]
async fn a_client_that_names_another_session_has_no_groups() {
    let node = TestNode::start().await;
    ended_session(&node).await;
    let stranger = Client::user(node.public, "stranger").await;
    let mut client = resume(&node, stranger.session()).await;
    assert_eq!(client.welcome["groups"], json!([]));
    is_in(&node, &mut client, &[]).await;
}

#[tokio::test]
async fn another_user_does_not_resume_with_a_stolen_session() {
    let node = TestNode::start().await;
    let session = ended_session(&node).await;
    let thief = Client::connect(node.public, &format!("/ws?uid=thief&msg_code=1&session={session}")).await;
    assert_eq!(thief.welcome["groups"], json!([]));
}

#[tokio::test]
async fn groups_end_with_the_grace() {
    let node = TestNode::start_with(|config| config.session.membership_grace = Duration::from_millis(200)).await;
    let session = ended_session(&node).await;
    pass(&node, Duration::from_millis(800)).await;
    let client = resume(&node, &session).await;
    assert_eq!(client.welcome["groups"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn without_a_grace_groups_end_with_the_session() {
    let node = TestNode::start_with(|config| config.session.membership_grace = Duration::ZERO).await;
    let session = ended_session(&node).await;
    let mut client = resume(&node, &session).await;
    assert_eq!(client.welcome["groups"], json!([]));
    is_in(&node, &mut client, &[]).await;
}

#[tokio::test]
async fn who_is_away_is_no_member() {
    let node = TestNode::start().await;
    ended_session(&node).await;
    let (_, group) = http::get(node.admin, "/api/v1/groups/g").await;
    assert_eq!(group["members"], json!([]), "{group}");
}

#[tokio::test]
async fn names_with_quotes_survive_a_resume() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for tgid in ["\"quoted\"", "back\\slash", "日本"] {
        client.join(tgid).await;
    }
    let session = client.session().to_owned();
    client.close().await;
    gone(&node, "u").await;
    assert_eq!(groups(&resume(&node, &session).await), ["\"quoted\"", "back\\slash", "日本"]);
}

#[tokio::test]
async fn a_session_that_is_no_name_is_passed_over() {
    let node = TestNode::start().await;
    for session in ["", "x", "%00", "00000000000000000000000000", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzz"] {
        let mut client = resume(&node, session).await;
        assert_eq!(client.welcome["groups"], json!([]));
        client.expect_silence().await;
    }
}
