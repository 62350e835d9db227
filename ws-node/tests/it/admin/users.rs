//! Where a user is, and how to end that.

use serde_json::json;

use crate::support::client::Client;
use crate::support::http::{self, get, request};
use crate::support::node::{NAME, TestNode};

#[tokio::test]
async fn a_connected_user_is_shown_with_node_fence_and_groups() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    client.join("g").await;
    let (status, user) = get(node.admin, "/api/v1/users/u").await;
    assert_eq!(status, 200);
    assert_eq!(
        (&user["uid"], &user["online"], &user["node"], &user["fence"], &user["groups"]),
        (&json!("u"), &json!(true), &json!(NAME), &json!(client.fence()), &json!(["g"])),
        "{user}"
    );
    assert!(!user.to_string().contains(client.session()), "who has the session has its groups: {user}");
}

#[tokio::test]
async fn a_user_who_is_away_is_offline() {
    let node = TestNode::start().await;
    let (status, user) = get(node.admin, "/api/v1/users/nobody").await;
    assert_eq!((status, &user["uid"], &user["online"]), (200, &json!("nobody"), &json!(false)), "{user}");
}

#[tokio::test]
async fn names_are_percent_decoded_and_checked() {
    let node = TestNode::start().await;
    let _client = Client::user(node.public, "j%C3%B6rg%2Fa").await;
    let (status, user) = get(node.admin, "/api/v1/users/j%C3%B6rg%2Fa").await;
    assert_eq!((status, &user["uid"], &user["online"]), (200, &json!("jörg/a"), &json!(true)), "{user}");
    let too_long = "x".repeat(129);
    for bad in ["a%20b", "a%7Bb", "%00", "%FF", too_long.as_str()] {
        for (method, path) in
            [("GET", format!("/api/v1/users/{bad}")), ("DELETE", format!("/api/v1/users/{bad}/session"))]
        {
            http::respond(method, node.admin, &path, &[], b"").await.expect_error(400);
        }
    }
}

#[tokio::test]
async fn a_kick_ends_the_connection_once() {
    let node = TestNode::start().await;
    let client = Client::user(node.public, "u").await;
    let (status, _) = request("DELETE", node.admin, "/api/v1/users/u/session", None).await;
    assert!((200..300).contains(&status), "{status}");
    client.expect_close(4503).await;
    let (status, error) = request("DELETE", node.admin, "/api/v1/users/u/session", None).await;
    assert_eq!((status, &error["code"]), (404, &json!(10_001)), "{error}");
}

#[tokio::test]
async fn a_kicked_user_may_come_back() {
    let node = TestNode::start().await;
    for _ in 0..5 {
        let mut client = Client::user(node.public, "u").await;
        client.expect_silence().await;
        request("DELETE", node.admin, "/api/v1/users/u/session", None).await;
        client.expect_close(4503).await;
    }
}

#[tokio::test]
async fn many_users_are_asked_for_at_once_and_told_in_the_order_asked() {
    let node = TestNode::start().await;
    let mut clients = Vec::new();
    for uid in ["a", "b", "query"] {
        clients.push(Client::user(node.public, uid).await);
    }
    let uids: Vec<String> = ["b".to_owned(), "query".to_owned(), "a".to_owned()]
        .into_iter()
        .chain((3..10_000).map(|number| format!("away-{number}")))
        .collect();
    let (status, answer) = http::post(node.admin, "/api/v1/users/query", &json!({ "uids": uids })).await;
    assert_eq!(status, 200, "{answer}");
    let users = answer["users"].as_array().expect("users");
    assert_eq!(users.len(), 10_000);
    for (user, uid) in users.iter().zip(&uids) {
        assert_eq!(user["uid"], json!(uid));
    }
    let online =
        |client: &Client, uid: &str| json!({ "uid": uid, "online": true, "node": NAME, "fence": client.fence() });
    assert_eq!(users[0], online(&clients[1], "b"));
    assert_eq!(users[1], online(&clients[2], "query"));
    assert_eq!(users[2], online(&clients[0], "a"));
    assert_eq!(users[3], json!({ "uid": "away-3", "online": false }));
    let (_, named) = get(node.admin, "/api/v1/users/query").await;
    assert_eq!((&named["uid"], &named["online"]), (&json!("query"), &json!(true)), "a user may be called so");
    assert_eq!(http::post(node.admin, "/api/v1/users/query", &json!({ "uids": [] })).await.1, json!({ "users": [] }));
}

#[tokio::test]
async fn a_query_that_is_none_is_a_bad_request() {
    let node = TestNode::start().await;
    let query = async |body: serde_json::Value| http::post(node.admin, "/api/v1/users/query", &body).await;
    let many: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    for (body, field) in [(json!({ "uids": many }), json!("uids")), (json!({ "uids": ["a", "b c"] }), json!("uids.1"))]
    {
        let (status, error) = query(body).await;
        assert_eq!((status, &error["code"], &error["field"]), (400, &json!(20_002), &field), "{error}");
    }
    for body in [json!({}), json!([]), json!({ "uids": "a" }), json!({ "uids": [1] })] {
        let (status, error) = query(body).await;
        assert_eq!((status, &error["code"]), (400, &json!(20_003)), "{error}");
    }
}
