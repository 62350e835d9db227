//! What is answered before the 101.

use gim_ws_node::{Identity, Refusal, UpgradeRequest};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::http::{Response, exchange};
use crate::support::node::TestNode;
use crate::support::raw::upgrade_head;

async fn handshake(node: &TestNode, path: &str) -> Response {
    exchange(node.public, upgrade_head(path).as_bytes()).await
}

#[tokio::test]
async fn a_uid_that_is_missing_or_none_is_a_bad_request() {
    let node = TestNode::start().await;
    let too_long = format!("uid={}", "x".repeat(129));
    let too_many_bytes = format!("uid={}", "%C3%A4".repeat(65));
    let queries = [
        "",
        "msg_code=1",
        "uid=",
        "uid",
        "UID=u",
        "uid=a%20b",
        "uid=%20",
        "uid=a%7Bb",
        "uid=a%7Db",
        "uid=a%0Ab",
        "uid=%00",
        "uid=a%7F",
        "uid=a%C2%85",
        "uid=a%E3%80%80b",
        "uid=a%C2%A0b",
        "uid=%FF%FE",
        "uid=%C3",
        &too_long,
        &too_many_bytes,
    ];
    for path in ["/acc", "/ws"] {
        for query in queries {
            let response = handshake(&node, &format!("{path}?{query}")).await;
            assert_eq!(response.status, 400, "{path}?{query}");
            response.expect_error(400);
        }
        handshake(&node, path).await.expect_error(400);
    }
}

#[tokio::test]
async fn a_uid_of_128_bytes_of_any_letters_is_welcome() {
    let node = TestNode::start().await;
    let longest = "x".repeat(128);
    for uid in ["a", "%C3%A4%E2%82%AC%F0%9F%98%80", "a:b/c?d=e", "a%25%22%5C", "%2B49", &longest] {
        assert_eq!(handshake(&node, &format!("/ws?uid={uid}")).await.status, 101, "{uid}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_application_is_told_as_its_status() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.authorize(|request: UpgradeRequest| async move {
                match request.query("token") {
                    Some("good") => Ok(Identity::uid("42")?),
                    Some("banned") => Err(Refusal::forbidden("you are \"banned\"")),
                    Some("bad uid") => Ok(Identity::uid("a b")?),
                    Some("broken") => Err(Refusal::bad_request("cannot read the token")),
                    _ => Err(Refusal::unauthorized("who are you?")),
                }
            })
        },
    )
    .await;
    for path in ["/acc", "/ws"] {
        let told = |response: Response, status| response.expect_error(status)["msg"].as_str().unwrap().to_owned();
        assert_eq!(told(handshake(&node, path).await, 401), "who are you?");
        assert_eq!(told(handshake(&node, &format!("{path}?uid=42")).await, 401), "who are you?");
        assert_eq!(told(handshake(&node, &format!("{path}?token=banned")).await, 403), "you are \"banned\"");
        assert_eq!(told(handshake(&node, &format!("{path}?token=broken")).await, 400), "cannot read the token");
        handshake(&node, &format!("{path}?token=bad%20uid")).await.expect_error(400);
        assert_eq!(handshake(&node, &format!("{path}?token=good")).await.status, 101);
    }
}

#[tokio::test]
async fn the_application_sees_the_request_it_decides_on() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.authorize(|request: UpgradeRequest| async move {
                let seen = [
                    request.path() == "/ws",
                    request.query("token") == Some("ä b"),
                    request.query("nothing").is_none(),
                    request.header("x-tenant") == Some("one"),
                    request.header("X-TENANT") == Some("one"),
                    request.header("nothing").is_none(),
                    request.peer().ip().is_loopback(),
                ];
                if seen.contains(&false) {
                    return Err(Refusal::bad_request(format!("{seen:?}")));
                }
                Ok(Identity::uid("chosen")?)
            })
        },
    )
    .await;
    let head = upgrade_head("/ws?token=%C3%A4%20b&uid=ignored").replacen("Host", "X-Tenant: one\r\nHost", 1);
    let response = exchange(node.public, head.as_bytes()).await;
    assert_eq!(response.status, 101, "{}", response.text());
}

#[tokio::test]
async fn connections_over_the_bound_of_one_address_are_told_429() {
    let node = TestNode::start_with(|config| config.limits.connections_per_ip = 2).await;
    let first = Client::user(node.public, "a").await;
    let _second = Client::user(node.public, "b").await;
    handshake(&node, "/ws?uid=c").await.expect_error(429);
    handshake(&node, "/acc?uid=c").await.expect_error(429);
    first.close().await;
    readmitted(&node, "/ws?uid=c").await;
}

#[tokio::test]
async fn connections_over_the_bound_of_the_node_are_told_503_and_when_to_retry() {
    let node = TestNode::start_with(|config| config.limits.connections = 2).await;
    let first = Client::user(node.public, "a").await;
    let _second = Client::user(node.public, "b").await;
    for path in ["/ws?uid=c", "/acc?uid=c"] {
        let response = handshake(&node, path).await;
        response.expect_error(503);
        retry_after(&response);
    }
    first.close().await;
    readmitted(&node, "/ws?uid=c").await;
}

#[tokio::test]
async fn logins_over_the_rate_are_told_503_and_when_to_retry() {
    let node = TestNode::start_with(|config| config.limits.logins_per_second = 3).await;
    let (mut welcome, mut refused) = (0, 0);
    for number in 0..30 {
        let response = handshake(&node, &format!("/acc?uid=u{number}")).await;
        if response.status == 101 {
            welcome += 1;
            continue;
        }
        response.expect_error(503);
        retry_after(&response);
        refused += 1;
    }
    assert!(welcome >= 1 && refused >= 1, "{welcome} welcome, {refused} refused");
    readmitted(&node, "/acc?uid=later").await;
}

#[track_caller]
fn retry_after(response: &Response) {
    let seconds = response.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "Retry-After: {seconds:?}");
}

async fn readmitted(node: &TestNode, path: &str) {
    eventually("a place to become free", || async { Client::try_open(node.public, path).await.ok() }).await;
}

#[tokio::test]
async fn an_authorize_that_panics_or_hangs_costs_one_login() {
    let node = TestNode::build(
        |config| config.session.handler_deadline = std::time::Duration::from_millis(200),
        |builder| {
            builder.authorize(|request: UpgradeRequest| async move {
                match request.query("uid") {
                    Some("panic") => panic!("a secret of the server"),
                    Some("hang") => std::future::pending().await,
                    Some(uid) => Ok(Identity::uid(uid)?),
                    None => Err(Refusal::unauthorized("no uid")),
                }
            })
        },
    )
    .await;
    let mut other = Client::user(node.public, "other").await;
    for uid in ["panic", "hang"] {
        let response = handshake(&node, &format!("/ws?uid={uid}")).await;
        assert!(matches!(response.status, 500 | 503), "{uid}: {}", response.status);
        assert!(!response.text().contains("secret"), "{}", response.text());
        response.expect_error(response.status);
    }
    other.expect_silence().await;
    Client::user(node.public, "another").await.expect_silence().await;
}
