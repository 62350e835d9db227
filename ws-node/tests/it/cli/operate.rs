//! `gim nodes`, `gim queue`, `gim dead`, and nodes that cannot be asked.

use std::num::NonZeroU16;

use gim_proxy_sdk::cli::FAILED;
use serde_json::json;

use super::{gim, gim_at};
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{NAME, TestNode};

#[tokio::test]
async fn nodes_are_shown_with_their_sessions_and_groups() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    anna.join("lobby").await;
    let _bert = Client::user(node.public, "bert").await;

    let output = gim(&node, "nodes").await;
    let rows = output.rows();
    let head = ["NAME", "VERSION", "PHASE", "SESSIONS", "GROUPS", "RSS", "BYTES/CONNECTION"];
    assert_eq!(rows[0], head);
    assert_eq!(rows[1][..5], [NAME, env!("CARGO_PKG_VERSION"), "running", "2", "1"]);
    assert!(rows[1][5].parse::<f64>().unwrap() > 0.0 && rows[1][6] == "MiB", "{rows:?}");
    assert!(rows[1][7].parse::<u64>().unwrap() > 0);
    assert_eq!(rows.len(), 2);

    let json = gim(&node, "nodes --json").await.json();
    assert_eq!((&json["nodes"][0]["name"], &json["nodes"][0]["sessions"]), (&json!(NAME), &json!(2)));
    assert_eq!(json["nodes_unreachable"], json!([]));
}

#[tokio::test]
async fn top_shows_how_fast_figures_change() {
    let node = TestNode::start().await;
    let mut anna = Client::user(node.public, "anna").await;
    gim(&node, "push --now --to-uid anna --data {}").await.expect_done();
    anna.expect_body(json!({})).await;
    let once = gim(&node, "top --once --json").await.json();
    assert_eq!((&once["nodes"][0]["offered"], &once["queue"]["waiting"]), (&json!(1), &json!(0)));
    assert_eq!(once["nodes"][0]["offered_per_second"], json!(null));

    let output = gim(&node, "top --count 2 --every 50ms").await;
    let rows = output.rows();
    let head = ["NAME", "PHASE", "SESSIONS", "CHANGE/S", "GROUPS", "OFFERED/S", "CPU", "%", "RSS", "BYTES/CONNECTION"];
    assert_eq!(rows[1], head);
    assert_eq!(rows[2][..6], [NAME, "running", "1", "-", "0", "-"]);
    assert_eq!(rows.last().unwrap()[..6], [NAME, "running", "1", "+0", "0", "0"]);
}

#[tokio::test]
async fn a_drained_node_has_told_its_clients_to_come_back_elsewhere() {
    let node = TestNode::start().await;
    let anna = Client::user(node.public, "anna").await;
    let output = gim(&node, &format!("drain {NAME}")).await;
    assert_eq!(output.expect_done(), format!("drained {NAME}: 1 closed, 0 cut at the deadline"));
    anna.expect_close(1012).await;
    let json = gim(&node, &format!("drain {NAME} --json")).await.json();
    assert_eq!(json, json!({ "node": NAME, "clean": 0, "forced": 0 }));
    assert_eq!(gim(&node, "nodes").await.rows()[1][2], "draining_sessions");

    let output = gim(&node, "drain somebody").await;
    assert_eq!(output.expect_failed(FAILED), "the node that is asked knows no node somebody");
}

#[tokio::test]
async fn lanes_are_shown_in_figures() {
    let node = TestNode::start_with(|config| config.queue.lanes = NonZeroU16::new(3).unwrap()).await;
    gim(&node, "push --all --in 1h --data {}").await.expect_done();
    // On a stream an entry waits for its worker before it waits for its time.
    http::reached(node.admin, "later", 1).await;
    let output = gim(&node, "queue").await;
    let rows = output.rows();
    assert_eq!(rows[0], ["LANE", "LAG", "PENDING", "LATER", "DEAD", "OLDEST", "PENDING", "SETTLED"]);
    assert_eq!(rows[1], ["0", "0", "0", "1", "0", "-", "0"]);
    assert_eq!(rows[3][..5], ["2", "0", "0", "0", "0"]);
    assert_eq!(rows.len(), 4);
    assert_eq!(gim(&node, "queue --json").await.json()["lanes"][0]["later"], 1);
}

#[tokio::test]
async fn a_lane_without_dead_letters_says_so() {
    let node = TestNode::start().await;
    let output = gim(&node, "dead list --lane 0").await;
    assert!(output.expect_done().ends_with("\n0 of 0 dead letters in lane 0"), "{output:?}");
    let json = gim(&node, "dead list --lane 0 --after 5-0 --limit 3 --json").await.json();
    assert_eq!(json, json!({ "total": 0, "dead": [] }));
    for line in ["redrive --lane 0 --all", "redrive --lane 0 --id 1-1 --id 2-2"] {
        assert_eq!(gim(&node, &format!("dead {line}")).await.expect_done(), "redriven 0", "{line}");
    }
    for line in ["purge --lane 0 --all --yes", "purge --lane 0 --id 1-1"] {
        assert_eq!(gim(&node, &format!("dead {line}")).await.expect_done(), "purged 0", "{line}");
    }
    assert_eq!(gim(&node, "dead purge --lane 0 --all --yes --json").await.json(), json!({ "purged": 0 }));
}

#[tokio::test]
async fn a_lane_that_is_not_there_is_refused() {
    let node = TestNode::start().await;
    for line in ["list --lane 1", "redrive --lane 1 --all", "purge --lane 65535 --id 1-1"] {
        let output = gim(&node, &format!("dead {line}")).await;
        assert!(output.expect_failed(FAILED).contains("lane"), "{output:?}");
    }
}

#[tokio::test]
async fn the_other_listeners_of_a_node_are_told_from_the_right_one() {
    let node = TestNode::start().await;
    for addr in [node.public, node.admin] {
        let output = gim_at(addr, &["nodes"]).await;
        assert!(output.expect_failed(FAILED).contains(&addr.to_string()), "{output:?}");
    }
}

#[tokio::test]
async fn a_node_that_has_stopped_cannot_be_asked() {
    let node = TestNode::start().await;
    gim(&node, "queue").await.expect_done();
    node.node.shutdown().await;
    for line in ["queue", "nodes", "kick anna", "push --to-uid anna --data {}"] {
        let output = gim(&node, line).await;
        assert!(output.expect_failed(FAILED).contains("cannot reach the node"), "{output:?}");
    }
}
