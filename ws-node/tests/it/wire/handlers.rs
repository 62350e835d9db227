//! Commands of the application: replies, failures, deadlines.

use std::time::Duration;

use gim_proto::codes::ErrorCode;
use gim_ws_node::{Context, HandlerError, NodeBuilder};
use serde_json::{Value, json};

use super::FORMS;
use crate::support::client::Client;
use crate::support::node::TestNode;

fn commands(builder: NodeBuilder) -> NodeBuilder {
    builder
        .command("back", |_: Context, data: Value| async move { Ok::<Value, HandlerError>(json!({ "got": data })) })
        .command("who", |ctx: Context, _: Value| async move {
            let seen = json!({ "uid": ctx.uid().as_str(), "seq": ctx.seq(), "cmd": ctx.cmd() });
            Ok::<Value, HandlerError>(seen)
        })
        .command("nothing", |_: Context, _: Value| async move { Ok::<(), HandlerError>(()) })
        .command("denied", |_: Context, _: Value| async move { Err::<Value, _>(HandlerError::forbidden("not you")) })
        .command("limited", |_: Context, _: Value| async move {
            Err::<Value, _>(HandlerError::new(ErrorCode::RateLimited, "slow \"down\""))
        })
        .command("panics", |_: Context, _: Value| async move {
            assert!(std::hint::black_box(false), "a secret of the server");
            Ok::<Value, HandlerError>(Value::Null)
        })
        .command("panics.early", |_: Context, _: Value| {
            assert!(std::hint::black_box(false), "a secret of the server");
            async move { Ok::<Value, HandlerError>(Value::Null) }
        })
        .command("hangs", |_: Context, _: Value| async move {
            std::future::pending::<()>().await;
            Ok::<Value, HandlerError>(Value::Null)
        })
}

async fn node() -> TestNode {
    TestNode::build(|config| config.session.handler_deadline = Duration::from_millis(200), commands).await
}

#[tokio::test]
async fn a_handler_gets_the_data_and_its_value_is_the_reply() {
    let node = node().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        form.exchange(
            &mut client,
            r#"{"seq":"7","cmd":"back","data":{"x":[1,"zwei",null,{"y":true}]}}"#,
            r#"{"seq":"7","cmd":"back","msgType":1,"response":{"s":1,"a":{"got":{"x":[1,"zwei",null,{"y":true}]}}}}"#,
        )
        .await;
        form.exchange(
            &mut client,
            r#"{"seq":"8","cmd":"nothing"}"#,
            r#"{"seq":"8","cmd":"nothing","msgType":1,"response":{"s":1,"a":null}}"#,
        )
        .await;
    }
}

#[tokio::test]
async fn a_handler_knows_who_asks_what() {
    let node = node().await;
    let mut client = Client::user(node.public, "alice").await;
    client.command("77", "who", json!({})).await;
    assert_eq!(client.expect_reply("77").await, json!({ "uid": "alice", "seq": "77", "cmd": "who" }));
}

#[tokio::test]
async fn an_error_of_the_application_keeps_its_code_and_text() {
    let node = node().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        let msg = form.refused(&mut client, br#"{"seq":"1","cmd":"denied"}"#, "1", "denied", 20_006).await;
        assert_eq!(msg, "not you");
        let msg = form.refused(&mut client, br#"{"seq":"2","cmd":"limited"}"#, "2", "limited", 20_009).await;
        assert_eq!(msg, "slow \"down\"");
    }
}

#[tokio::test]
async fn a_panic_answers_20007_and_costs_one_request() {
    let node = node().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for cmd in ["panics", "panics.early"] {
            let request = format!(r#"{{"seq":"1","cmd":"{cmd}"}}"#);
            let msg = form.refused(&mut client, request.as_bytes(), "1", cmd, 20_007).await;
            assert!(!msg.contains("secret"), "the client reads the panic: {msg}");
        }
        form.exchange(
            &mut client,
            r#"{"seq":"2","cmd":"nothing"}"#,
            r#"{"seq":"2","cmd":"nothing","msgType":1,"response":{"s":1,"a":null}}"#,
        )
        .await;
    }
}

#[tokio::test]
async fn a_handler_that_takes_too_long_answers_20008_and_the_next_command_runs() {
    let node = node().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        form.refused(&mut client, br#"{"seq":"1","cmd":"hangs"}"#, "1", "hangs", 20_008).await;
        form.exchange(
            &mut client,
            r#"{"seq":"2","cmd":"nothing"}"#,
            r#"{"seq":"2","cmd":"nothing","msgType":1,"response":{"s":1,"a":null}}"#,
        )
        .await;
    }
}

#[tokio::test]
async fn a_hanging_handler_holds_up_its_own_session_only() {
    let node = TestNode::build(|_| {}, commands).await;
    let mut stuck = Client::user(node.public, "stuck").await;
    stuck.command("1", "hangs", json!({})).await;
    let mut other = Client::user(node.public, "other").await;
    assert_eq!(other.ask("nothing", json!({})).await, Value::Null);
    crate::support::http::push(node.admin, &json!({ "to_uid": "stuck", "data": { "still": "served" } })).await;
    stuck.expect_body(json!({ "still": "served" })).await;
}

#[tokio::test]
async fn errors_of_the_application_are_no_bad_frames() {
    let node = node().await;
    let mut client = Client::user(node.public, "u").await;
    for round in 0..30 {
        let seq = round.to_string();
        client.command(&seq, "denied", json!({})).await;
        client.expect_error(&seq, 20_006).await;
        client.command(&seq, "no.such.command", json!({})).await;
        client.expect_error(&seq, 20_004).await;
    }
    client.expect_silence().await;
}
