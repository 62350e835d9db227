//! Messages that are taken back.

use serde_json::json;

use crate::support::http::{self, request};
use crate::support::node::{TestNode, unix_ms};

#[tokio::test]
async fn a_scheduled_message_is_taken_back_once_and_one_that_was_delivered_is_not() {
    let node = TestNode::start().await;
    let later = json!({ "to_uid": "u", "id": "mine", "deliver_at_ms": unix_ms() + 60_000, "data": {} });
    http::push(node.admin, &later).await;
    let (status, answer) = request("DELETE", node.admin, "/api/v1/messages/mine", None).await;
    assert_eq!((status, &answer), (200, &json!({ "cancelled": true })));
    http::respond("DELETE", node.admin, "/api/v1/messages/mine", &[], b"").await.expect_error(409);
    http::push(node.admin, &json!({ "to_uid": "u", "id": "now", "data": {} })).await;
    http::settled(node.admin).await;
    http::respond("DELETE", node.admin, "/api/v1/messages/now", &[], b"").await.expect_error(409);
    http::respond("DELETE", node.admin, "/api/v1/messages/other", &[], b"").await.expect_error(404);
    http::respond("DELETE", node.admin, "/api/v1/messages/%20", &[], b"").await.expect_error(400);
    http::respond("DELETE", node.admin, "/api/v1/messages/now?uid=%20", &[], b"").await.expect_error(400);
}

#[tokio::test]
async fn a_durable_message_is_taken_out_of_the_mailbox_of_one_user() {
    let node = TestNode::start().await;
    http::push(node.admin, &json!({ "to_uids": ["a", "b"], "id": "kept", "class": "durable", "data": {} })).await;
    http::settled(node.admin).await;
    let (status, answer) = request("DELETE", node.admin, "/api/v1/messages/kept?uid=a", None).await;
    assert_eq!((status, &answer), (200, &json!({ "cancelled": true })));
    http::respond("DELETE", node.admin, "/api/v1/messages/kept?uid=a", &[], b"").await.expect_error(404);
    http::respond("DELETE", node.admin, "/api/v1/messages/kept?uid=c", &[], b"").await.expect_error(404);
}
