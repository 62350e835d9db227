//! Time and room: no call outlives its deadline, and no more is in flight than may be.

use std::time::Duration;

use gim_proto::Uid;
use gim_proxy_sdk::{ClientOptions, ErrorKind, NodeClient, RunProxy};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::support::fake::{FakeNode, Script};
use crate::support::{LONG, SHORT, impatient, patient, within};

fn closed() -> Script {
    Script { gate: Semaphore::new(0), ..Script::default() }
}

#[tokio::test]
async fn a_node_that_accepts_and_stays_silent_costs_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = NodeClient::lazy(&listener.local_addr().unwrap().to_string(), impatient()).unwrap();
    let start = Instant::now();
    let error = within("the deadline", client.sysinfo()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_call_that_is_not_answered_in_time_may_have_had_an_effect() {
    let node = FakeNode::start(closed()).await;
    let client = NodeClient::lazy(&node.address(), impatient()).unwrap();
    let error = client.stop_user_client(&Uid::parse("42").unwrap(), "").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable());
    assert_eq!(node.script.seen().len(), 2, "the handshake and the call");
}

#[tokio::test]
async fn a_drain_has_a_deadline_of_its_own() {
    let node = FakeNode::start(closed()).await;
    let options = ClientOptions { drain_deadline: LONG, ..impatient() };
    let client = NodeClient::lazy(&node.address(), options).unwrap();
    let draining = tokio::spawn({
        let client = client.clone();
        async move { client.drain().await }
    });
    // The second begins when the drain has long begun: it outlives what other calls may take.
    for _ in 0..2 {
        assert_eq!(client.sysinfo().await.unwrap_err().kind, ErrorKind::Timeout);
    }
    assert!(!draining.is_finished());
    node.script.gate.add_permits(3);
    let drained = within("the drain", draining).await.unwrap().unwrap();
    assert_eq!((drained.clean, drained.forced), (5, 2));
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let node = FakeNode::start(closed()).await;
    let options = ClientOptions { drain_deadline: SHORT, ..patient() };
    let client = NodeClient::lazy(&node.address(), options).unwrap();
    assert_eq!(client.drain().await.unwrap_err().kind, ErrorKind::Timeout);
}

#[tokio::test]
async fn a_call_that_finds_no_room_is_refused_without_effect() {
    let node = FakeNode::start(closed()).await;
    let room_for_one = ClientOptions { in_flight: 1, drain_deadline: LONG, ..impatient() };
    let client = NodeClient::lazy(&node.address(), room_for_one).unwrap();
    let draining = tokio::spawn({
        let client = client.clone();
        async move { client.drain().await }
    });
    within("the drain to be under way", async {
        while node.script.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let error = client.sysinfo().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.is_retryable());
    assert_eq!(node.script.seen().len(), 2, "the handshake and the drain");

    node.script.gate.add_permits(2);
    within("the drain", draining).await.unwrap().unwrap();
    assert!(client.sysinfo().await.is_ok());
}

#[tokio::test]
async fn a_call_waits_for_its_turn() {
    let node = FakeNode::start(closed()).await;
    let client = NodeClient::lazy(&node.address(), ClientOptions { in_flight: 1, ..patient() }).unwrap();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.sysinfo().await })
        })
        .collect();
    node.script.gate.add_permits(5);
    for call in calls {
        assert!(within("its turn", call).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_request_above_the_room_goes_alone() {
    let node = FakeNode::start(Script::default()).await;
    let client = NodeClient::lazy(&node.address(), ClientOptions { in_flight: 1, ..patient() }).unwrap();
    let sent = client.send_msg_to_user(&Uid::parse("42").unwrap(), vec![0; 1 << 20].into()).await;
    assert_eq!(sent.unwrap().sessions, 1);
}

#[tokio::test]
async fn a_call_that_is_given_up_gives_its_room_back() {
    let node = FakeNode::start(closed()).await;
    let client = NodeClient::lazy(&node.address(), ClientOptions { in_flight: 1, ..patient() }).unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(50), client.sysinfo()).await;
    assert!(given_up.is_err());
    node.script.gate.add_permits(2);
    assert!(client.sysinfo().await.is_ok());
}
