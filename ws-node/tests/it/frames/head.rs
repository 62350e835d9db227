//! Heads that are no handshake: each gets the status the protocol names, and the connection ends.

use std::time::Duration;

use crate::support::http::{Response, exchange};
use crate::support::node::TestNode;
use crate::support::raw::{KEY, Raw, TEXT, text, upgrade_head};
use crate::support::within;

/// The answer to the usual head after one change.
async fn answer(node: &TestNode, from: &str, to: &str) -> Response {
    let head = upgrade_head("/acc?uid=a");
    assert!(head.contains(from), "{from:?} is not in the head");
    exchange(node.public, head.replacen(from, to, 1).as_bytes()).await
}

#[tokio::test]
async fn a_key_that_is_missing_or_no_key_is_a_bad_request() {
    let node = TestNode::echo().await;
    let line = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let cases = [
        ("", "missing"),
        ("Sec-WebSocket-Key: \r\n", "empty"),
        ("Sec-WebSocket-Key: short\r\n", "short"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n", "without padding"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE=\r\n", "17 bytes"),
        ("Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n", "no base64"),
    ];
    for (to, what) in cases {
        let response = answer(&node, &line, to).await;
        assert_eq!(response.status, 400, "{what}");
        response.expect_error(400);
    }
}

#[tokio::test]
async fn another_version_is_told_the_one_spoken_here() {
    let node = TestNode::echo().await;
    for to in ["Version: 12", "Version: 8", "Version: 14", "Version: abc", "Version: "] {
        let response = answer(&node, "Version: 13", to).await;
        response.expect_error(426);
        assert_eq!(response.header("sec-websocket-version"), Some("13"), "{to}");
    }
    let response = answer(&node, "Sec-WebSocket-Version: 13\r\n", "").await;
    assert!(matches!(response.status, 400 | 426), "no version: {}", response.status);
}

#[tokio::test]
async fn a_request_that_asks_for_no_upgrade_is_told_to() {
    let node = TestNode::echo().await;
    let cases = [
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Connection: Upgrade", "Connection: close"),
        ("Connection: Upgrade", "Connection: NotUpgrade"),
    ];
    for (from, to) in cases {
        answer(&node, from, to).await.expect_error(426);
    }
}

#[tokio::test]
async fn another_method_is_not_allowed() {
    let node = TestNode::echo().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/acc", "/ws"] {
            let response = answer(&node, "GET /acc", &format!("{method} {path}")).await;
            response.expect_error(405);
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let node = TestNode::echo().await;
    for path in ["/nowhere", "/ACC", "/acc/", "/acc/x", "/ws2", "/api/v1/messages", "/sysinfo", "//acc"] {
        answer(&node, "/acc", path).await.expect_error(404);
    }
}

#[tokio::test]
async fn an_old_http_version_is_no_handshake() {
    let node = TestNode::echo().await;
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/9"] {
        let response = answer(&node, "HTTP/1.1", version).await;
        assert!((400..=505).contains(&response.status), "{version}: {}", response.status);
    }
}

#[tokio::test]
async fn garbage_is_a_bad_request() {
    let node = TestNode::echo().await;
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /acc?uid=a HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /acc?uid=a HTTP/1.1\r\n: no name\r\n\r\n",
        b"GET /acc?uid=a HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    ];
    for bytes in garbage {
        let response = exchange(node.public, bytes).await;
        assert_eq!(response.status, 400, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn a_head_over_eight_kib_is_too_large() {
    let node = TestNode::echo().await;
    let head = upgrade_head("/acc?uid=a");
    let padded = |size: usize| {
        let line = format!("X-Padding: {}\r\n\r\n", "x".repeat(size - head.len() - "X-Padding: \r\n".len()));
        format!("{}{line}", &head[..head.len() - 2])
    };
    assert_eq!(padded(8_192).len(), 8_192);
    for size in [8_193, 9_000, 16_384, 40_000] {
        exchange(node.public, padded(size).as_bytes()).await.expect_error(431);
    }
    let line_without_end = format!("GET /acc?uid={}", "a".repeat(9_000));
    exchange(node.public, line_without_end.as_bytes()).await.expect_error(431);
    let mut client = Raw::open(node.public).await;
    client.send(padded(8_192).as_bytes()).await;
    client.expect_101().await;
}

#[tokio::test]
async fn more_than_64_headers_are_too_many() {
    let node = TestNode::echo().await;
    let head = upgrade_head("/acc?uid=a");
    // The usual head has five.
    let with = |more: usize| {
        let lines: String = (0..more).map(|number| format!("X-{number}: y\r\n")).collect();
        format!("{}{lines}\r\n", &head[..head.len() - 2])
    };
    for more in [60, 61, 200] {
        exchange(node.public, with(more).as_bytes()).await.expect_error(431);
    }
    let mut client = Raw::open(node.public).await;
    client.send(with(59).as_bytes()).await;
    client.expect_101().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_at_the_deadline() {
    let node = TestNode::echo_with(|config| config.limits.handshake = Duration::from_millis(300)).await;
    for start in ["", "GET /acc?uid=a HTT", "GET /acc?uid=a HTTP/1.1\r\nHost: x\r\nUpgrade: web"] {
        let mut client = tokio::net::TcpStream::connect(node.public).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut client, start.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut client, &mut answer);
        let _ = within("the end of a handshake that does not end", end).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut_at_the_deadline_too() {
    let node = TestNode::echo_with(|config| config.limits.handshake = Duration::from_millis(300)).await;
    let mut client = tokio::net::TcpStream::connect(node.public).await.unwrap();
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    within("the end of a handshake that drips", async {
        let head =
            upgrade_head("/acc?uid=a").replace("Host", "X-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nHost");
        let mut peek = [0];
        for byte in head.as_bytes().iter().cycle() {
            tokio::select! {
                // An answer or the end: either way it was cut.
                _ = client.peek(&mut peek) => return,
                _ = drip.tick() => {}
            }
            if tokio::io::AsyncWriteExt::write_all(&mut client, &[*byte]).await.is_err() {
                return;
            }
        }
    })
    .await;
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut client, &mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 101"), "a head of over 300 x 20 ms was answered in time");
}

#[tokio::test]
async fn the_deadline_of_the_handshake_is_none_of_the_session() {
    let node = TestNode::echo_with(|config| config.limits.handshake = Duration::from_millis(100)).await;
    let mut client = Raw::connect(node.public, "/acc?uid=a&msg_code=1").await;
    // As long as another handshake takes to be cut.
    let other = tokio::net::TcpStream::connect(node.public).await.unwrap();
    let _ = within("the end of an idle handshake", other.readable()).await;
    client.send(&text(b"still here")).await;
    client.expect(TEXT, b"still here").await;
}
