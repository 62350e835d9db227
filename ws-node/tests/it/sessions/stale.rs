//! The end of a session that was replaced does nothing to the one that replaced it.

use gim_ws_node::{CloseReason, Session};
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;
use crate::support::raw::Raw;
use crate::support::within;

/// A node that reports the end of each session.
async fn node() -> (TestNode, mpsc::Receiver<(u64, CloseReason)>) {
    let (ended, ends) = mpsc::channel(100);
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.on_disconnect(move |session: Session, why: CloseReason| {
                let ended = ended.clone();
                async move { ended.send((session.fence().0, why)).await.expect("the test listens") }
            })
        },
    )
    .await;
    (node, ends)
}

async fn undisturbed(node: &TestNode, newer: &mut Client) {
    let (_, user) = http::get(node.admin, "/api/v1/users/u").await;
    assert_eq!((&user["online"], &user["fence"]), (&json!(true), &json!(newer.fence())), "{user}");
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "direct": 1 } })).await;
    newer.expect_body(json!({ "direct": 1 })).await;
    http::push(node.admin, &json!({ "tgid": "g", "data": { "group": 1 } })).await;
    newer.expect_body(json!({ "group": 1 })).await;
    let (_, group) = http::get(node.admin, "/api/v1/groups/g").await;
    assert_eq!(group["members"], json!(["u"]), "{group}");
    newer.expect_silence().await;
}

#[tokio::test]
async fn a_stale_socket_that_closes_late_takes_nothing_with_it() {
    let (node, mut ends) = node().await;
    let mut older = Raw::connect(node.public, "/ws?uid=u&msg_code=1").await;
    older.send(&crate::support::raw::text(br#"{"seq":"1","cmd":"gim.join","data":{"tgid":"g"}}"#)).await;
    assert!(older.frame().await.text().contains("gim.welcome"));
    older.frame().await;
    let mut newer = Client::user(node.public, "u").await;
    newer.join("g").await;
    undisturbed(&node, &mut newer).await;
    drop(older);
    let (fence, why) = within("the end of the older session", ends.recv()).await.unwrap();
    assert!(fence < newer.fence());
    assert_eq!(why.code, 4501);
    undisturbed(&node, &mut newer).await;
}

#[tokio::test]
async fn many_takeovers_in_a_row_leave_the_last_undisturbed() {
    let (node, mut ends) = node().await;
    for _ in 0..50 {
        // Dropped without a close frame while the next one is coming.
        let mut older = Client::user(node.public, "u").await;
        older.join("g").await;
    }
    let mut newer = Client::user(node.public, "u").await;
    newer.join("g").await;
    for _ in 0..50 {
        let (fence, _) = within("the end of an older session", ends.recv()).await.unwrap();
        assert!(fence < newer.fence());
    }
    undisturbed(&node, &mut newer).await;
}

#[tokio::test]
async fn groups_of_the_replaced_session_are_not_the_newcomers() {
    let (node, mut ends) = node().await;
    let mut older = Client::user(node.public, "u").await;
    older.join("g").await;
    let mut newer = Client::user(node.public, "u").await;
    older.expect_close(4501).await;
    within("the end of the older session", ends.recv()).await.unwrap();
    assert_eq!(newer.welcome["groups"], json!([]));
    http::push(node.admin, &json!({ "tgid": "g", "data": {} })).await;
    http::settled(node.admin).await;
    newer.expect_silence().await;
    let (_, groups) = http::get(node.admin, "/api/v1/groups").await;
    assert_eq!(groups["groups"], json!([]), "{groups}");
}
