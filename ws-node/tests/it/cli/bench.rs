//! `gim bench` against a running node, by the program itself: its load clients are children of it.

use gim_proxy_sdk::cli::{DONE, FAILED, UNCLEAN, USAGE};
use gim_proxy_sdk::testing::{RedisServer, prefix, shared_redis};
use gim_ws_node::config::Secret;
use serde_json::{Value, json};

use crate::support::gim::{Output, program};
use crate::support::mode::is_redis;
use crate::support::node::TestNode;

/// A node, and the flags that lead clients and messages to it.
async fn node() -> (TestNode, String) {
    let prefix = prefix();
    let name = prefix.clone();
    let node = TestNode::start_with(|config| {
        if is_redis() {
            config.prefix = name;
        }
    })
    .await;
    let way = if is_redis() {
        format!("--redis {} --prefix {prefix}", shared_redis().await.url())
    } else {
        format!("--http http://{}", node.admin)
    };
    let flags = format!("--url ws://{}/ws {way}", node.public);
    (node, flags)
}

/// What it found. Everything arrived once and in order; only that this machine was too busy to measure may be a problem.
fn found(output: &Output) -> Value {
    let figures = output.figures();
    let problems = figures["problems"].as_array().expect("a list");
    let is_of_the_load_side = |problem: &Value| {
        let text = problem.as_str().unwrap_or_default();
        text.contains("saturated") || text.starts_with("the rate was not kept")
    };
    assert!(problems.iter().all(is_of_the_load_side), "{problems:?}");
    assert_eq!(output.code, if problems.is_empty() { DONE } else { UNCLEAN });
    assert_eq!(figures["turn"]["outcome"], json!({ "lost": 0, "repeated": 0, "out_of_order": 0 }));
    assert_eq!((&figures["turn"]["delivery_ratio"], &figures["turn"]["ended"]), (&json!(1.0), &json!(0)));
    figures
}

#[tokio::test]
async fn the_numbers_of_a_small_run_add_up() {
    let (_node, flags) = node().await;
    for (load, sent, expected) in [
        ("fanout --rate 10 --seconds 1 --connections 20", 10, 200),
        ("burst --messages 50 --groups 2 --connections 20 --clients 2", 50, 1_000),
        ("unicast --rate 150 --seconds 1 --connections 20 --clients 3", 150, 150),
        ("unicast --ids --rate 50 --seconds 1 --connections 5", 50, 50),
        ("durable --rate 50 --seconds 1 --connections 5 --receipts", 50, 50),
    ] {
        let figures = found(&program(&format!("bench {load} {flags} --json")).await);
        let turn = &figures["turn"];
        assert_eq!(
            (&turn["sent"], &turn["expected"], &turn["delivered"]),
            (&json!(sent), &json!(expected), &json!(expected))
        );
        assert_eq!(figures["logins"]["connected"], figures["wanted"], "{load}");
        let latency = |name: &str| turn["latency"][name].as_u64().expect("a figure");
        assert!(
            latency("p50_us") > 0 && latency("p50_us") <= latency("p99_us") && latency("p99_us") <= latency("max_us")
        );
    }
}

#[tokio::test]
async fn a_redis_that_asks_for_a_password_is_shown_the_one_in_a_file() {
    if !is_redis() {
        return;
    }
    let server = RedisServer::start().await;
    let (prefix, password) = (prefix(), "p@ss:w/rd%41");
    assert_eq!(server.tell(&["CONFIG", "SET", "requirepass", password]).await, "OK");
    let node = TestNode::start_with(|config| {
        (config.redis.url, config.redis.password) = (server.url(), Some(Secret::new(password)));
        prefix.clone_into(&mut config.prefix);
    })
    .await;
    let file = std::env::temp_dir().join(format!("gim-bench-{prefix}"));
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let to = format!("--url ws://{}/ws --redis {} --prefix {prefix}", node.public, server.url());
    let load = format!("bench unicast --rate 50 --seconds 1 --connections 5 {to}");
    for way in ["", "--sdk"] {
        found(&program(&format!("{load} {way} --redis-password-file {} --json", file.display())).await);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(program(&load).await.code, FAILED);
}

#[tokio::test]
async fn the_node_named_is_read_off() {
    let (_node, flags) = node().await;
    let pid = std::process::id();
    let figures = found(
        &program(&format!("bench unicast --rate 100 --seconds 1 --connections 10 --process {pid} {flags} --json"))
            .await,
    );
    let server = &figures["servers"][0];
    assert_eq!((&server["name"], &server["pids"]), (&json!(pid.to_string()), &json!([pid])));
    assert!(server["rss_after_bytes"].as_u64() > Some(0), "{server}");

    let output = program(&format!("bench idle --seconds 1 --connections 10 --process {pid} {flags}")).await;
    assert!(output.expect_table().contains("bytes of RSS per connection"), "{output:?}");
    let output = program(&format!("bench login --rounds 2 --connections 10 {flags} --json")).await;
    assert_eq!(output.figures()["logins"]["connected"], 20);
}

#[tokio::test]
async fn connections_that_break_and_come_back_lose_nothing_durable() {
    let (_node, flags) = node().await;
    let mix = "--unicast 50 --group-rate 5 --durable 100 --cuts 20 --cut-percent 50";
    let figures = found(&program(&format!("bench soak --seconds 3 --connections 20 {mix} {flags} --json")).await);
    assert!(figures["turn"]["cut"].as_u64() > Some(10), "{}", figures["turn"]);
    assert!(figures["turn"]["expected"].as_u64() > Some(400), "{}", figures["turn"]);
}

#[tokio::test]
async fn what_is_lost_is_told_and_is_the_exit_code() {
    let (node, flags) = node().await;
    // Every second user is at a node that shares nothing with the first, where nothing is sent.
    let other = TestNode::start().await;
    let urls = format!("--url ws://{},ws://{}", node.public, other.public);
    let way = flags.split_once(" --").map(|(_, way)| format!("--{way}")).expect("two flags");
    let output =
        program(&format!("bench unicast {urls} {way} --rate 100 --seconds 1 --grace 100ms --connections 10")).await;
    assert_eq!(output.code, UNCLEAN, "{output:?}");
    let table = output.table();
    assert!(table.contains("not clean") && table.contains("of 100 deliveries were lost"), "{table}");
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_with_a_reason() {
    let (_node, flags) = node().await;
    for (load, reason) in [
        ("fanout --connections 0", "1 to 1000000 connections"),
        ("fanout --clients 2 --connections 1", "no more than connections"),
        ("fanout --rate 0", "a rate is"),
        ("fanout --payload 10", "a payload has"),
        ("fanout --seconds 0", "1 second to a day"),
        ("fanout --users {", "no uid comes of --users"),
        ("fanout --group {", "no name of a group comes of --group"),
        ("burst --groups 10", "1 to 9 groups"),
        ("soak --unicast 0 --group-rate 0 --durable 0", "a soak sends something"),
        ("login --rounds 0", "1 to 1000 rounds"),
        ("soak --cut-percent 91", "90 percent"),
        ("unicast --connections 1000000", "open files"),
    ] {
        let output = program(&format!("bench {load} {flags}")).await;
        assert!(output.expect_failed(USAGE).contains(reason), "{load}: {output:?}");
    }
    let output = program(&format!("bench unicast --process no-such-program {flags}")).await;
    assert!(output.expect_failed(FAILED).contains("no process named no-such-program"), "{output:?}");
    let nobody = "--url ws://127.0.0.1:1/ws";
    let way = flags.split_once(" --").map(|(_, way)| format!("--{way}")).expect("two flags");
    let output = program(&format!("bench unicast {nobody} {way}")).await;
    assert!(output.expect_failed(FAILED).contains("nobody could connect"), "{output:?}");
}
