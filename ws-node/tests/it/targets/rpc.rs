//! The same by RPC, as SDKs and the command line call it.

use bytes::Bytes;
use gim_proto::Fields;
use gim_proto::rpc::node_client::NodeClient;
use gim_proto::rpc::queue_client::QueueClient;
use gim_proto::rpc::{
    Body, DrainRequest, EnqueueRequest, HelloRequest, JoinRequest, LeaveRequest, QueueEntry, QueueStatsRequest,
    SendOutcome, SendToGroupRequest, SendToUserRequest, StopRequest, SysinfoRequest, body,
};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;

use super::users;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::{NAME, TestNode};

async fn connect(node: &TestNode) -> NodeClient<Channel> {
    NodeClient::connect(format!("http://{}", node.rpc)).await.expect("the rpc listener accepts")
}

fn entry(message: &Value) -> QueueEntry {
    QueueEntry::from(Fields::from_json(message.to_string().as_bytes()).expect("fields"))
}

fn response(data: &Value) -> Option<Body> {
    Some(Body { body: Some(body::Body::Response(data.to_string().into())) })
}

fn raw(bytes: &'static [u8]) -> Option<Body> {
    Some(Body { body: Some(body::Body::Raw(Bytes::from_static(bytes))) })
}

#[tokio::test]
async fn hello_names_the_node_and_refuses_versions_it_does_not_speak() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let hello = rpc.hello(HelloRequest { min_version: 1, max_version: 1 }).await.unwrap().into_inner();
    assert_eq!((hello.version, hello.node.as_str(), hello.incarnation.len()), (1, NAME, 26));
    rpc.hello(HelloRequest { min_version: 1, max_version: 9 }).await.unwrap();
    for (min_version, max_version) in [(900, 1_000), (0, 0)] {
        assert!(rpc.hello(HelloRequest { min_version, max_version }).await.is_err(), "{min_version}..{max_version}");
    }
}

#[tokio::test]
async fn enqueued_messages_arrive_like_those_of_http() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let [mut a, mut b] = users(&node, [("a", &["g"]), ("b", &["g"])]).await;
    let entries = vec![
        entry(&json!({ "to_uid": "a", "data": { "n": 1 } })),
        entry(&json!({ "tgid": "g", "except_uid": "a", "mol": "m", "data": 2, "id": "mine" })),
    ];
    let ids = rpc.enqueue(EnqueueRequest { entries }).await.unwrap().into_inner().ids;
    assert_eq!(ids[1], "mine");
    assert_eq!(a.expect_body(json!({ "n": 1 })).await.id.as_ref(), Some(&ids[0]));
    assert_eq!(b.expect_body(json!({ "m": 2 })).await.id.as_deref(), Some("mine"));
}

#[tokio::test]
async fn one_bad_entry_and_none_is_accepted() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let mut client = Client::user(node.public, "a").await;
    let good = entry(&json!({ "to_uid": "a", "data": {} }));
    let bad = QueueEntry { fields: Vec::new() };
    let status = rpc.enqueue(EnqueueRequest { entries: vec![good, bad] }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn sends_go_past_the_queue_and_tell_their_outcome() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let [mut a] = users(&node, [("a", &["g"])]).await;
    let to_user = |uid: &str, tgid: &str, body| SendToUserRequest { uid: uid.into(), tgid: tgid.into(), body };
    let sent = rpc.send_to_user(to_user("a", "", response(&json!({ "n": 1 })))).await.unwrap().into_inner();
    assert_eq!((sent.outcome(), sent.sessions), (SendOutcome::Offered, 1));
    let push = a.expect_body(json!({ "n": 1 })).await;
    assert_eq!((push.msg_type, push.id.as_ref()), (3, Some(&sent.id)));
    let cases = [("a", "g", SendOutcome::Offered), ("a", "h", SendOutcome::NotMember), ("b", "", SendOutcome::Offline)];
    for (uid, tgid, outcome) in cases {
        let sent = rpc.send_to_user(to_user(uid, tgid, raw(b"\"raw\""))).await.unwrap().into_inner();
        assert_eq!(sent.outcome(), outcome, "{uid} {tgid}");
    }
    assert_eq!(a.json().await, json!("raw"));
    let to_group = |tgid: &str, except_uid: &str| SendToGroupRequest {
        tgid: tgid.into(),
        except_uid: except_uid.into(),
        body: response(&json!({ "n": 2 })),
    };
    let sent = rpc.send_to_group(to_group("g", "")).await.unwrap().into_inner();
    assert_eq!((sent.outcome(), sent.sessions), (SendOutcome::Offered, 1));
    assert_eq!(a.expect_body(json!({ "n": 2 })).await.msg_type, 2);
    for (tgid, except) in [("g", "a"), ("h", "")] {
        let sent = rpc.send_to_group(to_group(tgid, except)).await.unwrap().into_inner();
        assert_eq!((sent.outcome(), sent.sessions), (SendOutcome::Offline, 0), "{tgid} without {except}");
    }
    a.expect_silence().await;
}

#[tokio::test]
async fn bad_arguments_are_invalid() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let _client = Client::user(node.public, "a").await;
    let requests = [
        SendToUserRequest { uid: String::new(), tgid: String::new(), body: raw(b"x") },
        SendToUserRequest { uid: "a b".into(), tgid: String::new(), body: raw(b"x") },
        SendToUserRequest { uid: "a".into(), tgid: "g{".into(), body: raw(b"x") },
        SendToUserRequest { uid: "a".into(), tgid: String::new(), body: None },
        SendToUserRequest { uid: "a".into(), tgid: String::new(), body: Some(Body { body: None }) },
        SendToUserRequest { uid: "a".into(), tgid: String::new(), body: response(&json!([1])) },
        SendToUserRequest {
            uid: "a".into(),
            tgid: String::new(),
            body: Some(Body { body: Some(body::Body::Response(b"{\"cut\":".to_vec().into())) }),
        },
    ];
    for request in requests {
        let status = rpc.send_to_user(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}: {status}");
    }
    let status =
        rpc.join(JoinRequest { uid: "a".into(), tgid: String::new(), here: false, durable: false }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn join_leave_and_stop_say_whether_the_user_was_online() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let mut client = Client::user(node.public, "a").await;
    for (uid, online) in [("a", true), ("b", false)] {
        let join = JoinRequest { uid: uid.into(), tgid: "g".into(), here: false, durable: false };
        assert_eq!(rpc.join(join).await.unwrap().into_inner().online, online);
    }
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    for (uid, online) in [("a", true), ("b", false)] {
        let leave = LeaveRequest { uid: uid.into(), tgid: "g".into(), here: false };
        assert_eq!(rpc.leave(leave).await.unwrap().into_inner().online, online);
    }
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 2 } })).await;
    http::settled(node.admin).await;
    client.expect_silence().await;
    for (uid, stopped) in [("a", true), ("b", false)] {
        let stop = StopRequest { uid: uid.into(), reason: "bye".into(), here: false };
        assert_eq!(rpc.stop(stop).await.unwrap().into_inner().stopped, stopped);
    }
    assert_eq!(client.expect_close(4503).await, "bye");
}

#[tokio::test]
async fn sysinfo_is_that_of_http_and_the_queue_tells_its_figures() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let _client = Client::user(node.public, "a").await;
    let sysinfo = rpc.sysinfo(SysinfoRequest { alone: false }).await.unwrap().into_inner().json;
    let sysinfo: Value = serde_json::from_str(&sysinfo).unwrap();
    assert_eq!(sysinfo["managerInfo"]["clientsLen"], 1, "{sysinfo}");
    http::push(node.admin, &json!([{ "to_uid": "a", "data": {} }, { "to_uid": "b", "data": {} }])).await;
    http::settled(node.admin).await;
    http::reached(node.admin, "settled", 2).await;
    let mut queue = QueueClient::connect(format!("http://{}", node.rpc)).await.unwrap();
    let lanes = queue.stats(QueueStatsRequest {}).await.unwrap().into_inner().lanes;
    assert_eq!(lanes.len(), 1);
    assert_eq!((lanes[0].lag, lanes[0].pending, lanes[0].settled), (0, 0, 2));
}

#[tokio::test]
async fn a_drained_node_has_closed_its_sessions_and_stays() {
    let node = TestNode::start().await;
    let mut rpc = connect(&node).await;
    let clients = users(&node, [("a", &[]), ("b", &[])]).await;
    let draining = tokio::spawn(async move { rpc.drain(DrainRequest {}).await.unwrap().into_inner() });
    for client in clients {
        client.expect_close(1012).await;
    }
    let drained = crate::support::within("the drain", draining).await.unwrap();
    assert_eq!((drained.clean, drained.forced), (2, 0));
    assert_eq!(Client::try_open(node.public, "/ws?uid=c").await.err(), Some(503));
    assert_eq!(http::get(node.admin, "/readyz").await.0, 503);
    assert_eq!(http::get(node.admin, "/healthz").await.0, 200);
    let report = crate::support::within("the shutdown", node.node.shutdown()).await;
    assert_eq!((report.forced, report.unsettled), (0, 0));
}
