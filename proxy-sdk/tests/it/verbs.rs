//! `RunProxy` over the wire: what is asked of the node, and what its answers come to.

use gim_proto::rpc::SendOutcome;
use gim_proto::{Fields, Tgid, Uid};
use gim_proxy_sdk::{Error, ErrorKind, NodeClient, Outcome, RunProxy, Sent};
use serde_json::json;
use tonic::{Code, Status};

use crate::support::fake::{FakeNode, Script};
use crate::support::{impatient, patient};

async fn started(script: Script) -> (FakeNode, NodeClient) {
    let node = FakeNode::start(script).await;
    let client = NodeClient::lazy(&node.address(), patient()).unwrap();
    (node, client)
}

fn uid() -> Uid {
    Uid::parse("42").unwrap()
}

fn tgid() -> Tgid {
    Tgid::parse("lobby").unwrap()
}

#[tokio::test]
async fn every_verb_asks_what_it_is_named_for() {
    let (node, client) = started(Script::default()).await;
    let (uid, tgid, data) = (uid(), tgid(), json!({ "x": 1 }));
    let to_user = Sent { id: "m-1".try_into().unwrap(), outcome: Outcome::Offered, sessions: 1 };
    let to_group = Sent { id: "m-2".try_into().unwrap(), outcome: Outcome::Offered, sessions: 7 };

    assert_eq!(client.send_res_data_to_user(&uid, &data).await.unwrap(), to_user);
    assert_eq!(client.send_res_data_to_user_by_tgid(&uid, &tgid, &data).await.unwrap(), to_user);
    assert_eq!(client.send_res_data_to_group(&tgid, &data, Some(&uid)).await.unwrap(), to_group);
    assert_eq!(client.send_msg_to_user(&uid, "raw".into()).await.unwrap(), to_user);
    assert_eq!(client.send_msg_to_user_by_tgid(&uid, &tgid, "raw".into()).await.unwrap(), to_user);
    assert_eq!(client.send_msg_to_group(&tgid, "raw".into(), None).await.unwrap(), to_group);
    assert!(client.stop_user_client(&uid, "enough").await.unwrap());
    assert!(client.join_group(&uid, &tgid).await.unwrap());
    assert!(client.join_group_durably(&uid, &tgid).await.unwrap());
    assert!(!client.leave_group(&uid, &tgid).await.unwrap());
    let away = Uid::parse("43").unwrap();
    let found = client.lookup(&[away, uid]).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|state| state.as_ref().map(|(node, fence)| (node.as_str(), fence.0))).collect();
    assert_eq!(found, [None, Some(("n1", 7))]);

    let response = r#"body: Some(Body { body: Some(Response(b"{\"x\":1}")) })"#;
    let raw = r#"body: Some(Body { body: Some(Raw(b"raw")) })"#;
    let expected = [
        "HelloRequest { min_version: 1, max_version: 1 }".to_owned(),
        format!(r#"SendToUserRequest {{ uid: "42", tgid: "", {response} }}"#),
        format!(r#"SendToUserRequest {{ uid: "42", tgid: "lobby", {response} }}"#),
        format!(r#"SendToGroupRequest {{ tgid: "lobby", except_uid: "42", {response} }}"#),
        format!(r#"SendToUserRequest {{ uid: "42", tgid: "", {raw} }}"#),
        format!(r#"SendToUserRequest {{ uid: "42", tgid: "lobby", {raw} }}"#),
        format!(r#"SendToGroupRequest {{ tgid: "lobby", except_uid: "", {raw} }}"#),
        r#"StopRequest { uid: "42", reason: "enough", here: false }"#.to_owned(),
        r#"JoinRequest { uid: "42", tgid: "lobby", here: false, durable: false }"#.to_owned(),
        r#"JoinRequest { uid: "42", tgid: "lobby", here: false, durable: true }"#.to_owned(),
        r#"LeaveRequest { uid: "42", tgid: "lobby", here: false }"#.to_owned(),
        r#"LookupRequest { uids: ["43", "42"] }"#.to_owned(),
    ];
    assert_eq!(node.script.seen(), expected);
}

#[tokio::test]
async fn entries_travel_as_their_fields_and_ids_come_back_in_order() {
    let (node, client) = started(Script::default()).await;
    let entry: Fields = [("to_uid", "42"), ("data", "{}")].into_iter().collect();
    let ids = client.enqueue(vec![entry.clone(), entry]).await.unwrap();
    assert_eq!(ids, ["0-0-0".try_into().unwrap(), "0-1-0".try_into().unwrap()]);
    let fields = r#"[Field { name: "to_uid", value: b"42" }, Field { name: "data", value: b"{}" }]"#;
    let entry = format!("QueueEntry {{ fields: {fields} }}");
    assert_eq!(node.script.seen()[1], format!("EnqueueRequest {{ entries: [{entry}, {entry}] }}"));
}

#[tokio::test]
async fn an_outcome_is_no_error() {
    for (told, outcome) in [
        (SendOutcome::Offline, Outcome::Offline),
        (SendOutcome::NotMember, Outcome::NotMember),
        (SendOutcome::Slow, Outcome::Slow),
    ] {
        let (_node, client) = started(Script { outcome: told, ..Script::default() }).await;
        assert_eq!(client.send_msg_to_user(&uid(), "x".into()).await.unwrap().outcome, outcome);
    }
}

#[tokio::test]
async fn a_response_that_is_no_object_is_refused_before_it_is_sent() {
    let (node, client) = started(Script::default()).await;
    let error = client.send_res_data_to_user(&uid(), &json!([1])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(node.script.seen().is_empty());
}

#[tokio::test]
async fn an_error_of_the_node_keeps_its_words_its_kind_and_its_status() {
    let failure = Status::new(Code::ResourceExhausted, "lane 0 is full");
    let (_node, client) = started(Script { failure: Some(failure), ..Script::default() }).await;
    let error = client.enqueue(vec![Fields::new()]).await.unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Full, "lane 0 is full"));
    assert_eq!(status_of(&error), Some(Code::ResourceExhausted));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn the_client_finds_a_node_that_comes_back() {
    let (node, client) = started(Script::default()).await;
    assert!(client.join_group(&uid(), &tgid()).await.unwrap());

    let addr = node.stop().await;
    let error = client.join_group(&uid(), &tgid()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable());
    assert!(status_of(&error).is_some());

    let node = FakeNode::start_at(addr, Script::default()).await;
    assert!(client.join_group(&uid(), &tgid()).await.unwrap());
    assert_eq!(node.script.handshakes(), 1);
}

#[tokio::test]
async fn a_listener_that_speaks_something_else_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answering = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let client = NodeClient::lazy(&address, impatient()).unwrap();
    let error = client.stop_user_client(&uid(), "").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    answering.abort();
}

fn status_of(error: &Error) -> Option<Code> {
    error.source.as_ref().and_then(|cause| cause.downcast_ref::<Status>()).map(Status::code)
}
