//! A client that does not read costs itself, never the others.

use std::time::Duration;

use bytes::Bytes;
use gim_msg_queue::config::ByteSize;
use gim_proto::Uid;
use gim_proxy_sdk::{Outcome, RunProxy};
use gim_ws_node::config::{Config, OnSlow};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{TestNode, gone};
use crate::support::raw::{CLOSE, Raw, close, ping, text};
use crate::support::stalled::{fill, stall};
use crate::support::within;

fn small_outbox(config: &mut Config) {
    config.session.outbox_bytes = ByteSize::kib(256);
    config.session.outbox_frames = 100;
    // Nobody is cut for the slowness of the machine.
    config.session.write_progress = Duration::from_secs(60);
    config.session.close_timeout = Duration::from_secs(60);
}

/// A member of `g` that never reads.
async fn stalled(node: &TestNode) -> Raw {
    let mut client = Raw::connect_narrow(node.public, "/acc?uid=slow&msg_code=1").await;
    client.send(&text(br#"{"seq":"1","cmd":"gim.join","data":{"tgid":"g"}}"#)).await;
    client.frame().await;
    client
}

async fn member(node: &TestNode, uid: &str) -> Client {
    let mut client = Client::user(node.public, uid).await;
    client.join("g").await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_member_holds_up_nobody_and_keeps_the_newest_messages() {
    let node = TestNode::start_with(small_outbox).await;
    let mut slow = stalled(&node).await;
    fill(&node, "slow").await;
    let mut quick = member(&node, "quick").await;
    for n in 0..500 {
        http::push(node.admin, &json!({ "tgid": "g", "data": { "n": n } })).await;
        quick.expect_body(json!({ "n": n })).await;
    }
    // It reads again: older messages are gone, the newest are there in order, and it is served as before.
    slow.send(&text(br#"{"seq":"9","cmd":"gim.ping"}"#)).await;
    let mut seen = Vec::new();
    loop {
        let frame = slow.frame().await;
        let Ok(frame) = serde_json::from_slice::<Value>(&frame.payload) else { continue };
        if frame["seq"] == "9" {
            break;
        }
        seen.push(frame["response"]["a"]["n"].as_u64().unwrap());
    }
    assert_eq!(seen.last(), Some(&499));
    assert!(seen.len() <= 100 && seen.is_sorted(), "{seen:?}");
    let (_, metrics) = (0, http::respond("GET", node.admin, "/metrics", &[], b"").await.text());
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("gim_slow_dropped_total ")).expect("a counter");
    assert!(dropped.parse::<f64>().unwrap() >= 400.0, "{dropped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_close_the_stalled_is_closed_and_nobody_else() {
    let node = TestNode::start_with(|config| {
        small_outbox(config);
        config.session.on_slow = OnSlow::Close;
    })
    .await;
    let mut slow = stalled(&node).await;
    let mut quick = member(&node, "quick").await;
    assert!(stall(&node, "slow").await, "a client that reads nothing took everything");
    for n in 0..100 {
        http::push(node.admin, &json!({ "tgid": "g", "data": { "n": n } })).await;
        quick.expect_body(json!({ "n": n })).await;
    }
    let mut last = None;
    while let Some(frame) = within("the end", slow.frame_or_end()).await {
        last = Some(frame);
    }
    let last = last.expect("frames");
    assert_eq!((last.opcode, last.close_code()), (CLOSE, Some(4001)));
    gone(&node, "slow").await;
    quick.expect_silence().await;
}

#[tokio::test]
async fn a_write_without_progress_ends_the_session_under_both_policies() {
    for policy in [OnSlow::DropOldest, OnSlow::Close] {
        let node = TestNode::start_with(|config| {
            config.session.on_slow = policy;
            config.session.outbox_bytes = ByteSize::mib(64);
            config.session.write_progress = Duration::from_millis(300);
        })
        .await;
        let _slow = stalled(&node).await;
        fill(&node, "slow").await;
        gone(&node, "slow").await;
        let metrics = http::respond("GET", node.admin, "/metrics", &[], b"").await.text();
        assert!(metrics.lines().any(|line| line.starts_with("gim_closed_total{") && line.ends_with(" 1")), "{metrics}");
    }
}

#[tokio::test]
async fn what_may_not_be_dropped_ends_the_session_at_twice_the_bound() {
    let node = TestNode::start_with(small_outbox).await;
    let mut slow = stalled(&node).await;
    fill(&node, "slow").await;
    // Pongs and replies are never dropped; the client asks for far more than twice 100 of them.
    let asked: Vec<u8> = (0..600).flat_map(|_| ping(b"are you there?")).collect();
    slow.send_anyway(&asked).await;
    gone(&node, "slow").await;
}

#[tokio::test]
async fn one_large_message_fits_an_empty_outbox() {
    let node = TestNode::start_with(|config| config.session.outbox_bytes = ByteSize::kib(1)).await;
    let mut client = Client::user(node.public, "u").await;
    for _ in 0..20 {
        let large = Bytes::from(vec![b'x'; 200_000]);
        let sent = node.node.proxy().send_msg_to_user(&Uid::parse("u").unwrap(), large.clone()).await.unwrap();
        assert_eq!(sent.outcome, Outcome::Offered);
        assert_eq!(client.data().await, large);
    }
}

#[tokio::test]
async fn a_stalled_client_can_still_say_goodbye() {
    let node = TestNode::start_with(small_outbox).await;
    let mut slow = stalled(&node).await;
    fill(&node, "slow").await;
    slow.send(&close(1000, b"")).await;
    let mut last = None;
    while let Some(frame) = within("the end", slow.frame_or_end()).await {
        last = Some(frame);
    }
    assert_eq!(last.expect("frames").close_code(), Some(1000));
    gone(&node, "slow").await;
}

#[tokio::test]
async fn a_stalled_client_can_be_kicked_and_replaced() {
    let node = TestNode::start_with(|config| config.session.close_timeout = Duration::from_millis(300)).await;
    let _slow = stalled(&node).await;
    fill(&node, "slow").await;
    let mut newer = Client::user(node.public, "slow").await;
    newer.expect_silence().await;
    assert!(node.node.proxy().stop_user_client(&Uid::parse("slow").unwrap(), "").await.unwrap());
    newer.expect_close(4503).await;
    gone(&node, "slow").await;
    let (_, sysinfo) = http::get(node.admin, "/sysinfo").await;
    assert_eq!(sysinfo["managerInfo"]["clientsLen"], 0, "{sysinfo}");
}
