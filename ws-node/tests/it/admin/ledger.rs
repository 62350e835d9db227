//! What is told about single messages and users: journeys, receipts, presence, and a user that is followed.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::Client;
use crate::support::http::{self, get};
use crate::support::node::{NAME, TestNode};
use crate::support::{eventually, within};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

async fn journey(node: &TestNode, id: &str) -> Value {
    eventually("the journey", || async {
        let (status, journey) = get(node.admin, &format!("/api/v1/messages/{id}")).await;
        (status == 200).then_some(journey)
    })
    .await
}

#[tokio::test]
async fn a_message_that_is_sampled_has_a_journey() {
    let node = TestNode::start().await;
    let asks = [json!({ "to_uid": "a", "traceparent": SAMPLED }), json!({ "tgid": "g", "traceparent": SAMPLED })];
    for (ask, target) in asks.into_iter().zip(["a", "g"]) {
        let mut message = ask;
        message["data"] = json!({});
        let ids = http::push(node.admin, &message).await;
        let journey = journey(&node, &ids[0]).await;
        let first = &journey["hops"][0];
        assert_eq!(
            (&journey["id"], &first["hop"], &first["target"]),
            (&json!(ids[0]), &json!("accepted"), &json!(target))
        );
        assert_eq!(
            (&first["node"], &first["since_first_us"], &first["since_last_us"]),
            (&json!(NAME), &json!(0), &json!(0))
        );
        assert!(first["at_us"].as_u64() > Some(1_700_000_000_000_000), "{journey}");
    }
}

#[tokio::test]
async fn of_other_messages_nothing_is_known() {
    let node = TestNode::start().await;
    let quiet = json!({ "to_uid": "a", "traceparent": NOT_SAMPLED, "data": {} });
    let loud = json!({ "to_uid": "a", "traceparent": SAMPLED, "data": {} });
    let ids = http::push(node.admin, &json!([quiet, loud])).await;
    journey(&node, &ids[1]).await;
    http::respond("GET", node.admin, &format!("/api/v1/messages/{}", ids[0]), &[], b"").await.expect_error(404);
    http::respond("GET", node.admin, "/api/v1/messages/nobody", &[], b"").await.expect_error(404);
    http::respond("GET", node.admin, "/api/v1/messages/no%20id", &[], b"").await.expect_error(400);
}

#[tokio::test]
async fn receipts_and_presence_are_read_page_by_page() {
    let node = TestNode::start().await;
    for log in ["receipts", "presence"] {
        let (status, found) = get(node.admin, &format!("/api/v1/{log}?limit=1000")).await;
        assert_eq!((status, &found[log]), (200, &json!([])), "{found}");
        for wrong in ["limit=0", "limit=1001", "limit=x", "after=x"] {
            http::respond("GET", node.admin, &format!("/api/v1/{log}?{wrong}"), &[], b"").await.expect_error(400);
        }
    }
}

#[tokio::test]
async fn a_user_is_followed_as_text_of_events() {
    let node = TestNode::start().await;
    let mut stream = TcpStream::connect(node.admin).await.unwrap();
    let request = format!("GET /api/v1/users/anna/trace HTTP/1.1\r\nhost: {}\r\n\r\n", node.admin);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let mut reads = async |wanted: &str| {
        within(wanted, async {
            while !String::from_utf8_lossy(&seen).contains(wanted) {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
            }
        })
        .await;
    };
    reads("content-type: text/event-stream").await;
    let _bert = Client::user(node.public, "bert").await;
    let mut anna = Client::user(node.public, "anna").await;
    reads("event: login\ndata: {").await;
    anna.join("lobby").await;
    reads("event: join\n").await;
    drop(anna);
    reads("event: close\n").await;
    drop(stream);
    eventually("nobody to follow", || async {
        let metrics = http::respond("GET", node.admin, "/metrics", &[], b"").await.text();
        // The end is noticed at the next event.
        drop(Client::user(node.public, "anna").await);
        metrics.contains("gim_followers 0").then_some(())
    })
    .await;
    assert!(!String::from_utf8_lossy(&seen).contains("bert"));
}
