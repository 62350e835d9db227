//! Commands of one session are handled one at a time, in order; sessions do not wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gim_ws_node::{Context, HandlerError};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::client::Client;
use crate::support::node::TestNode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_commands_are_answered_in_order_one_at_a_time() {
    let running = Arc::new(AtomicUsize::new(0));
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.command("work", move |_: Context, data: Value| {
                let running = Arc::clone(&running);
                async move {
                    let others = running.fetch_add(1, Ordering::SeqCst);
                    // The earlier ones take longer: whoever ran side by side would overtake.
                    for _ in 0..200 - data["n"].as_u64().unwrap() {
                        tokio::task::yield_now().await;
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok::<Value, HandlerError>(json!({ "n": data["n"], "others": others }))
                }
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    for n in 0..200 {
        client.command(&n.to_string(), "work", json!({ "n": n })).await;
    }
    for n in 0..200 {
        assert_eq!(client.expect_reply(&n.to_string()).await, json!({ "n": n, "others": 0 }));
    }
}

#[tokio::test]
async fn built_in_commands_wait_for_their_turn_too() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.command("work", |_: Context, _: Value| async move {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                Ok::<(), HandlerError>(())
            })
        },
    )
    .await;
    let mut client = Client::user(node.public, "u").await;
    for round in 0..20 {
        client.command(&format!("w{round}"), "work", json!({})).await;
        client.command(&format!("p{round}"), "gim.ping", json!({})).await;
        client.command(&format!("j{round}"), "gim.join", json!({ "tgid": "g" })).await;
    }
    for round in 0..20 {
        for kind in ["w", "p", "j"] {
            client.expect_reply(&format!("{kind}{round}")).await;
        }
    }
}

#[tokio::test]
async fn commands_of_different_sessions_run_side_by_side() {
    let both = Arc::new(Barrier::new(2));
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.command("meet", move |_: Context, _: Value| {
                let both = Arc::clone(&both);
                async move {
                    both.wait().await;
                    Ok::<(), HandlerError>(())
                }
            })
        },
    )
    .await;
    let mut a = Client::user(node.public, "a").await;
    let mut b = Client::user(node.public, "b").await;
    a.command("1", "meet", json!({})).await;
    b.command("1", "meet", json!({})).await;
    a.expect_reply("1").await;
    b.expect_reply("1").await;
}
