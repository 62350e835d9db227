//! Callbacks of the application: what they are told, and what their failures cost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gim_proto::Uid;
use gim_proto::codes::CloseCode;
use gim_proxy_sdk::{Outcome, RunProxy};
use gim_ws_node::{
    CloseReason, Closer, Context, Frame, Handled, HandlerError, Identity, JoinError, NodeBuilder, Session,
    UpgradeRequest,
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;
use crate::support::raw::{Raw, close, text, upgrade_head};
use crate::support::{eventually, within};

/// Panics for users whose name says so.
fn fragile(builder: NodeBuilder, ended: mpsc::Sender<String>) -> NodeBuilder {
    builder
        .authorize(|request: UpgradeRequest| async move {
            let uid = request.query("uid").unwrap_or_default().to_owned();
            assert_ne!(uid, "authorize");
            Ok(Identity::uid(&uid)?)
        })
        .on_connect(|session: Session| async move { assert_ne!(session.uid().as_str(), "connect") })
        .on_disconnect(move |session: Session, _: CloseReason| {
            let ended = ended.clone();
            async move {
                ended.send(session.uid().to_string()).await.expect("the test listens");
                assert_ne!(session.uid().as_str(), "disconnect");
            }
        })
        .on_frame(|session: Session, frame: Frame| async move {
            assert!(session.uid().as_str() != "frame" || frame.bytes() != "panic");
            Handled::No
        })
        .command("panic", |_: Context, _: Value| async move {
            assert!(std::hint::black_box(false));
            Ok::<(), HandlerError>(())
        })
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let (ended, mut ends) = mpsc::channel(100);
    let node = TestNode::build(|_| {}, |builder| fragile(builder, ended)).await;
    let mut other = Client::user(node.public, "other").await;
    other.join("g").await;
    for uid in ["connect", "disconnect", "frame", "plain"] {
        let mut client = Client::user(node.public, uid).await;
        client.expect_silence().await;
        client.command("1", "panic", json!({})).await;
        client.expect_error("1", 20_007).await;
        if uid == "frame" {
            client.send_text("panic").await;
        }
        client.join("g").await;
        http::push(node.admin, &json!({ "tgid": "g", "data": { "uid": uid } })).await;
        client.expect_body(json!({ "uid": uid })).await;
        other.expect_body(json!({ "uid": uid })).await;
        client.close().await;
        assert_eq!(within("the end", ends.recv()).await.as_deref(), Some(uid));
        crate::support::node::gone(&node, uid).await;
        Client::user(node.public, uid).await.expect_silence().await;
        assert_eq!(within("the end", ends.recv()).await.as_deref(), Some(uid));
    }
    assert_eq!(Client::try_open(node.public, "/ws?uid=authorize").await.err(), Some(503));
    other.expect_silence().await;
    let (_, group) = http::get(node.admin, "/api/v1/groups/g").await;
    assert_eq!(group["members"], json!(["other"]));
}

#[tokio::test]
async fn a_callback_that_never_returns_ends_at_the_deadline() {
    let node = TestNode::build(
        |config| config.session.handler_deadline = Duration::from_millis(200),
        |builder| {
            builder
                .on_connect(|session: Session| async move {
                    if session.uid().as_str() == "connect" {
                        std::future::pending::<()>().await;
                    }
                })
                .on_frame(|session: Session, frame: Frame| async move {
                    if session.uid().as_str() == "frame" && frame.bytes() == "hang" {
                        std::future::pending::<()>().await;
                    }
                    Handled::No
                })
                .on_disconnect(|_: Session, _: CloseReason| std::future::pending())
        },
    )
    .await;
    let mut client = Client::user(node.public, "connect").await;
    client.expect_silence().await;
    let mut client = Client::user(node.public, "frame").await;
    client.send_text("hang").await;
    client.expect_silence().await;
    client.close().await;
    crate::support::node::gone(&node, "frame").await;
}

#[tokio::test]
async fn a_kick_does_not_wait_for_a_handler_that_hangs() {
    let node = TestNode::build(
        |config| config.session.handler_deadline = Duration::from_secs(60),
        |builder| {
            builder
                .on_connect(|session: Session| async move {
                    if session.uid().as_str() == "connecting" {
                        std::future::pending::<()>().await;
                    }
                })
                .command("hang", |_: Context, _: Value| async move {
                    std::future::pending::<()>().await;
                    Ok::<(), HandlerError>(())
                })
        },
    )
    .await;
    for uid in ["connecting", "commanding"] {
        let mut client = Client::user(node.public, uid).await;
        client.command("1", "hang", json!({})).await;
        let (status, _) = http::request("DELETE", node.admin, &format!("/api/v1/users/{uid}/session"), None).await;
        assert_eq!(status, 204);
        client.expect_close(4503).await;
        crate::support::node::gone(&node, uid).await;
    }
}

/// A node that tells how its sessions ended.
async fn witness() -> (TestNode, mpsc::Receiver<CloseReason>) {
    let (ended, ends) = mpsc::channel(100);
    let node = TestNode::build(
        |config| config.session.close_timeout = Duration::from_millis(200),
        |builder| {
            builder.on_disconnect(move |_: Session, why: CloseReason| {
                let ended = ended.clone();
                async move { ended.send(why).await.expect("the test listens") }
            })
        },
    )
    .await;
    (node, ends)
}

#[tokio::test]
async fn on_disconnect_is_told_who_ended_the_session_and_how() {
    let (node, mut ends) = witness().await;
    let mut end = async || within("the end", ends.recv()).await.expect("an end");
    let (public, path) = (node.public, "/acc?uid=u&msg_code=1");

    let mut client = Raw::connect(public, path).await;
    client.send(&close(4321, b"my reasons")).await;
    let why = end().await;
    assert_eq!((why.code, why.reason.as_str(), why.by), (4321, "my reasons", Closer::Client));

    drop(Raw::connect(public, path).await);
    let why = end().await;
    assert_eq!((why.code, why.by), (1006, Closer::Client));

    let _client = Raw::connect(public, path).await;
    node.node.proxy().stop_user_client(&Uid::parse("u").unwrap(), "spam").await.unwrap();
    let why = end().await;
    assert_eq!((why.code, why.reason.as_str(), why.by), (4503, "spam", Closer::Server));

    let mut client = Raw::connect(public, path).await;
    client.send(&text(b"\xFF")).await;
    let why = end().await;
    assert_eq!((why.code, why.by), (1007, Closer::Server));

    let _older = Raw::connect(public, path).await;
    let _newer = Raw::connect(public, path).await;
    let why = end().await;
    assert_eq!((why.code, why.by), (4501, Closer::Server));
}

#[tokio::test]
async fn a_session_can_be_noted_on_and_ended() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder
                .authorize(|request: UpgradeRequest| async move {
                    let device = request.query("device").unwrap_or("none").to_owned();
                    Ok(Identity::uid("u")?.with_attribute("device", device))
                })
                .command("note", |ctx: Context, data: Value| async move {
                    let before = ctx.session().attribute("note");
                    ctx.session().set_attribute("note", data["note"].as_str().unwrap_or_default());
                    Ok::<Value, HandlerError>(json!({ "before": before, "device": ctx.session().attribute("device") }))
                })
                .command("end", |ctx: Context, _: Value| async move {
                    let session = ctx.session();
                    let first = session.close(CloseCode::Unauthorized, "expired");
                    let second = session.close(CloseCode::Normal, "again");
                    assert!(first && !second);
                    Ok::<(), HandlerError>(())
                })
        },
    )
    .await;
    let mut client = Client::connect(node.public, "/ws?device=phone&msg_code=1").await;
    let reply = client.ask("note", json!({ "note": "first" })).await;
    assert_eq!(reply, json!({ "before": null, "device": "phone" }));
    let reply = client.ask("note", json!({ "note": "second" })).await;
    assert_eq!(reply, json!({ "before": "first", "device": "phone" }));
    client.command("1", "end", json!({})).await;
    assert_eq!(client.expect_close(4500).await, "expired");
}

#[tokio::test]
async fn frames_the_application_takes_are_not_parsed() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.on_frame(|session: Session, frame: Frame| async move {
                match &frame {
                    Frame::Text(bytes) if bytes == "mine" => session.send(&json!({ "kind": "text" })),
                    Frame::Binary(bytes) if bytes == "mine" => session.send(&json!({ "kind": "binary" })),
                    _ => return Handled::No,
                };
                Handled::Yes
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    for _ in 0..20 {
        client.send_text("mine").await;
        client.expect_body(json!({ "kind": "text" })).await;
        client.send(tokio_tungstenite::tungstenite::Message::binary(b"mine".to_vec())).await;
        client.expect_body(json!({ "kind": "binary" })).await;
    }
    client.send_text("not mine").await;
    client.expect_error("", 20_003).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_handle_that_outlives_its_session_changes_nothing() {
    let (ended, mut ends) = mpsc::channel(100);
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.on_disconnect(move |session: Session, _: CloseReason| {
                let ended = ended.clone();
                async move {
                    assert!(matches!(session.join("ghost").await, Err(JoinError::Ended)));
                    ended.send(session).await.expect("the test listens");
                }
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    client.join("g").await;
    client.close().await;
    let session = within("the end", ends.recv()).await.expect("the callback came to its end");
    let mut newer = Client::user(node.public, "u").await;
    assert!(matches!(session.join("ghost").await, Err(JoinError::Ended)));
    assert_eq!(session.send(&json!({ "n": 1 })), Outcome::Offline);
    assert_eq!(session.send_frame(&Frame::Text(Bytes::from_static(b"{}"))), Outcome::Offline);
    assert!(!session.close(CloseCode::Kicked, "too late"));
    assert_eq!(session.groups(), []);
    let (_, groups) = http::get(node.admin, "/api/v1/groups").await;
    assert_eq!(groups["groups"], json!([]));
    newer.expect_silence().await;
}

#[tokio::test]
async fn a_client_that_waits_for_a_long_answer_is_not_taken_for_dead() {
    let node = TestNode::build(
        |config| {
            config.session.ping = None;
            config.session.keep_time = Some(Duration::from_millis(300));
        },
        |builder| {
            builder.command("slow", |_: Context, _: Value| async move {
                tokio::time::sleep(Duration::from_millis(900)).await;
                Ok::<(), HandlerError>(())
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    client.command("1", "slow", json!({})).await;
    client.expect_reply("1").await;
    client.expect_close(4002).await;
}

#[tokio::test]
async fn a_client_that_gives_up_while_the_application_decides_takes_nobody_s_place() {
    let (entered, mut entries) = mpsc::channel(1);
    let decided = Arc::new(Semaphore::new(0));
    let deciding = Arc::clone(&decided);
    let authorize = move |request: UpgradeRequest| {
        let (entered, deciding) = (entered.clone(), Arc::clone(&deciding));
        async move {
            if request.query("slow").is_some() {
                entered.send(()).await.expect("the test listens");
                deciding.acquire().await.expect("it is never closed").forget();
            }
            Ok(Identity::uid(request.query("uid").unwrap_or_default())?)
        }
    };
    let node = TestNode::build(|_| {}, |builder| builder.authorize(authorize)).await;
    let mut client = Client::user(node.public, "u").await;
    let mut impatient = Raw::open(node.public).await;
    impatient.send(upgrade_head("/ws?uid=u&slow=1").as_bytes()).await;
    within("the question", entries.recv()).await;
    drop(impatient);
    decided.add_permits(1);
    eventually("the login to be given up", async || {
        let metrics = http::respond("GET", node.admin, "/metrics", &[], b"").await.text();
        metrics.contains(r#"gim_logins_refused_total{why="gone"} 1"#).then_some(())
    })
    .await;
    client.expect_silence().await;
    http::push(node.admin, &json!({ "to_uid": "u", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
}
