//! Pushes: the bytes of each kind of target, and what happens to the body.

use gim_proto::Uid;
use gim_proxy_sdk::{Outcome, RunProxy};
use gim_ws_node::{NodeBuilder, Session};
use serde_json::{Value, json};

use super::{FORMS, Form};
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;

/// A node whose users are in the group `g` from the start.
async fn node() -> TestNode {
    TestNode::build(
        |_| {},
        |builder| {
            builder.on_connect(|session: Session| async move {
                session.join("g").await.expect("joined");
                session.send(&json!({ "ready": true }));
            })
        },
    )
    .await
}

/// Connects as `u` and waits until the group is joined.
async fn member(form: Form, node: &TestNode) -> crate::support::raw::Raw {
    let mut client = form.connect(node, "u").await;
    assert!(client.frame().await.text().contains("ready"));
    client
}

#[tokio::test]
async fn a_push_to_a_user_has_msg_type_3_and_to_a_group_2() {
    let node = node().await;
    let targets = [
        (json!({ "to_uid": "u" }), 3),
        (json!({ "to_uids": ["x", "u"] }), 3),
        (json!({ "tgid": "g", "to_uid": "u" }), 3),
        (json!({ "tgid_list": ["x", "g"], "to_uid": "u" }), 3),
        (json!({ "tgid": "g" }), 2),
        (json!({ "tgid_list": ["g", "x"] }), 2),
        (json!({ "all": 1 }), 2),
    ];
    for (number, form) in FORMS.into_iter().enumerate() {
        let mut client = member(form, &node).await;
        for (at, (target, msg_type)) in targets.iter().enumerate() {
            let id = format!("m-{number}-{at}");
            let mut message = target.clone();
            message["id"] = json!(id);
            message["data"] = json!({ "n": at });
            assert_eq!(http::push(node.admin, &message).await, [id.as_str()]);
            let wanted = format!(
                r#"{{"seq":"","cmd":"","msgType":{msg_type},{}"response":{{"s":1,"a":{{"n":{at}}}}}}}"#,
                form.id(&id)
            );
            client.expect(form.opcode(), wanted.as_bytes()).await;
        }
    }
}

#[tokio::test]
async fn mol_and_ctrl_wrap_the_data() {
    let node = node().await;
    let bodies = [
        (json!({ "data": { "x": 1 } }), r#"{"x":1}"#),
        (json!({ "data": {} }), "{}"),
        (json!({ "data": { "x": 1 }, "mol": "chat" }), r#"{"chat":{"x":1}}"#),
        (json!({ "data": [1, 2], "mol": "chat" }), r#"{"chat":[1,2]}"#),
        (json!({ "data": "text", "mol": "chat", "ctrl": "say" }), r#"{"chat":{"say":"text"}}"#),
        (json!({ "data": null, "mol": "a\"b", "ctrl": "ü" }), r#"{"a\"b":{"ü":null}}"#),
        (json!({ "data": { "x": 1 }, "mol": "", "ctrl": "" }), r#"{"x":1}"#),
        (json!({ "data": { "x": 1 }, "mol": "chat", "ctrl": "" }), r#"{"chat":{"x":1}}"#),
    ];
    for form in FORMS {
        let mut client = member(form, &node).await;
        for (body, a) in &bodies {
            let mut message = body.clone();
            message["to_uid"] = json!("u");
            let ids = http::push(node.admin, &message).await;
            let wanted =
                format!(r#"{{"seq":"","cmd":"","msgType":3,{}"response":{{"s":1,"a":{a}}}}}"#, form.id(&ids[0]));
            client.expect(form.opcode(), wanted.as_bytes()).await;
        }
    }
}

#[tokio::test]
async fn the_body_reaches_the_client_as_it_was_written() {
    let node = node().await;
    let mut client = member(FORMS[0], &node).await;
    let bodies = [
        r#"{"z":1,"a":2,"m":3}"#,
        r#"{"price":1.50,"big":123456789012345678901234567890,"small":1e-7,"exp":1E+2}"#,
        r#"{"text":"<b>&amp;</b> / \" \\ é 😀"}"#,
        r#"{"nested":{"b":[{},[],null,true,false],"a":""}}"#,
    ];
    for body in bodies {
        let message = format!(r#"{{"to_uid":"u","data":{body}}}"#);
        let response = http::respond("POST", node.admin, "/api/v1/messages", &[], message.as_bytes()).await;
        assert_eq!(response.status, 202, "{}", response.text());
        let wanted = format!(r#"{{"seq":"","cmd":"","msgType":3,"response":{{"s":1,"a":{body}}}}}"#);
        client.expect(FORMS[0].opcode(), wanted.as_bytes()).await;
    }
}

#[tokio::test]
async fn white_space_between_tokens_is_not_sent() {
    let node = node().await;
    let mut client = member(FORMS[0], &node).await;
    let message = "{\"to_uid\":\"u\",\"data\":{\n  \"a\" : [ 1 , 2 ],\t\"b c\" : \" d \"\r\n}}";
    let response = http::respond("POST", node.admin, "/api/v1/messages", &[], message.as_bytes()).await;
    assert_eq!(response.status, 202, "{}", response.text());
    let wanted = r#"{"seq":"","cmd":"","msgType":3,"response":{"s":1,"a":{"a":[1,2],"b c":" d "}}}"#;
    client.expect(FORMS[0].opcode(), wanted.as_bytes()).await;
}

#[tokio::test]
async fn an_id_is_made_for_a_message_without_one() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let mut seen = Vec::new();
    for n in 0..3 {
        let ids = http::push(node.admin, &json!({ "to_uid": "u", "data": { "n": n } })).await;
        let push = client.expect_body(json!({ "n": n })).await;
        assert_eq!(push.id.as_deref(), Some(ids[0].as_str()));
        assert!(!seen.contains(&ids[0]), "{} twice", ids[0]);
        seen.extend(ids);
    }
    let one = &seen[0];
    let parts: Vec<u64> = one.split('-').map(|part| part.parse().expect("a number")).collect();
    assert!(matches!(parts[..], [0, ms, _] if ms > 1_600_000_000_000), "{one} is not <lane>-<entry id>");
}

#[tokio::test]
async fn a_direct_send_mints_an_id_and_both_sides_see_it() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let uid = Uid::parse("u").unwrap();
    let sent = node.node.proxy().send_res_data_to_user(&uid, &json!({ "direct": true })).await.unwrap();
    assert_eq!((sent.outcome, sent.sessions), (Outcome::Offered, 1));
    let push = client.expect_body(json!({ "direct": true })).await;
    assert_eq!(push.msg_type, 3);
    assert_eq!(push.id.as_deref(), Some(sent.id.as_str()));
    assert_eq!(sent.id.as_str().len(), 26, "{} is no ULID", sent.id);
}

#[tokio::test]
async fn a_send_to_the_own_session_is_a_push_with_an_id() {
    fn greeting(builder: NodeBuilder) -> NodeBuilder {
        builder.on_connect(|session: Session| async move {
            assert_eq!(session.send(&json!({ "hello": 1 })), Outcome::Offered);
        })
    }
    let node = TestNode::build(|_| {}, greeting).await;
    let mut client = Client::user(node.public, "u").await;
    let push = client.expect_body(json!({ "hello": 1 })).await;
    assert_eq!(push.msg_type, 3);
    assert!(push.id.is_some_and(|id| !id.is_empty()), "every push on /ws has an id");
    let mut old = Client::connect(node.public, "/acc?uid=v&msg_code=1").await;
    let push = old.expect_body(json!({ "hello": 1 })).await;
    assert_eq!((push.msg_type, push.id), (3, None));
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let node = node().await;
    for form in FORMS {
        let mut client = member(form, &node).await;
        for size in [100, 126, 60_000, 65_536, 250_000] {
            let body = "x".repeat(size);
            let ids = http::push(node.admin, &json!({ "to_uid": "u", "data": { "x": body } })).await;
            let wanted = format!(
                r#"{{"seq":"","cmd":"","msgType":3,{}"response":{{"s":1,"a":{{"x":"{body}"}}}}}}"#,
                form.id(&ids[0])
            );
            client.expect(form.opcode(), wanted.as_bytes()).await;
        }
    }
}

#[tokio::test]
async fn one_message_to_clients_of_all_forms_is_right_for_each() {
    let node = TestNode::start().await;
    let mut clients = Vec::new();
    for (number, form) in FORMS.into_iter().enumerate() {
        clients.push((form, form.connect(&node, &format!("u{number}")).await));
    }
    for n in 0..20 {
        let message: Value = json!({ "all": true, "id": format!("m{n}"), "data": { "n": n } });
        http::push(node.admin, &message).await;
    }
    for (form, client) in &mut clients {
        for n in 0..20 {
            let id = form.id(&format!("m{n}"));
            let wanted = format!(r#"{{"seq":"","cmd":"","msgType":2,{id}"response":{{"s":1,"a":{{"n":{n}}}}}}}"#);
            client.expect(form.opcode(), wanted.as_bytes()).await;
        }
    }
}
