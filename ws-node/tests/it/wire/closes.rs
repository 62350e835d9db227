//! Close codes: what brings each about.

use std::time::Duration;

use gim_proto::Uid;
use gim_proto::codes::CloseCode;
use gim_proxy_sdk::RunProxy;
use gim_proxy_sdk::directory::OnDuplicate;
use gim_ws_node::config::OnSlow;
use gim_ws_node::{Context, HandlerError};
use serde_json::{Value, json};

use super::FORMS;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;
use crate::support::raw::{PING, Raw, text};
use crate::support::stalled::stall;

#[tokio::test]
async fn the_application_ends_a_session_with_any_code() {
    let codes = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::Restarting,
        CloseCode::Overloaded,
        CloseCode::Fenced,
        CloseCode::Unauthorized,
        CloseCode::Kicked,
    ];
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.command("end", move |ctx: Context, data: Value| async move {
                let code = codes[usize::try_from(data["at"].as_u64().unwrap()).unwrap()];
                ctx.session().close(code, "token expired");
                Ok::<(), HandlerError>(())
            })
        },
    )
    .await;
    for path in ["/acc", "/ws"] {
        for (at, code) in codes.into_iter().enumerate() {
            let mut client = Client::connect(node.public, &format!("{path}?uid=u&msg_code=1")).await;
            client.command("1", "end", json!({ "at": at })).await;
            assert_eq!(client.expect_close(code.code()).await, "token expired");
        }
    }
}

#[tokio::test]
async fn the_older_session_of_a_uid_is_closed_with_4501() {
    let node = TestNode::start().await;
    for path in ["/acc", "/ws"] {
        let older = Client::connect(node.public, &format!("{path}?uid=u")).await;
        let mut newer = Client::connect(node.public, &format!("{path}?uid=u")).await;
        older.expect_close(4501).await;
        newer.expect_silence().await;
    }
}

#[tokio::test]
async fn under_reject_the_newcomer_is_closed_with_4504_after_the_101() {
    let node = TestNode::start_with(|config| config.session.on_duplicate = OnDuplicate::Reject).await;
    let mut owner = Client::user(node.public, "u").await;
    for path in ["/acc", "/ws"] {
        let newcomer = Client::open(node.public, &format!("{path}?uid=u&msg_code=1")).await;
        newcomer.expect_close(4504).await;
        owner.expect_silence().await;
    }
    owner.close().await;
}

#[tokio::test]
async fn under_close_both_both_are_closed_with_4504() {
    let node = TestNode::start_with(|config| config.session.on_duplicate = OnDuplicate::CloseBoth).await;
    for path in ["/acc", "/ws"] {
        let older = Client::connect(node.public, &format!("{path}?uid={}", path.len())).await;
        let newcomer = Client::open(node.public, &format!("{path}?uid={}", path.len())).await;
        newcomer.expect_close(4504).await;
        older.expect_close(4504).await;
    }
}

#[tokio::test]
async fn repeated_bad_frames_are_closed_with_4502() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        let mut answered = 0;
        for _ in 0..11 {
            client.send_anyway(&text(b"bad")).await;
        }
        loop {
            let frame = client.frame().await;
            if frame.opcode == crate::support::raw::CLOSE {
                assert_eq!(frame.close_code(), Some(4502));
                break;
            }
            if frame.text().contains("gim.notice") {
                assert!(form.is_ws() && frame.text().contains(r#""code":4502"#), "{}", frame.text());
                continue;
            }
            assert!(frame.text().contains("20003"), "{}", frame.text());
            answered += 1;
        }
        assert!((9..=10).contains(&answered), "closed after {answered} answers");
        client.half_close().await;
        client.expect_end().await;
    }
}

#[tokio::test]
async fn a_kick_is_closed_with_4503_and_its_reason() {
    let node = TestNode::start().await;
    let uid = Uid::parse("u").unwrap();
    let client = Client::user(node.public, "u").await;
    assert!(node.node.proxy().stop_user_client(&uid, "spam").await.unwrap());
    assert_eq!(client.expect_close(4503).await, "spam");
    let client = Client::user(node.public, "u").await;
    let (status, answer) = http::request("DELETE", node.admin, "/api/v1/users/u/session", None).await;
    assert!((200..300).contains(&status), "{status} {answer}");
    client.expect_close(4503).await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_with_4002() {
    let node = TestNode::start_with(|config| {
        config.session.ping = Some(Duration::from_millis(100));
        config.session.keep_time = Some(Duration::from_millis(600));
    })
    .await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        let mut pings = 0;
        loop {
            let frame = client.frame().await;
            match frame.opcode {
                PING => pings += 1,
                crate::support::raw::CLOSE => {
                    assert_eq!(frame.close_code(), Some(4002));
                    break;
                }
                _ => assert!(frame.text().contains(r#""code":4002"#), "{}", frame.text()),
            }
        }
        assert!(pings >= 1, "closed without a ping");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_with_4001_if_so_configured() {
    let node = TestNode::start_with(|config| {
        config.session.on_slow = OnSlow::Close;
        config.session.close_timeout = Duration::from_secs(60);
    })
    .await;
    let mut client = Raw::connect_narrow(node.public, "/ws?uid=u&msg_code=1").await;
    let slow = stall(&node, "u").await;
    assert!(slow, "a client that reads nothing took everything");
    // It reads again, and finds what was sent, the rest of the frame under way, the notice and the close.
    let mut frames = Vec::new();
    while let Some(frame) = crate::support::within("the end", client.frame_or_end()).await {
        frames.push(frame);
    }
    let [.., notice, close] = &frames[..] else { panic!("{} frames", frames.len()) };
    assert!(notice.text().contains(r#""code":4001"#), "{:?}", notice.text().get(..200));
    assert_eq!(close.close_code(), Some(4001));
    crate::support::node::gone(&node, "u").await;
}

#[tokio::test]
async fn a_shutdown_closes_with_1012_and_a_hint_when_to_come_back() {
    let node = TestNode::start_with(|config| config.shutdown.hint_spread = Duration::from_secs(3)).await;
    let old = Client::connect(node.public, "/acc?uid=a").await;
    let mut new = Client::connect(node.public, "/ws?uid=b").await;
    let shutdown = tokio::spawn({
        let node = node.node.clone();
        async move { node.shutdown().await }
    });
    let notice = new.expect_notice("gim.notice").await;
    assert_eq!(notice["code"], 1012);
    assert!(notice["reason"].is_string(), "{notice}");
    let after = notice["after_ms"].as_u64().expect("a hint");
    assert!(after <= 3_100, "{after} ms");
    let keys: Vec<&String> = notice.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    new.expect_close_frame(1012).await;
    old.expect_close(1012).await;
    crate::support::within("the shutdown", shutdown).await.unwrap();
}
