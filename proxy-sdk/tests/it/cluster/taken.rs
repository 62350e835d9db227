//! Every call is taken by one node, and by no second one that might have it twice.

use std::sync::Arc;
use std::time::Duration;

use gim_proto::{Fields, Tgid, Uid};
use gim_proxy_sdk::{ClientOptions, ErrorKind, RunProxy};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tonic::Status;

use super::world::{World, knows, send};
use crate::support::fake::{FakeNode, Script};
use crate::support::{SHORT, impatient, patient, within};

/// A node that is asked and does not answer.
fn closed() -> Script {
    Script { gate: Semaphore::new(0), ..Script::default() }
}

fn failing(failure: Status) -> Script {
    Script { failure: Some(failure), ..Script::default() }
}

/// An address where nobody listens any more.
async fn nowhere() -> String {
    FakeNode::start(Script::default()).await.stop().await.to_string()
}

#[tokio::test]
async fn every_verb_reaches_a_node_and_each_has_its_turn() {
    let mut world = World::new().await;
    let nodes = [world.start("a", Script::default()).await, world.start("b", Script::default()).await];
    let client = world.client(&["a", "b"]).await;
    let (uid, tgid, data) = (Uid::parse("42").unwrap(), Tgid::parse("lobby").unwrap(), json!({ "x": 1 }));
    let entry: Fields = [("to_uid", "42"), ("data", "{}")].into_iter().collect();

    assert_eq!(client.send_res_data_to_user(&uid, &data).await.unwrap().sessions, 1);
    assert_eq!(client.send_res_data_to_user_by_tgid(&uid, &tgid, &data).await.unwrap().sessions, 1);
    assert_eq!(client.send_res_data_to_group(&tgid, &data, Some(&uid)).await.unwrap().sessions, 7);
    assert_eq!(client.send_msg_to_user(&uid, "raw".into()).await.unwrap().sessions, 1);
    assert_eq!(client.send_msg_to_user_by_tgid(&uid, &tgid, "raw".into()).await.unwrap().sessions, 1);
    assert_eq!(client.send_msg_to_group(&tgid, "raw".into(), None).await.unwrap().sessions, 7);
    assert!(client.stop_user_client(&uid, "enough").await.unwrap());
    assert!(client.join_group(&uid, &tgid).await.unwrap());
    assert!(!client.leave_group(&uid, &tgid).await.unwrap());
    assert_eq!(client.enqueue(vec![entry.clone(), entry]).await.unwrap().len(), 2);

    let mut kinds: Vec<String> = nodes.iter().flat_map(|node| node.script.calls()).map(first_word).collect();
    kinds.sort();
    let mut expected = ["SendToUserRequest"; 4].to_vec();
    expected.extend(["SendToGroupRequest"; 2]);
    expected.extend(["StopRequest", "JoinRequest", "LeaveRequest", "EnqueueRequest"]);
    expected.sort();
    assert_eq!(kinds, expected);
    for node in &nodes {
        assert_eq!((node.script.calls().len(), node.script.handshakes()), (5, 1));
    }
}

fn first_word(request: String) -> String {
    request.split_whitespace().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_node_that_is_down_is_passed_over_and_nothing_happens_twice() {
    let mut world = World::new().await;
    world.register("a", &nowhere().await).await;
    let node = world.start("b", Script::default()).await;
    let client = world.client(&["a", "b"]).await;
    for _ in 0..10 {
        assert_eq!(send(&client).await.unwrap().sessions, 1);
    }
    assert_eq!(node.script.calls().len(), 10);
}

#[tokio::test]
async fn a_node_that_stops_takes_no_call_with_it() {
    let mut world = World::new().await;
    let stopping = world.start("a", Script::default()).await;
    let node = world.start("b", Script::default()).await;
    let client = world.client(&["a", "b"]).await;
    for _ in 0..4 {
        send(&client).await.unwrap();
    }
    let script = Arc::clone(&stopping.script);
    stopping.stop().await;
    for _ in 0..6 {
        send(&client).await.unwrap();
    }
    assert_eq!((script.calls().len(), node.script.calls().len()), (2, 8));
}

#[tokio::test]
async fn a_node_that_hangs_before_it_shakes_hands_has_not_had_the_call() {
    let mut world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.register("a", &silent.local_addr().unwrap().to_string()).await;
    let node = world.start("b", Script::default()).await;
    let client = world.connect(ClientOptions { connect_timeout: SHORT, ..patient() }).await;
    knows(&client, &["a", "b"]).await;
    for _ in 0..4 {
        assert_eq!(send(&client).await.unwrap().sessions, 1);
    }
    assert_eq!(node.script.calls().len(), 4);
}

#[tokio::test]
async fn a_call_that_timed_out_is_not_repeated() {
    let mut world = World::new().await;
    let nodes = [world.start("a", closed()).await, world.start("b", closed()).await];
    let client = world.connect(ClientOptions { deadline: Duration::from_secs(1), ..patient() }).await;
    knows(&client, &["a", "b"]).await;
    let error = send(&client).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    let calls = || nodes.iter().map(|node| node.script.calls().len()).sum::<usize>();
    assert_eq!(calls(), 1);
}

/// A line to a node that holds one connection until it is cut. Tells its address.
async fn line_to(node: &FakeNode) -> (String, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, there) = (listener.local_addr().unwrap(), node.addr);
    let held = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut node = TcpStream::connect(there).await.unwrap();
        tokio::io::copy_bidirectional(&mut client, &mut node).await
    });
    (here.to_string(), held.abort_handle())
}

#[tokio::test]
async fn a_call_whose_connection_broke_is_not_repeated() {
    let mut world = World::new().await;
    let nodes = [FakeNode::start(closed()).await, FakeNode::start(closed()).await];
    let lines = [line_to(&nodes[0]).await, line_to(&nodes[1]).await];
    world.register("a", &lines[0].0).await;
    world.register("b", &lines[1].0).await;
    let client = world.client(&["a", "b"]).await;
    let calls = || nodes.iter().map(|node| node.script.calls().len()).sum::<usize>();
    let cut = async {
        while calls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lines.iter().for_each(|(_, line)| line.abort());
    };
    let (sent, ()) = within("the call to end", async { tokio::join!(send(&client), cut) }).await;
    let error = sent.unwrap_err();
    assert_eq!((error.kind, calls()), (ErrorKind::Unavailable, 1), "{error}");
    assert!(error.to_string().contains("broke"), "{error}");
}

#[tokio::test]
async fn a_node_that_did_not_answer_is_asked_last() {
    let mut world = World::new().await;
    let hanging = world.start("a", closed()).await;
    let node = world.start("b", Script::default()).await;
    let client = world.connect(ClientOptions { deadline: Duration::from_millis(500), ..patient() }).await;
    knows(&client, &["a", "b"]).await;
    let mut failed = 0;
    for _ in 0..6 {
        failed += usize::from(send(&client).await.is_err());
    }
    assert_eq!((failed, hanging.script.calls().len(), node.script.calls().len()), (1, 1, 5));
}

#[tokio::test]
async fn what_a_node_takes_no_more_goes_to_the_next() {
    let mut world = World::new().await;
    let stopping = world.start("a", failing(Status::unavailable("the node is stopping"))).await;
    let node = world.start("b", Script::default()).await;
    let client = world.client(&["a", "b"]).await;
    for _ in 0..4 {
        assert_eq!(send(&client).await.unwrap().sessions, 1);
    }
    assert!(!stopping.script.calls().is_empty());
    assert_eq!(node.script.calls().len(), 4);
}

#[tokio::test]
async fn a_node_that_speaks_no_version_of_ours_is_passed_over() {
    let mut world = World::new().await;
    let later = world.start("a", Script { version: 9, ..Script::default() }).await;
    let node = world.start("b", Script::default()).await;
    let client = world.client(&["a", "b"]).await;
    for _ in 0..4 {
        assert_eq!(send(&client).await.unwrap().sessions, 1);
    }
    assert_eq!((later.script.calls().len(), node.script.calls().len()), (0, 4));
    world.leave("b").await;
    knows(&client, &["a"]).await;
    assert_eq!(send(&client).await.unwrap_err().kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_one_node_finds_malformed_is_not_asked_of_another() {
    let mut world = World::new().await;
    let wrong = || failing(Status::invalid_argument("uid is empty"));
    let nodes = [world.start("a", wrong()).await, world.start("b", wrong()).await];
    let client = world.client(&["a", "b"]).await;
    let error = send(&client).await.unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Invalid, "uid is empty"));
    assert_eq!(nodes.iter().map(|node| node.script.calls().len()).sum::<usize>(), 1);
}

#[tokio::test]
async fn where_every_node_is_down_nothing_took_effect() {
    let mut world = World::new().await;
    for name in ["a", "b", "c", "d"] {
        world.register(name, &nowhere().await).await;
    }
    let client = world.client(&["a", "b", "c", "d"]).await;
    let error = send(&client).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().starts_with("cannot reach the node at http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_however_many_nodes_hang() {
    let mut world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for name in ["a", "b", "c"] {
        world.register(name, &silent.local_addr().unwrap().to_string()).await;
    }
    let client = world.connect(ClientOptions { deadline: 2 * SHORT, ..impatient() }).await;
    knows(&client, &["a", "b", "c"]).await;
    let start = tokio::time::Instant::now();
    assert_eq!(send(&client).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
