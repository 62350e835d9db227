//! Notices: on `/ws` only, in exact bytes.

use std::time::Duration;

use gim_proto::codes::CloseCode;
use gim_proto::{SessionId, Uid};
use gim_proxy_sdk::RunProxy;
use gim_ws_node::{Context, HandlerError, Session};
use serde_json::{Value, json};

use super::FORMS;
use crate::support::client::Client;
use crate::support::node::{NAME, TestNode};
use crate::support::raw::{BINARY, Raw, TEXT};

fn welcome(session: &str, fence: u64, epoch: u64, ping_ms: u64) -> String {
    format!(
        r#"{{"seq":"","cmd":"gim.welcome","msgType":4,"response":{{"s":1,"a":{{"node":"{NAME}","session":"{session}","fence":{fence},"epoch":{epoch},"offset":0,"ping_ms":{ping_ms},"groups":[]}}}}}}"#
    )
}

/// Takes the welcome and checks its bytes; returns session and fence.
async fn take_welcome(client: &mut Raw, opcode: u8, ping_ms: u64) -> (String, u64) {
    let frame = client.frame().await;
    assert_eq!(frame.opcode, opcode);
    let found: Value = serde_json::from_str(frame.text()).unwrap();
    let a = &found["response"]["a"];
    let session = a["session"].as_str().expect("a session").to_owned();
    let fence = a["fence"].as_u64().expect("a fence");
    let epoch = a["epoch"].as_u64().expect("an epoch");
    assert_eq!(frame.text(), welcome(&session, fence, epoch, ping_ms));
    SessionId::parse(&session).expect("the name of a session");
    assert!((1..1 << 53).contains(&fence), "fence {fence}");
    assert!(epoch < 1 << 53, "epoch {epoch}");
    (session, fence)
}

#[tokio::test]
async fn the_welcome_is_the_first_frame_on_ws() {
    let node = TestNode::start().await;
    for (query, opcode) in [("/ws?uid=u&msg_code=1", TEXT), ("/ws?uid=u", BINARY)] {
        let mut client = Raw::connect(node.public, query).await;
        take_welcome(&mut client, opcode, 25_000).await;
    }
}

#[tokio::test]
async fn the_welcome_tells_the_ping_interval() {
    let node = TestNode::start_with(|config| config.session.ping = Some(Duration::from_millis(1_500))).await;
    take_welcome(&mut Raw::connect(node.public, "/ws?uid=u").await, BINARY, 1_500).await;
    let node = TestNode::start_with(|config| config.session.ping = None).await;
    take_welcome(&mut Raw::connect(node.public, "/ws?uid=u").await, BINARY, 0).await;
}

#[tokio::test]
async fn each_login_has_a_session_of_its_own_and_a_higher_fence() {
    let node = TestNode::start().await;
    let mut last = (String::new(), 0);
    let mut kept = Vec::new();
    for _ in 0..5 {
        let mut client = Raw::connect(node.public, "/ws?uid=u").await;
        let (session, fence) = take_welcome(&mut client, BINARY, 25_000).await;
        assert_ne!(session, last.0);
        assert!(fence > last.1, "{fence} after {}", last.1);
        last = (session, fence);
        kept.push(client);
    }
}

#[tokio::test]
async fn the_welcome_comes_before_what_on_connect_sends() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.on_connect(|session: Session| async move {
                session.send(&json!({ "n": 1 }));
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    client.expect_body(json!({ "n": 1 })).await;
}

#[tokio::test]
async fn no_notice_comes_on_acc() {
    let node = TestNode::start().await;
    for form in FORMS.into_iter().filter(|form| !form.is_ws()) {
        let mut client = Raw::connect(node.public, &form.query("u")).await;
        form.exchange(
            &mut client,
            r#"{"seq":"1","cmd":"gim.leave","data":{"tgid":"g"}}"#,
            r#"{"seq":"1","cmd":"gim.leave","msgType":1,"response":{"s":1,"a":{"tgid":"g"}}}"#,
        )
        .await;
        node.node.proxy().stop_user_client(&Uid::parse("u").unwrap(), "over").await.unwrap();
        assert_eq!(client.expect_close(4503).await, "over");
    }
}

#[tokio::test]
async fn on_ws_the_notice_comes_right_before_the_close_with_the_same_code_and_reason() {
    let node = TestNode::start().await;
    for form in FORMS.into_iter().filter(|form| form.is_ws()) {
        let mut client = form.connect(&node, "u").await;
        let stopped = node.node.proxy().stop_user_client(&Uid::parse("u").unwrap(), "räumen").await;
        assert!(stopped.unwrap());
        let wanted =
            r#"{"seq":"","cmd":"gim.notice","msgType":4,"response":{"s":1,"a":{"code":4503,"reason":"räumen"}}}"#;
        client.expect(form.opcode(), wanted.as_bytes()).await;
        assert_eq!(client.expect_close(4503).await, "räumen");
    }
}

#[tokio::test]
async fn a_reason_too_long_for_a_close_frame_is_cut_between_characters() {
    let node = TestNode::start().await;
    let mut client = FORMS[2].connect(&node, "u").await;
    let reason = "ä€".repeat(60);
    node.node.proxy().stop_user_client(&Uid::parse("u").unwrap(), &reason).await.unwrap();
    let notice: Value = serde_json::from_str(client.frame().await.text()).unwrap();
    let told = notice["response"]["a"]["reason"].as_str().unwrap().to_owned();
    let found = client.expect_close(4503).await;
    assert!(found.len() <= 123 && found.len() >= 100, "{} bytes", found.len());
    assert!(reason.starts_with(&found) && reason.starts_with(&told), "{found} / {told}");
}

#[tokio::test]
async fn a_client_that_closes_gets_no_notice() {
    let node = TestNode::start().await;
    let mut client = FORMS[2].connect(&node, "u").await;
    client.send(&crate::support::raw::close(1000, b"")).await;
    client.expect_close(1000).await;
}

#[tokio::test]
async fn nothing_comes_between_the_notice_and_the_close() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.command("end", |ctx: Context, _: Value| async move {
                ctx.session().close(CloseCode::Normal, "asked to");
                Ok::<Value, HandlerError>(json!({ "too": "late" }))
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    client.command("1", "end", json!({})).await;
    assert_eq!(client.expect_close(1000).await, "asked to");
}

#[tokio::test]
async fn a_reason_is_quoted_in_the_notice_and_plain_in_the_close() {
    let node = TestNode::start().await;
    let mut client = FORMS[2].connect(&node, "u").await;
    let reason = "\"no\" \\ \u{1}\n<way>";
    node.node.proxy().stop_user_client(&Uid::parse("u").unwrap(), reason).await.unwrap();
    let notice: Value = serde_json::from_str(client.frame().await.text()).unwrap();
    assert_eq!(notice["response"]["a"]["reason"], reason);
    assert_eq!(client.expect_close(4503).await, reason);
}

#[tokio::test]
async fn a_client_that_closes_at_the_same_time_is_let_go() {
    let node = TestNode::start().await;
    for _ in 0..20 {
        let mut client = Raw::connect(node.public, "/acc?uid=u").await;
        let stop = async { node.node.proxy().stop_user_client(&Uid::parse("u").unwrap(), "").await };
        let goodbye = crate::support::raw::close(1000, b"");
        let ((), stopped) = tokio::join!(client.send_anyway(&goodbye), stop);
        stopped.unwrap();
        assert!(matches!(client.frame().await.close_code(), Some(1000 | 4503)));
        client.expect_end().await;
    }
}
