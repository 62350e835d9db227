//! Who may ask on the admin listener.

use gim_msg_queue::config::Secret;
use gim_ws_node::Node;
use serde_json::json;

use crate::support::http::{self, Response};
use crate::support::node::{TestNode, config};

const TOKEN: &str = "0123456789abcdef-secret";

const GUARDED: [(&str, &str); 9] = [
    ("GET", "/sysinfo"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/users/u"),
    ("DELETE", "/api/v1/users/u/session"),
    ("GET", "/api/v1/groups"),
    ("PUT", "/api/v1/groups/g/members/u"),
    ("GET", "/api/v1/queue"),
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/dead/0"),
];

async fn locked() -> TestNode {
    TestNode::start_with(|config| config.admin.token = Some(Secret::new(TOKEN))).await
}

async fn ask(node: &TestNode, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    http::respond(method, node.admin, path, headers, b"").await
}

#[tokio::test]
async fn with_a_token_set_nothing_is_told_without_it() {
    let node = locked().await;
    for (method, path) in GUARDED {
        for headers in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", TOKEN)],
            &[("authorization", "Basic eDp5")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer 0123456789abcdef-secreT")],
        ] {
            let response = ask(&node, method, path, headers).await;
            response.expect_error(401);
            assert!(response.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{path}");
        }
    }
    let body = json!({ "to_uid": "u", "data": {} }).to_string();
    http::respond("POST", node.admin, "/api/v1/messages", &[], body.as_bytes()).await.expect_error(401);
}

#[tokio::test]
async fn with_its_token_everything_is_told() {
    let node = locked().await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    for (method, path) in GUARDED {
        let response = ask(&node, method, path, &headers).await;
        assert!(matches!(response.status, 200 | 204 | 404), "{path}: {}", response.status);
    }
    let body = json!({ "to_uid": "u", "data": {} }).to_string();
    let response = http::respond("POST", node.admin, "/api/v1/messages", &headers, body.as_bytes()).await;
    assert_eq!(response.status, 202);
}

#[tokio::test]
async fn probes_need_no_token() {
    let node = locked().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&node, "GET", path, &[]).await.status, 200);
    }
}

#[tokio::test]
async fn the_secret_is_never_told() {
    let node = locked().await;
    let bearer = format!("Bearer {TOKEN}");
    for path in ["/sysinfo", "/metrics", "/api/v1/nodes", "/nowhere"] {
        let response = ask(&node, "GET", path, &[("authorization", &bearer)]).await;
        assert!(!response.text().contains(TOKEN), "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let node = TestNode::start().await;
    for origin in ["https://evil.example", "http://localhost:1", "null", &format!("http://{}", node.public)] {
        for (method, path) in GUARDED {
            ask(&node, method, path, &[("origin", origin)]).await.expect_error(403);
        }
        let body = json!({ "to_uid": "u", "data": {} }).to_string();
        let headers = [("origin", origin)];
        http::respond("POST", node.admin, "/api/v1/messages", &headers, body.as_bytes()).await.expect_error(403);
    }
    let own = format!("http://{}", node.admin);
    assert_eq!(ask(&node, "GET", "/sysinfo", &[("origin", &own)]).await.status, 200);
}

#[tokio::test]
async fn a_name_that_somebody_pointed_at_this_machine_is_refused() {
    let node = TestNode::start().await;
    let head = "GET /sysinfo HTTP/1.1\r\nhost: rebound.example:8081\r\nconnection: close\r\n\r\n";
    http::exchange(node.admin, head.as_bytes()).await.expect_error(403);
    let head = format!("GET /sysinfo HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\n\r\n", node.admin.port());
    assert_eq!(http::exchange(node.admin, head.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn beyond_loopback_a_token_is_required_to_start() {
    let mut open = config();
    open.listen.admin = "0.0.0.0:0".parse().unwrap();
    assert!(Node::builder(open.clone()).start().await.is_err());
    open.admin.token = Some(Secret::new("with a space"));
    assert!(Node::builder(open.clone()).start().await.is_err());
    open.admin.token = Some(Secret::new(TOKEN));
    let node = Node::builder(open).start().await.expect("a locked door may be anywhere");
    let addr = ([127, 0, 0, 1], node.admin_addr().port()).into();
    http::respond("GET", addr, "/sysinfo", &[], b"").await.expect_error(401);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let node = TestNode::start().await;
    for path in ["/", "/nowhere", "/api/v1", "/api/v1/users", "/api/v2/queue", "/acc", "/ws"] {
        ask(&node, "GET", path, &[]).await.expect_error(404);
    }
    for (method, path) in [("POST", "/sysinfo"), ("DELETE", "/api/v1/groups"), ("GET", "/api/v1/users/u/session")] {
        ask(&node, method, path, &[]).await.expect_error(405);
    }
}
