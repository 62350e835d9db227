//! A node that ends in order leaves to the next what it did not do, and keeps nothing that is its own.

use std::time::Duration;

use gim_proxy_sdk::testing::{free_port, shared_redis};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;

use crate::resp::{Reply, Resp};
use crate::stage::Stage;
use crate::support::client::Client;
use crate::support::{eventually, within};

/// All keys of a prefix.
async fn keys(redis: &mut Resp, prefix: &str) -> Vec<String> {
    let keys = redis.call(&["KEYS", &format!("*{prefix}*")]).await.array();
    let mut keys: Vec<String> = keys.into_iter().map(Reply::text).collect();
    keys.sort_unstable();
    keys
}

/// What may stay of a node that has left: what is on its queue, and what expires by itself.
async fn expect_nothing_of_its_own(redis: &mut Resp, prefix: &str) {
    for key in keys(redis, prefix).await {
        let stays = key == format!("{prefix}:meta")
            || key.starts_with(&format!("{prefix}:queue:"))
            || [":term", ":later", ":later:body", ":dead"].iter().any(|end| key.ends_with(end));
        if !stays {
            assert!(redis.call(&["PTTL", &key]).await.int() > 0, "{key} stays for ever");
            assert!(!key.contains(":node:") && !key.ends_with(":lease"), "{key} stays");
        }
    }
}

#[tokio::test]
async fn a_node_that_has_left_keeps_no_lease_no_lane_and_no_user() {
    let mut stage = Stage::start_with(|config| config.queue.lanes = 3.try_into().unwrap()).await;
    let mut clients = Vec::new();
    for number in 0..20 {
        clients.push(stage.user(&format!("u{number}"), &["g", "h"]).await);
    }
    stage.add(2, &[("tgid", "g"), ("id", "x"), ("data", "{}")]).await;
    stage.settled().await;
    let prefix = stage.keys.prefix().to_owned();
    let before = keys(&mut stage.redis, &prefix).await;
    for wanted in [":node:", ":lease", ":u:", ":at:", ":g:"] {
        assert!(before.iter().any(|key| key.contains(wanted)), "nothing to give back: {before:?}");
    }
    let report = within("the stop", stage.node.node.shutdown()).await;
    assert_eq!((report.clean, report.forced, report.unsettled), (20, 0, 0));
    expect_nothing_of_its_own(&mut stage.redis, &prefix).await;
    let after = keys(&mut stage.redis, &prefix).await;
    // Groups wait for their users a while, mailboxes for longer.
    let is_kept = |key: &str| key.contains("}:g:") || key.contains("}:m:");
    let left: Vec<_> = after.iter().filter(|key| key.contains(":u:") && !is_kept(key)).collect();
    assert!(left.is_empty(), "records of users: {left:?}");
    assert!(!after.contains(&format!("{prefix}:g:g")), "the group names a node: {after:?}");
}

#[tokio::test]
async fn what_was_read_is_delivered_and_what_was_not_stays_for_the_next_run() {
    let mut stage = Stage::start_with(|config| {
        config.worker.unsettled_messages = 1;
        config.worker.attempts = 1_000;
        config.worker.backoff_max = Duration::from_millis(200);
        config.shutdown.deadline = Duration::from_secs(3);
        config.shutdown.drain_over = Duration::from_secs(1);
    })
    .await;
    stage.haunt("ghost").await;
    stage.add(0, &[("to_uid", "ghost"), ("data", "{}")]).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(format!("0-{}", stage.add(0, &[("to_uid", "u"), ("data", &json!({ "n": n }).to_string())]).await));
    }
    crate::support::http::reached(stage.node.admin, "lag", 5).await;
    let report = within("the stop", stage.node.node.shutdown()).await;
    assert_eq!((report.unsettled, report.scheduled), (1, 0), "read and without an outcome; the rest is Redis' to keep");
    let stream = stage.keys.queue(0);
    let pending = stage.redis.call(&["XPENDING", &stream, "gim"]).await.array();
    assert_eq!((pending[0].int(), stage.redis.call(&["XLEN", &stream]).await.int()), (1, 6));
    stage.hold_lane().await;
    let mut stage = stage.again().await;
    let mut client = stage.user("u", &[]).await;
    stage.free_lane().await;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(client.expect_body(json!({ "n": n })).await.id.as_ref(), Some(id));
    }
    stage.settled().await;
    client.expect_silence().await;
    // Whoever was haunted is offline now: the run that was named is over.
    assert_eq!(stage.outcomes("offline").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_stream_loses_and_repeats_nothing() {
    const MANY: u64 = 5_000;
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    stage.fill(0..MANY).await;
    for n in 0..100 {
        client.expect_body(json!({ "n": n })).await;
    }
    let node = stage.node.clone();
    let stop = tokio::spawn(async move { node.node.shutdown().await });
    let mut next = 100;
    while let Some(Message::Text(text)) = client.next().await {
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["msgType"] == 4 {
            assert_eq!(frame["response"]["a"]["code"], 1012, "{frame}");
            break;
        }
        assert_eq!(frame["response"]["a"], json!({ "n": next }));
        next += 1;
    }
    client.expect_close_frame(1012).await;
    let report = within("the stop", stop).await.unwrap();
    assert_eq!((report.clean, report.unsettled), (1, 0));
    stage.hold_lane().await;
    let mut stage = stage.again().await;
    let mut client = stage.user("u", &[]).await;
    stage.free_lane().await;
    for n in next..MANY {
        client.expect_body(json!({ "n": n })).await;
    }
    stage.settled().await;
    client.expect_silence().await;
}

/// The program `ws-node` over these keys, answering its probes.
async fn program(prefix: &str) -> (Child, Client) {
    let [public, admin, rpc] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let child = Command::new(env!("CARGO_BIN_EXE_ws-node"))
        .env_clear()
        .envs([("GIM_MODE", "redis"), ("GIM_AUTH__MODE", "none"), ("GIM_PREFIX", prefix)])
        .envs([("GIM_LISTEN__PUBLIC", &public), ("GIM_LISTEN__ADMIN", &admin), ("GIM_LISTEN__RPC", &rpc)])
        .env("GIM_REDIS__URL", shared_redis().await.url())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    eventually("the program to listen", || async { tokio::net::TcpStream::connect(&public).await.ok() }).await;
    (child, Client::user(public.parse().unwrap(), "u").await)
}

#[tokio::test]
async fn a_program_that_is_terminated_gives_everything_back_and_says_so() {
    let prefix = gim_proxy_sdk::testing::prefix();
    let mut redis = Resp::connect(shared_redis().await.port()).await;
    // Two runs, one right after the other: the second need not wait for anything.
    for n in 0..2 {
        let (mut child, mut client) = program(&prefix).await;
        client.join("g").await;
        let stream = format!("{prefix}:queue:0");
        redis.call(&["XADD", &stream, "*", "tgid", "g", "data", &json!({ "n": n }).to_string()]).await;
        client.expect_body(json!({ "n": n })).await;
        let pid = Pid::from_raw(i32::try_from(child.id().expect("it runs")).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        client.expect_close(1012).await;
        let status = within("the program to end", child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0));
        expect_nothing_of_its_own(&mut redis, &prefix).await;
        let left = keys(&mut redis, &prefix).await;
        assert!(!left.iter().any(|key| key.contains(":node:")), "{left:?}");
    }
}
