//! Liveness: pings to the idle, an end for the silent, any sign of life counts.

use std::time::Duration;

use gim_ws_node::config::Config;

use crate::support::node::TestNode;
use crate::support::raw::{CLOSE, FIN, PING, PONG, Raw, frame, text};
use crate::support::within;

fn lively(config: &mut Config) {
    config.session.ping = Some(Duration::from_millis(150));
    config.session.keep_time = Some(Duration::from_millis(900));
}

async fn connect(node: &TestNode, uid: &str) -> Raw {
    Raw::connect(node.public, &format!("/acc?uid={uid}&msg_code=1")).await
}

/// Reads until this client is closed for its silence.
async fn ends(mut client: Raw) {
    loop {
        let found = client.frame().await;
        if found.opcode == CLOSE {
            assert_eq!(found.close_code(), Some(4002));
            return;
        }
        assert_eq!(found.opcode, PING);
    }
}

#[tokio::test]
async fn an_idle_client_is_pinged() {
    let node = TestNode::start_with(lively).await;
    let mut client = connect(&node, "u").await;
    for _ in 0..5 {
        let found = client.frame().await;
        assert_eq!(found.opcode, PING);
        client.send(&frame(FIN | PONG, &found.payload)).await;
    }
}

#[tokio::test]
async fn pongs_alone_and_messages_alone_keep_a_session_and_silence_ends_it() {
    let node = TestNode::start_with(lively).await;
    let mut polite = connect(&node, "polite").await;
    let mut busy = connect(&node, "busy").await;
    let mut pinging = connect(&node, "pinging").await;
    // Two silent ones after another: twice the idle limit passes for the others.
    let silence = async {
        ends(connect(&node, "silent").await).await;
        ends(connect(&node, "silent").await).await;
    };
    let answering = async {
        loop {
            let found = polite.frame().await;
            assert_eq!(found.opcode, PING, "the polite one is closed");
            polite.send(&frame(FIN | PONG, &found.payload)).await;
        }
    };
    let talking = async {
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        loop {
            pause.tick().await;
            busy.send(&text(br#"{"seq":"1","cmd":"gim.leave","data":{"tgid":"g"}}"#)).await;
            while busy.frame().await.opcode == PING {}
        }
    };
    let asking = async {
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        loop {
            pause.tick().await;
            pinging.send(&frame(FIN | PING, b"?")).await;
            while pinging.frame().await.opcode == PING {}
        }
    };
    within("two silent clients to be closed", async {
        tokio::select! {
            () = silence => {}
            () = answering => {}
            () = talking => {}
            () = asking => {}
        }
    })
    .await;
}

#[tokio::test]
async fn half_a_frame_is_a_sign_of_life_only_once() {
    let node = TestNode::start_with(lively).await;
    let mut client = connect(&node, "u").await;
    client.send(&text(b"{}")[..3]).await;
    ends(client).await;
}

#[tokio::test]
async fn what_the_server_sends_is_no_sign_of_the_clients_life() {
    let node = TestNode::start_with(lively).await;
    let mut client = connect(&node, "u").await;
    let pushing = async {
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            let message = serde_json::json!({ "to_uid": "u", "data": {} });
            crate::support::http::push(node.admin, &message).await;
        }
    };
    let ending = async {
        loop {
            let found = client.frame().await;
            if found.opcode == CLOSE {
                assert_eq!(found.close_code(), Some(4002));
                return;
            }
        }
    };
    tokio::select! {
        () = pushing => {}
        () = ending => {}
    }
}

#[tokio::test]
async fn without_an_idle_limit_silence_is_no_reason_to_close() {
    let node = TestNode::start_with(|config| {
        config.session.ping = Some(Duration::from_millis(100));
        config.session.keep_time = None;
    })
    .await;
    let mut client = connect(&node, "u").await;
    for _ in 0..10 {
        assert_eq!(client.frame().await.opcode, PING);
    }
    client.send(&text(br#"{"seq":"1","cmd":"gim.leave","data":{"tgid":"g"}}"#)).await;
    while client.frame().await.opcode == PING {}
}
