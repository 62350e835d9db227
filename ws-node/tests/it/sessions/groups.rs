//! Membership: joined and left by the client, the application, the operator; bounded.

use gim_ws_node::{Context, HandlerError, JoinError, Session};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{TestNode, gone};

async fn members(node: &TestNode, tgid: &str) -> Value {
    let (status, group) = http::get(node.admin, &format!("/api/v1/groups/{tgid}")).await;
    assert_eq!(status, 200, "{group}");
    group["members"].clone()
}

#[tokio::test]
async fn client_application_and_operator_join_the_same_way() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.on_connect(|session: Session| async move { session.join("by-app").await.expect("joined") }).command(
                "leave",
                |ctx: Context, _: Value| async move {
                    Ok::<Value, HandlerError>(json!(ctx.session().leave("by-app").await?))
                },
            )
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    client.join("by-client").await;
    let (status, answer) = http::request("PUT", node.admin, "/api/v1/groups/by-operator/members/u", None).await;
    assert!((200..300).contains(&status), "{answer}");
    for tgid in ["by-app", "by-client", "by-operator"] {
        assert_eq!(members(&node, tgid).await, json!(["u"]));
        http::push(node.admin, &json!({ "tgid": tgid, "data": { "to": tgid } })).await;
        client.expect_body(json!({ "to": tgid })).await;
    }
    client.ask("gim.leave", json!({ "tgid": "by-operator" })).await;
    let (status, _) = http::request("DELETE", node.admin, "/api/v1/groups/by-client/members/u", None).await;
    assert!((200..300).contains(&status));
    assert_eq!(client.ask("leave", json!({})).await, json!(true));
    assert_eq!(client.ask("leave", json!({})).await, json!(false));
    for tgid in ["by-app", "by-client", "by-operator"] {
        assert_eq!(members(&node, tgid).await, json!([]));
        http::push(node.admin, &json!({ "tgid": tgid, "data": {} })).await;
    }
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn groups_of_on_connect_are_joined_before_the_first_command() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder
                .on_connect(|session: Session| async move {
                    for number in 0..20 {
                        tokio::task::yield_now().await;
                        session.join(&format!("g{number}")).await.expect("joined");
                    }
                })
                .command("groups", |ctx: Context, _: Value| async move {
                    Ok::<Value, HandlerError>(json!(ctx.session().groups().len()))
                })
        },
    )
    .await;
    for _ in 0..20 {
        let mut client = Client::user(node.public, "u").await;
        assert_eq!(client.ask("groups", json!({})).await, json!(20));
    }
}

#[tokio::test]
async fn members_leave_when_they_disconnect() {
    let node = TestNode::start().await;
    let mut a = Client::user(node.public, "a").await;
    let mut b = Client::user(node.public, "b").await;
    a.join("g").await;
    b.join("g").await;
    assert_eq!(members(&node, "g").await, json!(["a", "b"]));
    a.close().await;
    gone(&node, "a").await;
    assert_eq!(members(&node, "g").await, json!(["b"]));
    drop(b);
    gone(&node, "b").await;
    let (_, groups) = http::get(node.admin, "/api/v1/groups").await;
    assert_eq!(groups["groups"], json!([]), "an empty group is none");
}

#[tokio::test]
async fn a_session_joins_so_many_groups_and_no_more() {
    let node = TestNode::build(
        |config| config.session.groups = 3,
        |builder| {
            builder.command("join", |ctx: Context, _: Value| async move {
                let refused = matches!(ctx.session().join("x").await, Err(JoinError::TooMany { most: 3 }));
                Ok::<Value, HandlerError>(json!(refused))
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    for tgid in ["a", "b", "c", "a", "b"] {
        client.join(tgid).await;
    }
    client.command("1", "gim.join", json!({ "tgid": "d" })).await;
    client.expect_error("1", 20_002).await;
    assert_eq!(client.ask("join", json!({})).await, json!(true));
    let (status, answer) = http::request("PUT", node.admin, "/api/v1/groups/d/members/u", None).await;
    assert_eq!(status, 400, "{answer}");
    client.ask("gim.leave", json!({ "tgid": "a" })).await;
    client.join("d").await;
    client.command("2", "gim.join", json!({ "tgid": "a" })).await;
    client.expect_error("2", 20_002).await;
    assert_eq!(members(&node, "d").await, json!(["u"]));
    assert_eq!(members(&node, "a").await, json!([]));
}

#[tokio::test]
async fn a_client_joins_so_often_a_second_and_no_more() {
    let node = TestNode::start_with(|config| config.session.joins_per_second = 5).await;
    let mut client = Client::user(node.public, "u").await;
    let mut refused = 0;
    for number in 0..100 {
        client.command("j", "gim.join", json!({ "tgid": format!("g{number}") })).await;
        let frame = client.json().await;
        let code = &frame["response"]["a"]["system"]["error"]["code"];
        if !code.is_null() {
            assert_eq!(*code, 20_009, "{frame}");
            refused += 1;
        }
    }
    assert!((1..100).contains(&refused), "{refused} of 100 at once were refused");
}

#[tokio::test]
async fn the_names_an_application_joins_are_checked() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.command("join", |ctx: Context, data: Value| async move {
                let tgid = data["tgid"].as_str().unwrap_or_default().to_owned();
                let refused = matches!(ctx.session().join(&tgid).await, Err(JoinError::Name(_)));
                Ok::<Value, HandlerError>(json!(refused))
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    for (tgid, refused) in [("", true), ("a b", true), ("{", true), ("fine", false)] {
        assert_eq!(client.ask("join", json!({ "tgid": tgid })).await, json!(refused), "{tgid}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_leaves_and_messages_at_once_leave_nothing_behind() {
    let node = TestNode::start().await;
    let mut users = tokio::task::JoinSet::new();
    for user in 0..20 {
        let public = node.public;
        users.spawn(async move {
            let mut client = Client::user(public, &format!("u{user}")).await;
            for round in 0..30 {
                client.join(&format!("g{}", round % 3)).await;
                client.ask("gim.leave", json!({ "tgid": format!("g{}", round % 3) })).await;
            }
            if user % 2 == 0 {
                client.join("g0").await;
            }
            client
        });
    }
    let clients = users.join_all().await;
    let (_, groups) = http::get(node.admin, "/api/v1/groups").await;
    assert_eq!(groups["groups"], json!([{ "tgid": "g0", "members": 10 }]), "{groups}");
    drop(clients);
    for user in 0..20 {
        gone(&node, &format!("u{user}")).await;
    }
    let (_, groups) = http::get(node.admin, "/api/v1/groups").await;
    assert_eq!(groups["groups"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_race_with_the_end_of_a_session_leave_no_ghost() {
    let node = TestNode::start().await;
    for round in 0..50 {
        let mut client = Client::user(node.public, "u").await;
        let joining: Vec<_> = (0..5)
            .map(|number| {
                let (admin, path) = (node.admin, format!("/api/v1/groups/g{round}-{number}/members/u"));
                tokio::spawn(async move { http::request("PUT", admin, &path, None).await.0 })
            })
            .collect();
        client.command("1", "gim.join", json!({ "tgid": "own" })).await;
        if round % 2 == 0 {
            http::request("DELETE", node.admin, "/api/v1/users/u/session", None).await;
        }
        drop(client);
        for joining in joining {
            let status = joining.await.unwrap();
            assert!(matches!(status, 204 | 404), "{status}");
        }
        gone(&node, "u").await;
        let (_, groups) = http::get(node.admin, "/api/v1/groups").await;
        assert_eq!(groups["groups"], json!([]), "round {round}");
    }
}
