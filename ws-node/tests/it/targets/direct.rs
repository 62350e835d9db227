//! Direct sends from inside the node: the verbs of `RunProxy` and `LocalProxy` and their outcomes.

use bytes::Bytes;
use gim_proto::{Fields, Tgid, Uid};
use gim_proxy_sdk::{ErrorKind, LocalProxy, Outcome, RunProxy};
use gim_ws_node::{Context, HandlerError};
use serde_json::{Value, json};

use super::users;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;

fn uid(name: &str) -> Uid {
    Uid::parse(name).unwrap()
}

fn tgid(name: &str) -> Tgid {
    Tgid::parse(name).unwrap()
}

#[tokio::test]
async fn a_send_to_a_user_tells_whether_it_was_offered() {
    let node = TestNode::start().await;
    let proxy = node.node.proxy();
    let mut client = Client::user(node.public, "a").await;
    for n in 0..2 {
        let body = json!({ "n": n });
        let sent = match n {
            0 => proxy.send_res_data_to_user(&uid("a"), &body).await,
            _ => proxy.send_res_data_to_local_user(&uid("a"), &body).await,
        }
        .unwrap();
        assert_eq!((sent.outcome, sent.sessions), (Outcome::Offered, 1));
        let push = client.expect_body(body).await;
        assert_eq!((push.msg_type, push.id.as_deref()), (3, Some(sent.id.as_str())));
    }
    for sent in [
        proxy.send_res_data_to_user(&uid("b"), &json!({})).await.unwrap(),
        proxy.send_res_data_to_local_user(&uid("b"), &json!({})).await.unwrap(),
        proxy.send_msg_to_user(&uid("b"), Bytes::from_static(b"x")).await.unwrap(),
        proxy.send_msg_to_local_user(&uid("b"), Bytes::from_static(b"x")).await.unwrap(),
    ] {
        assert_eq!((sent.outcome, sent.sessions), (Outcome::Offline, 0));
    }
}

#[tokio::test]
async fn a_send_to_a_groups_user_asks_for_membership() {
    let node = TestNode::start().await;
    let proxy = node.node.proxy();
    let [mut member] = users(&node, [("a", &["g"])]).await;
    let body = json!({ "n": 1 });
    let sent = proxy.send_res_data_to_user_by_tgid(&uid("a"), &tgid("g"), &body).await.unwrap();
    assert_eq!(sent.outcome, Outcome::Offered);
    assert_eq!(member.expect_body(body.clone()).await.msg_type, 3);
    let sent = proxy.send_res_data_to_local_user_by_tgid(&uid("a"), &tgid("g"), &body).await.unwrap();
    assert_eq!(sent.outcome, Outcome::Offered);
    member.expect_body(body.clone()).await;
    for sent in [
        proxy.send_res_data_to_user_by_tgid(&uid("a"), &tgid("h"), &body).await.unwrap(),
        proxy.send_res_data_to_local_user_by_tgid(&uid("a"), &tgid("h"), &body).await.unwrap(),
        proxy.send_msg_to_user_by_tgid(&uid("a"), &tgid("h"), Bytes::new()).await.unwrap(),
        proxy.send_msg_to_local_user_by_tgid(&uid("a"), &tgid("h"), Bytes::new()).await.unwrap(),
    ] {
        assert_eq!((sent.outcome, sent.sessions), (Outcome::NotMember, 0));
    }
    let sent = proxy.send_res_data_to_user_by_tgid(&uid("b"), &tgid("g"), &body).await.unwrap();
    assert_eq!(sent.outcome, Outcome::Offline);
    member.expect_silence().await;
}

#[tokio::test]
async fn a_send_to_a_group_counts_its_sessions() {
    let node = TestNode::start().await;
    let proxy = node.node.proxy();
    let mut clients = users(&node, [("a", &["g"]), ("b", &["g"]), ("c", &[])]).await;
    let (g, a, body) = (tgid("g"), uid("a"), json!({ "n": 1 }));
    for sent in [
        proxy.send_res_data_to_group(&g, &body, None).await.unwrap(),
        proxy.send_res_data_to_local_group(&g, &body, None).await.unwrap(),
    ] {
        assert_eq!((sent.outcome, sent.sessions), (Outcome::Offered, 2));
        for client in &mut clients[..2] {
            let push = client.expect_body(body.clone()).await;
            assert_eq!((push.msg_type, push.id.as_deref()), (2, Some(sent.id.as_str())));
        }
    }
    let sent = proxy.send_res_data_to_group(&g, &body, Some(&a)).await.unwrap();
    assert_eq!((sent.outcome, sent.sessions), (Outcome::Offered, 1));
    clients[1].expect_body(body.clone()).await;
    let sent = proxy.send_msg_to_local_group(&g, Bytes::from_static(b"\"raw\""), Some(&a)).await.unwrap();
    assert_eq!(sent.sessions, 1);
    assert_eq!(clients[1].json().await, json!("raw"));
    let sent = proxy.send_res_data_to_group(&tgid("empty"), &body, None).await.unwrap();
    assert_eq!((sent.outcome, sent.sessions), (Outcome::Offline, 0));
    for client in &mut clients {
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_invalid() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "a").await;
    for body in [json!([1]), json!("text"), json!(5), Value::Null] {
        let error = node.node.proxy().send_res_data_to_user(&uid("a"), &body).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{body}");
        assert!(!error.is_retryable());
    }
    client.expect_silence().await;
}

#[tokio::test]
async fn users_are_put_into_groups_and_taken_out_again() {
    let node = TestNode::start().await;
    let proxy = node.node.proxy();
    let mut client = Client::user(node.public, "a").await;
    let (a, nobody, g, h) = (uid("a"), uid("nobody"), tgid("g"), tgid("h"));
    assert!(proxy.join_group(&a, &g).await.unwrap());
    assert!(proxy.join_local_group(&a, &h).await.unwrap());
    assert!(!proxy.join_group(&nobody, &g).await.unwrap());
    assert!(!proxy.join_local_group(&nobody, &g).await.unwrap());
    for group in [&g, &h] {
        proxy.send_res_data_to_group(group, &json!({ "to": group }), None).await.unwrap();
        client.expect_body(json!({ "to": group })).await;
    }
    assert!(proxy.leave_group(&a, &g).await.unwrap());
    assert!(proxy.leave_local_group(&a, &h).await.unwrap());
    assert!(!proxy.leave_group(&nobody, &g).await.unwrap());
    for group in [&g, &h] {
        let sent = proxy.send_res_data_to_group(group, &json!({}), None).await.unwrap();
        assert_eq!(sent.outcome, Outcome::Offline);
    }
    client.expect_silence().await;
}

#[tokio::test]
async fn a_stop_says_whether_the_user_was_there() {
    let node = TestNode::start().await;
    let proxy = node.node.proxy();
    let [a, b] = users(&node, [("a", &[]), ("b", &[])]).await;
    assert!(proxy.stop_user_client(&uid("a"), "one").await.unwrap());
    assert!(proxy.stop_local_user_client(&uid("b"), "two").await.unwrap());
    assert!(!proxy.stop_user_client(&uid("c"), "three").await.unwrap());
    assert_eq!(a.expect_close(4503).await, "one");
    assert_eq!(b.expect_close(4503).await, "two");
    assert_eq!(proxy.send_res_data_to_user(&uid("a"), &json!({})).await.unwrap().outcome, Outcome::Offline);
}

#[tokio::test]
async fn code_inside_the_node_enqueues_like_everybody() {
    let node = TestNode::start().await;
    let proxy = node.node.proxy();
    let mut client = Client::user(node.public, "a").await;
    let mut first = Fields::default();
    first.push("to_uid", Bytes::from_static(b"a"));
    first.push("data", Bytes::from_static(br#"{"n":1}"#));
    let mut second = Fields::default();
    second.push("msg", Bytes::from_static(br#"{"to_uid":"a","mol":"m","data":2,"id":"second"}"#));
    let ids = proxy.enqueue(vec![first.clone(), second]).await.unwrap();
    assert_eq!(client.expect_body(json!({ "n": 1 })).await.id.as_deref(), Some(ids[0].as_str()));
    assert_eq!(client.expect_body(json!({ "m": 2 })).await.id.as_deref(), Some("second"));
    let mut bad = Fields::default();
    bad.push("to_uid", Bytes::from_static(b"a"));
    let error = proxy.enqueue(vec![first, bad]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_command_talks_to_a_group_without_its_author() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.command("chat.say", |ctx: Context, data: Value| async move {
                let body = json!({ "chat": { "from": ctx.uid().as_str(), "text": data["text"] } });
                ctx.proxy()
                    .send_res_data_to_group(&tgid("lobby"), &body, Some(ctx.uid()))
                    .await
                    .map_err(HandlerError::from)
            })
        },
    )
    .await;
    let [mut a, mut b] = users(&node, [("a", &["lobby"]), ("b", &["lobby"])]).await;
    let reply = a.ask("chat.say", json!({ "text": "hi" })).await;
    assert_eq!((&reply["outcome"], &reply["sessions"]), (&json!("offered"), &json!(1)), "{reply}");
    let push = b.expect_body(json!({ "chat": { "from": "a", "text": "hi" } })).await;
    assert_eq!(push.id.as_deref(), reply["id"].as_str());
    a.expect_silence().await;
}
