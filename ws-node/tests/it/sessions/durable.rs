//! Durable membership: joined by the client, the application, the operator, connected or not; ended by a leave alone.

use gim_ws_node::{Context, HandlerError, JoinError, Session};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::{TestNode, gone};
use crate::support::{eventually, http, mode};

async fn durably(client: &mut Client, tgid: &str) {
    assert_eq!(client.ask("gim.join", json!({ "tgid": tgid, "durable": true })).await, json!({ "tgid": tgid }));
}

/// Members here, and durable members.
async fn group(node: &TestNode, tgid: &str) -> (Value, Value) {
    let (status, group) = http::get(node.admin, &format!("/api/v1/groups/{tgid}")).await;
    assert_eq!(status, 200, "{group}");
    (group["members"].clone(), group["durable"].clone())
}

async fn change(node: &TestNode, method: &str, path: &str) -> (u16, Value) {
    http::request(method, node.admin, &format!("/api/v1/groups/{path}"), None).await
}

#[tokio::test]
async fn a_member_for_good_is_one_again_without_presenting_a_session() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    durably(&mut client, "kept").await;
    client.join("lost").await;
    client.join("kept").await;
    client.close().await;
    gone(&node, "u").await;
    assert_eq!(group(&node, "kept").await, (json!([]), json!(1)));
    let mut client = Client::user(node.public, "u").await;
    assert_eq!(group(&node, "kept").await, (json!(["u"]), json!(1)));
    assert_eq!(group(&node, "lost").await, (json!([]), json!(0)));
    http::push(node.admin, &json!({ "tgid": "kept", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    assert_eq!(client.ask("gim.leave", json!({ "tgid": "kept" })).await, json!({ "tgid": "kept" }));
    assert_eq!(group(&node, "kept").await, (json!([]), json!(0)));
    client.close().await;
    gone(&node, "u").await;
    let _client = Client::user(node.public, "u").await;
    assert_eq!(group(&node, "kept").await, (json!([]), json!(0)));
}

#[tokio::test]
async fn an_operator_makes_members_of_users_who_are_away_and_ends_that() {
    let node = TestNode::start().await;
    for _ in 0..2 {
        assert_eq!(change(&node, "PUT", "g/members/away?durable=true").await.0, 204);
    }
    assert_eq!(group(&node, "g").await, (json!([]), json!(1)));
    let mut client = Client::user(node.public, "away").await;
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    assert_eq!(change(&node, "DELETE", "g/members/away").await.0, 204);
    assert_eq!(group(&node, "g").await, (json!([]), json!(0)));
    client.close().await;
    gone(&node, "away").await;
    assert_eq!(change(&node, "PUT", "g/members/away?durable=true").await.0, 204);
    assert_eq!(change(&node, "DELETE", "g/members/away").await.0, 204);
    let (status, error) = change(&node, "DELETE", "g/members/away").await;
    assert_eq!((status, &error["code"]), (404, &json!(10_001)), "no member any more");
    assert_eq!(change(&node, "PUT", "g/members/away?durable=false").await.0, 404);
    assert_eq!(change(&node, "PUT", "g/members/away?durable=perhaps").await.0, 400);
}

#[tokio::test]
async fn an_operator_makes_a_connected_user_a_member_at_once_and_for_good() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    assert_eq!(change(&node, "PUT", "g/members/u?durable=true").await.0, 204);
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    client.close().await;
    gone(&node, "u").await;
    assert_eq!(group(&node, "g").await, (json!([]), json!(1)));
}

#[tokio::test]
async fn an_application_joins_for_good_and_leaves() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder
                .command("join", |ctx: Context, _: Value| async move {
                    ctx.session().join_durably("g").await?;
                    Ok::<Value, HandlerError>(json!(true))
                })
                .command("leave", |ctx: Context, _: Value| async move {
                    Ok::<Value, HandlerError>(json!(ctx.session().leave("g").await?))
                })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    assert_eq!(client.ask("join", json!({})).await, json!(true));
    assert_eq!(group(&node, "g").await, (json!(["u"]), json!(1)));
    assert_eq!(client.ask("leave", json!({})).await, json!(true));
    assert_eq!(group(&node, "g").await, (json!([]), json!(0)));
}

#[tokio::test]
async fn a_group_has_so_many_durable_members_and_no_more() {
    let node = TestNode::build(
        |config| config.mailbox.durable_members = 1,
        |builder| {
            builder.command("join", |ctx: Context, _: Value| async move {
                let session: &Session = ctx.session();
                let refused = matches!(session.join_durably("g").await, Err(JoinError::Full { most: 1 }));
                Ok::<Value, HandlerError>(json!(refused))
            })
        },
    )
    .await;
    let mut first = Client::user(node.public, "1").await;
    durably(&mut first, "g").await;
    let mut second = Client::user(node.public, "2").await;
    second.command("1", "gim.join", json!({ "tgid": "g", "durable": true })).await;
    second.expect_error("1", 20_002).await;
    assert_eq!(second.ask("join", json!({})).await, json!(true));
    for name in ["2", "away"] {
        let (status, error) = change(&node, "PUT", &format!("g/members/{name}?durable=true")).await;
        assert_eq!((status, &error["code"]), (429, &json!(20_009)), "{error}");
    }
    assert_eq!(group(&node, "g").await, (json!(["1"]), json!(1)));
    second.join("g").await;
    second.command("2", "gim.join", json!({ "tgid": "g", "durable": true })).await;
    second.expect_error("2", 20_002).await;
    assert_eq!(group(&node, "g").await, (json!(["1", "2"]), json!(1)), "what was joined for a while stays so");
    second.command("3", "gim.join", json!({ "tgid": "g", "durable": "yes" })).await;
    second.expect_error("3", 20_002).await;
}

#[tokio::test]
async fn a_session_in_as_many_groups_as_it_may_joins_no_more_for_good() {
    let node = TestNode::start_with(|config| config.session.groups = 1).await;
    let mut client = Client::user(node.public, "u").await;
    client.join("a").await;
    client.command("1", "gim.join", json!({ "tgid": "b", "durable": true })).await;
    client.expect_error("1", 20_002).await;
    assert_eq!(change(&node, "PUT", "b/members/u?durable=true").await.0, 400);
    assert_eq!(group(&node, "b").await, (json!([]), json!(0)));
}

#[tokio::test]
async fn durable_members_outlive_the_node() {
    // In mode `local` it takes a journal.
    if !mode::is_redis() {
        return;
    }
    let mut prefix = String::new();
    let node = TestNode::start_with(|config| prefix.clone_from(&config.prefix)).await;
    let mut client = Client::user(node.public, "u").await;
    durably(&mut client, "g").await;
    node.node.shutdown().await;
    drop((client, node));
    let node = TestNode::start_with(|config| config.prefix = prefix).await;
    let mut client = Client::user(node.public, "u").await;
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    assert_eq!(group(&node, "g").await, (json!(["u"]), json!(1)));
}

#[tokio::test]
async fn logins_and_joins_on_their_behalf_at_once_leave_nobody_out() {
    let node = TestNode::start().await;
    for round in 0..20 {
        let path = format!("g{round}/members/u?durable=true");
        let (mut client, (status, _)) = tokio::join!(Client::user(node.public, "u"), change(&node, "PUT", &path));
        assert_eq!(status, 204);
        let is_member = || async { (group(&node, &format!("g{round}")).await.0 == json!(["u"])).then_some(()) };
        eventually("the session to be a member", is_member).await;
        http::push(node.admin, &json!({ "tgid": format!("g{round}"), "data": { "n": round } })).await;
        client.expect_body(json!({ "n": round })).await;
        client.close().await;
        gone(&node, "u").await;
    }
}
