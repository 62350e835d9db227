//! Liveness and readiness, on both listeners.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::http::{self, get};
use crate::support::node::TestNode;

#[tokio::test]
async fn a_running_node_is_alive_and_ready() {
    let node = TestNode::start().await;
    for addr in [node.public, node.admin] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(get(addr, path).await.0, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn a_full_node_is_alive_and_not_ready() {
    let node = TestNode::start_with(|config| config.limits.connections = 2).await;
    let first = Client::user(node.public, "a").await;
    let _second = Client::user(node.public, "b").await;
    assert_eq!(get(node.admin, "/readyz").await.0, 503);
    assert_eq!(get(node.admin, "/healthz").await.0, 200);
    first.close().await;
    eventually("the node to be ready again", || async { (get(node.admin, "/readyz").await.0 == 200).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_full_node_still_says_on_the_public_listener_that_it_is_alive() {
    let node = TestNode::start_with(|config| config.limits.connections = 2).await;
    let _first = Client::user(node.public, "a").await;
    let _second = Client::user(node.public, "b").await;
    assert_eq!(get(node.public, "/healthz").await.0, 200);
    assert_eq!(get(node.public, "/readyz").await.0, 503);
}

#[tokio::test]
async fn a_probe_does_not_take_the_last_place() {
    let node = TestNode::start_with(|config| config.limits.connections = 2).await;
    let _client = Client::user(node.public, "a").await;
    assert_eq!(get(node.public, "/readyz").await.0, 200, "there is room for one more");
}

#[tokio::test]
async fn an_address_with_too_many_connections_may_still_ask_whether_the_node_lives() {
    let node = TestNode::start_with(|config| config.limits.connections_per_ip = 1).await;
    let _client = Client::user(node.public, "a").await;
    assert_eq!(get(node.public, "/healthz").await.0, 200);
    assert_eq!(get(node.public, "/readyz").await.0, 200);
}

#[tokio::test]
async fn the_public_listener_tells_nothing_of_the_admins() {
    let node = TestNode::start().await;
    for path in ["/sysinfo", "/metrics", "/api/v1/queue", "/api/v1/users/u", "/api/v1/nodes"] {
        http::respond("GET", node.public, path, &[], b"").await.expect_error(404);
    }
    http::respond("POST", node.public, "/api/v1/messages", &[], b"{}").await.expect_error(404);
}

#[tokio::test]
async fn the_page_is_served_unless_switched_off() {
    let node = TestNode::start().await;
    let page = http::respond("GET", node.public, "/", &[], b"").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(page.header("content-security-policy").is_some());
    let node = TestNode::start_with(|config| config.limits.page = false).await;
    http::respond("GET", node.public, "/", &[], b"").await.expect_error(404);
    assert_eq!(get(node.public, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_connection_that_does_not_go_on_after_its_answer_says_so() {
    let node = TestNode::start().await;
    for addr in [node.public, node.admin] {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        for _ in 0..5 {
            let request = format!("GET /healthz HTTP/1.1\r\nhost: {addr}\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
            let response = http::read_response(&mut stream).await;
            assert_eq!(response.status, 200);
            if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            }
        }
    }
}
