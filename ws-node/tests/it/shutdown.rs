//! How a node leaves: in phases, offering first what was accepted, then closing, then saying how it went.

use std::sync::Arc;
use std::time::Duration;

use gim_proxy_sdk::{ErrorKind, RunProxy};
use gim_ws_node::{CloseReason, Identity, Session, ShutdownReport, UpgradeRequest};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::support::client::Client;
use crate::support::http::{self, get, post};
use crate::support::node::{TestNode, unix_ms};
use crate::support::raw::{Raw, upgrade_head};
use crate::support::stalled::fill;
use crate::support::{eventually, mode, within};

fn begin(node: &TestNode) -> JoinHandle<ShutdownReport> {
    let node = node.node.clone();
    tokio::spawn(async move { node.shutdown().await })
}

async fn report(shutdown: JoinHandle<ShutdownReport>) -> ShutdownReport {
    within("the shutdown", shutdown).await.unwrap()
}

/// A node that takes three seconds to stop, because one client reads nothing; and that client.
async fn held_up() -> (TestNode, Raw) {
    let node = TestNode::start_with(|config| {
        config.shutdown.deadline = Duration::from_secs(3);
        config.shutdown.drain_over = Duration::from_secs(1);
        config.session.close_timeout = Duration::from_secs(60);
        config.session.write_progress = Duration::from_secs(60);
    })
    .await;
    let stalled = Raw::connect_narrow(node.public, "/acc?uid=stalled").await;
    fill(&node, "stalled").await;
    (node, stalled)
}

async fn not_ready(node: &TestNode) {
    eventually("the node to say that it is not ready", || async {
        (get(node.admin, "/readyz").await.0 == 503).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_offered_before_the_close() {
    let node = TestNode::start().await;
    let mut direct = Client::user(node.public, "u").await;
    let mut member = Client::user(node.public, "m").await;
    member.join("g").await;
    for start in [0, 1_000] {
        let to_user = (start..start + 500).map(|n| json!({ "to_uid": "u", "data": { "n": n } }));
        let to_group = (start..start + 500).map(|n| json!({ "tgid": "g", "data": { "n": n } }));
        http::push(node.admin, &json!(to_user.chain(to_group).collect::<Vec<Value>>())).await;
    }
    if mode::is_redis() {
        // What was not read yet is left to the next run, which the program `streams` shows.
        http::reached(node.admin, "lag", 0).await;
    }
    let shutdown = begin(&node);
    for client in [&mut direct, &mut member] {
        for n in (0..500).chain(1_000..1_500) {
            client.expect_body(json!({ "n": n })).await;
        }
    }
    direct.expect_close(1012).await;
    member.expect_close(1012).await;
    let report = report(shutdown).await;
    assert_eq!((report.clean, report.forced, report.unsettled), (2, 0, 0));
}

#[tokio::test]
async fn sessions_are_closed_with_a_hint_to_come_back_and_counted() {
    let node = TestNode::start_with(|config| config.shutdown.hint_spread = Duration::from_secs(10)).await;
    let mut clients = Vec::new();
    for number in 0..150 {
        clients.push(Client::user(node.public, &format!("u{number}")).await);
    }
    let shutdown = begin(&node);
    let mut hints = Vec::new();
    for client in &mut clients {
        let notice = client.expect_notice("gim.notice").await;
        assert_eq!(notice["code"], 1012);
        hints.push(notice["after_ms"].as_u64().expect("a hint"));
        client.expect_close_frame(1012).await;
    }
    hints.sort_unstable();
    hints.dedup();
    assert!(hints.len() > 100 && *hints.last().unwrap() <= 10_100, "the hints are not spread: {hints:?}");
    assert!(hints[hints.len() - 1] - hints[0] > 5_000, "{hints:?}");
    let report = report(shutdown).await;
    assert_eq!((report.clean, report.forced, report.unsettled, report.scheduled), (150, 0, 0, 0));
}

#[tokio::test]
async fn an_idle_node_stops_at_once_and_a_second_call_returns_the_same() {
    let node = TestNode::start().await;
    let first = report(begin(&node)).await;
    assert_eq!(first, ShutdownReport::default());
    assert_eq!(report(begin(&node)).await, first);
    for addr in [node.public, node.admin, node.rpc] {
        // Another test's node may have got the port meanwhile, and will be done with it.
        eventually("the port to be free", || async { TcpListener::bind(addr).await.ok() }).await;
    }
}

#[tokio::test]
async fn two_calls_at_once_return_the_same() {
    let node = TestNode::start().await;
    let client = Client::user(node.public, "u").await;
    let (first, second) = (begin(&node), begin(&node));
    client.expect_close(1012).await;
    let first = report(first).await;
    assert_eq!((first.clean, first.forced), (1, 0));
    assert_eq!(report(second).await, first);
}

#[tokio::test]
async fn while_draining_the_node_is_alive_not_ready_and_takes_nothing_new() {
    let (node, _stalled) = held_up().await;
    let shutdown = begin(&node);
    not_ready(&node).await;
    assert_eq!(get(node.admin, "/healthz").await.0, 200);
    let (status, error) = post(node.admin, "/api/v1/messages", &json!({ "to_uid": "u", "data": {} })).await;
    assert_eq!(status, 503, "{error}");
    assert!(error["code"].is_u64() && error["msg"].is_string(), "{error}");
    let error = node.node.proxy().enqueue(Vec::new()).await;
    assert!(error.is_err_and(|error| error.kind == ErrorKind::Unavailable && error.is_retryable()));
    let (_, sysinfo) = get(node.admin, "/sysinfo").await;
    assert_ne!(sysinfo["nodeMap"][0]["phase"], "running", "{sysinfo}");
    for path in ["/ws?uid=late", "/acc?uid=late"] {
        let response = http::exchange(node.public, upgrade_head(path).as_bytes()).await;
        response.expect_error(503);
        assert!(response.header("retry-after").is_some());
    }
    assert_eq!(get(node.public, "/readyz").await.0, 503);
    report(shutdown).await;
}

#[tokio::test]
async fn who_does_not_leave_in_time_is_cut_and_counted_as_forced() {
    let (node, mut stalled) = held_up().await;
    let quick = Client::user(node.public, "quick").await;
    let shutdown = begin(&node);
    quick.expect_close(1012).await;
    let report = report(shutdown).await;
    assert_eq!((report.clean, report.forced), (1, 1));
    while within("the end", stalled.frame_or_cut()).await.is_some() {}
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_is_no_reason_to_wait_for_the_deadline() {
    let node = TestNode::start_with(|config| config.session.close_timeout = Duration::from_millis(200)).await;
    let mut client = Raw::connect(node.public, "/acc?uid=u").await;
    let shutdown = begin(&node);
    assert_eq!(client.frame().await.close_code(), Some(1012));
    let report = report(shutdown).await;
    assert_eq!(report.clean + report.forced, 1);
}

#[tokio::test]
async fn what_is_scheduled_for_later_is_reported() {
    let node = TestNode::start().await;
    let later = |n: u64| json!({ "to_uid": "u", "deliver_at_ms": unix_ms() + 60_000, "data": { "n": n } });
    http::push(node.admin, &json!([later(1), later(2), later(3)])).await;
    http::reached(node.admin, "later", 3).await;
    let report = report(begin(&node)).await;
    // What Redis keeps is not left behind.
    let lost = if mode::is_redis() { 0 } else { 3 };
    assert_eq!((report.scheduled, report.unsettled), (lost, 0));
}

#[tokio::test]
async fn on_disconnect_is_told_of_the_shutdown_before_it_ends() {
    let (ended, mut ends) = mpsc::channel(100);
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.on_disconnect(move |_: Session, why: CloseReason| {
                let ended = ended.clone();
                async move { ended.send(why.code).await.expect("the test listens") }
            })
        },
    )
    .await;
    let mut clients = Vec::new();
    for number in 0..10 {
        clients.push(Client::user(node.public, &format!("u{number}")).await);
    }
    let shutdown = begin(&node);
    for client in clients {
        client.expect_close(1012).await;
    }
    report(shutdown).await;
    let mut codes = Vec::new();
    while let Ok(code) = ends.try_recv() {
        codes.push(code);
    }
    assert_eq!(codes, [1012; 10]);
}

#[tokio::test]
async fn a_stopped_node_answers_its_handles_that_it_is_gone() {
    let node = TestNode::start().await;
    let proxy = node.node.proxy();
    report(begin(&node)).await;
    let uid = gim_proto::Uid::parse("u").unwrap();
    // Nobody is connected any more; whether the handle still finds that out is its own affair.
    match proxy.send_res_data_to_user(&uid, &json!({})).await {
        Ok(sent) => assert_eq!(sent.sessions, 0),
        Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable),
    }
    let mut fields = gim_proto::Fields::default();
    fields.push("to_uid", bytes::Bytes::from_static(b"u"));
    fields.push("data", bytes::Bytes::from_static(b"{}"));
    assert_eq!(proxy.enqueue(vec![fields]).await.unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_let_in_before_the_stop_and_finished_after_it_is_told_to_come_back() {
    let (arrived, mut arrivals) = mpsc::channel(1);
    let door = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&door);
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.authorize(move |request: UpgradeRequest| {
                let (arrived, held) = (arrived.clone(), Arc::clone(&held));
                async move {
                    if request.query("uid") == Some("late") {
                        arrived.send(()).await.unwrap();
                        let _open = held.acquire().await.unwrap();
                    }
                    Ok(Identity::uid(request.query("uid").unwrap_or_default())?)
                }
            })
        },
    )
    .await;
    let public = node.public;
    let login = tokio::spawn(async move { Client::open(public, "/ws?uid=late&msg_code=1").await });
    within("the login", arrivals.recv()).await;
    let there_before = Client::user(public, "early").await;
    let shutdown = begin(&node);
    there_before.expect_close(1012).await;
    door.add_permits(1);
    let mut client = within("the 101", login).await.unwrap();
    client.expect_notice("gim.welcome").await;
    client.expect_close(1012).await;
    assert_eq!(report(shutdown).await.forced, 0);
}
