//! Handshakes that succeed, in every form a client or a proxy between may give them.

use super::Echo;
use crate::support::node::TestNode;
use crate::support::raw::{ACCEPT, KEY, Raw, TEXT, text, upgrade_head};

/// A head with these lines after the request line; `{key}` stands for the key.
fn head(path: &str, lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| line.replace("{key}", KEY)).collect();
    format!("GET {path} HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"))
}

async fn succeeds(node: &TestNode, head: &str) {
    let mut client = Raw::open(node.public).await;
    client.send(head.as_bytes()).await;
    let answer = client.expect_101().await;
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT), "{head}");
    client.send(&text(b"works")).await;
    client.expect(TEXT, b"works").await;
    client.send(&crate::support::raw::close(1000, b"")).await;
    assert_eq!(client.frame().await.close_code(), Some(1000));
    client.expect_end().await;
}

#[tokio::test]
async fn the_answer_is_that_of_the_standard() {
    let node = TestNode::echo().await;
    let mut client = Raw::open(node.public).await;
    client.send(upgrade_head("/acc?uid=a").as_bytes()).await;
    let answer = client.expect_101().await;
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
    assert!(answer.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    assert_eq!(answer.header("sec-websocket-protocol"), None);
}

#[tokio::test]
async fn header_names_and_words_may_be_written_in_any_case() {
    let node = TestNode::echo().await;
    let forms: [&[&str]; 3] = [
        &[
            "host: x",
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-key: {key}",
            "sec-websocket-version: 13",
        ],
        &[
            "HOST: x",
            "UPGRADE: WEBSOCKET",
            "CONNECTION: UPGRADE",
            "SEC-WEBSOCKET-KEY: {key}",
            "SEC-WEBSOCKET-VERSION: 13",
        ],
        &[
            "Host: x",
            "uPgRaDe: WebSocket",
            "CoNnEcTiOn: UpGrAdE",
            "sEc-webSocket-kEY: {key}",
            "sec-WebSocket-version: 13",
        ],
    ];
    for form in forms {
        succeeds(&node, &head("/acc?uid=a&msg_code=1", form)).await;
    }
}

#[tokio::test]
async fn lists_spaces_and_strangers_in_the_head_do_no_harm() {
    let node = TestNode::echo().await;
    let forms: [&[&str]; 4] = [
        &[
            "Host: x",
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ],
        &[
            "Host: x",
            "Upgrade:websocket",
            "Connection:Upgrade,keep-alive",
            "Sec-WebSocket-Key:{key}",
            "Sec-WebSocket-Version:13",
        ],
        &[
            "Host: x",
            "Upgrade:   websocket  ",
            "Connection:\tUpgrade ",
            "Sec-WebSocket-Key:  {key}  ",
            "Sec-WebSocket-Version: 13 ",
        ],
        &[
            "Host: x",
            "X-Stranger: ü",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            "Sec-WebSocket-Protocol: chat, superchat",
            "Origin: https://example.com",
            "Cookie: a=b",
        ],
    ];
    for form in forms {
        succeeds(&node, &head("/acc?uid=a&msg_code=1", form)).await;
    }
}

#[tokio::test]
async fn the_query_is_percent_decoded() {
    let node = TestNode::echo().await;
    let form = [
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ];
    for query in
        ["uid=j%C3%B6rg&msg_code=1", "msg_code=1&uid=a%2Bb", "x=1&&uid=%61&msg_code=1&y", "msg_code=%31&uid=a/b"]
    {
        succeeds(&node, &head(&format!("/acc?{query}"), &form)).await;
    }
}

#[tokio::test]
async fn a_head_in_single_bytes_is_understood() {
    let node = TestNode::echo().await;
    let mut client = Raw::open(node.public).await;
    client.send_chopped(upgrade_head("/acc?uid=a&msg_code=1").as_bytes(), &[1]).await;
    client.expect_101().await;
    client.send(&text(b"slowly")).await;
    client.expect(TEXT, b"slowly").await;
}

#[tokio::test]
async fn frames_right_behind_the_head_are_not_lost() {
    let node = TestNode::echo().await;
    let mut client = Raw::open(node.public).await;
    let head = upgrade_head("/acc?uid=a&msg_code=1");
    let large = vec![b'x'; 60_000];
    client.send(&[head.as_bytes(), &text(b"first"), &text(&large), &text(b"third")].concat()).await;
    client.expect_101().await;
    client.expect(TEXT, b"first").await;
    client.expect(TEXT, &large).await;
    client.expect(TEXT, b"third").await;
}

#[tokio::test]
async fn half_a_frame_behind_the_head_is_not_lost() {
    let node = TestNode::echo().await;
    let mut client = Raw::open(node.public).await;
    let frame = text(b"in two parts");
    let (now, later) = frame.split_at(4);
    client.send(&[upgrade_head("/acc?uid=a&msg_code=1").as_bytes(), now].concat()).await;
    client.expect_101().await;
    client.send(later).await;
    client.expect(TEXT, b"in two parts").await;
}

#[tokio::test]
async fn many_connections_shake_hands_at_once() {
    let echo = Echo::start().await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(echo.client().await);
    }
    for client in &mut clients {
        client.send(&text(b"all at once")).await;
    }
    for client in &mut clients {
        client.expect(TEXT, b"all at once").await;
    }
}
