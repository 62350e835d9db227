//! Bytes delivered as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gim_proto::{Tgid, Uid};
use gim_proxy_sdk::{Outcome, RunProxy};
use gim_ws_node::{Frame, Session};
use serde_json::json;

use super::FORMS;
use crate::support::http;
use crate::support::node::TestNode;
use crate::support::raw::{BINARY, TEXT};

const BYTES: [&[u8]; 5] = [b"plain", "zwölf €".as_bytes(), b"\x00\x01\x02", b"\xFF\xFE", b"cut \xE2\x82"];

fn opcode(text: bool, bytes: &[u8]) -> u8 {
    if text && std::str::from_utf8(bytes).is_ok() { TEXT } else { BINARY }
}

#[tokio::test]
async fn raw_is_a_text_frame_if_it_is_text_on_a_text_connection_and_else_binary() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for bytes in BYTES {
            http::push(node.admin, &json!({ "to_uid": "u", "raw_b64": STANDARD.encode(bytes) })).await;
            client.expect(opcode(form.text, bytes), bytes).await;
        }
    }
}

#[tokio::test]
async fn raw_reaches_every_kind_of_target() {
    let node = TestNode::start().await;
    let mut client = FORMS[0].connect(&node, "u").await;
    FORMS[0]
        .exchange(
            &mut client,
            r#"{"seq":"1","cmd":"gim.join","data":{"tgid":"g"}}"#,
            r#"{"seq":"1","cmd":"gim.join","msgType":1,"response":{"s":1,"a":{"tgid":"g"}}}"#,
        )
        .await;
    let targets = [
        json!({ "to_uids": ["u"] }),
        json!({ "tgid": "g" }),
        json!({ "tgid": "g", "to_uid": "u" }),
        json!({ "tgid_list": ["g"] }),
        json!({ "tgid_list": ["g"], "to_uid": "u" }),
        json!({ "all": 1 }),
    ];
    for mut message in targets {
        message["raw_b64"] = json!(STANDARD.encode(message.to_string()));
        http::push(node.admin, &message).await;
        message.as_object_mut().unwrap().remove("raw_b64");
        client.expect(TEXT, message.to_string().as_bytes()).await;
    }
}

#[tokio::test]
async fn bytes_sent_directly_are_raw_too() {
    let node = TestNode::start().await;
    let (uid, tgid) = (Uid::parse("u").unwrap(), Tgid::parse("g").unwrap());
    let proxy = node.node.proxy();
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        assert!(proxy.join_group(&uid, &tgid).await.unwrap());
        for bytes in BYTES {
            let sent = proxy.send_msg_to_user(&uid, Bytes::from_static(bytes)).await.unwrap();
            assert_eq!(sent.outcome, Outcome::Offered);
            client.expect(opcode(form.text, bytes), bytes).await;
            proxy.send_msg_to_group(&tgid, Bytes::from_static(bytes), None).await.unwrap();
            client.expect(opcode(form.text, bytes), bytes).await;
            proxy.send_msg_to_user_by_tgid(&uid, &tgid, Bytes::from_static(bytes)).await.unwrap();
            client.expect(opcode(form.text, bytes), bytes).await;
        }
    }
}

#[tokio::test]
async fn an_empty_raw_message_by_the_sdk_is_an_empty_frame() {
    let node = TestNode::start().await;
    let mut client = FORMS[0].connect(&node, "u").await;
    node.node.proxy().send_msg_to_user(&Uid::parse("u").unwrap(), Bytes::new()).await.unwrap();
    client.expect(TEXT, b"").await;
}

#[tokio::test]
async fn a_session_sends_a_frame_of_either_kind() {
    let node = TestNode::build(
        |_| {},
        |builder| {
            builder.on_connect(|session: Session| async move {
                session.send_frame(&Frame::Text(Bytes::from_static("zwölf".as_bytes())));
                session.send_frame(&Frame::Binary(Bytes::from_static(b"\xFF\x00")));
            })
        },
    )
    .await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        client.expect(TEXT, "zwölf".as_bytes()).await;
        client.expect(BINARY, b"\xFF\x00").await;
    }
}
