//! The node's own commands.

use serde_json::Value;

use super::FORMS;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;
use crate::support::raw::{BINARY, binary, text};

#[tokio::test]
async fn gim_ping_is_answered_with_the_time() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        client.send(&text(br#"{"seq":"17","cmd":"gim.ping"}"#)).await;
        let frame = client.frame().await;
        let found: Value = serde_json::from_str(frame.text()).unwrap();
        let now = found["response"]["a"]["now_ms"].as_u64().expect("a time");
        let wanted =
            format!(r#"{{"seq":"17","cmd":"gim.ping","msgType":1,"response":{{"s":1,"a":{{"now_ms":{now}}}}}}}"#);
        assert_eq!(frame.text(), wanted);
        assert_eq!(frame.opcode, form.opcode());
        let here = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        assert!(u128::from(now).abs_diff(here) < 60_000, "{now} is not now, which is {here}");
    }
}

#[tokio::test]
async fn gim_join_and_gim_leave_are_answered_with_the_group() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for _ in 0..2 {
            form.exchange(
                &mut client,
                r#"{"seq":"1","cmd":"gim.join","data":{"tgid":"lobby"}}"#,
                r#"{"seq":"1","cmd":"gim.join","msgType":1,"response":{"s":1,"a":{"tgid":"lobby"}}}"#,
            )
            .await;
        }
        for _ in 0..2 {
            form.exchange(
                &mut client,
                r#"{"seq":"2","cmd":"gim.leave","data":{"tgid":"lobby"}}"#,
                r#"{"seq":"2","cmd":"gim.leave","msgType":1,"response":{"s":1,"a":{"tgid":"lobby"}}}"#,
            )
            .await;
        }
    }
}

#[tokio::test]
async fn names_of_groups_come_back_as_they_were_given() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let longest = "x".repeat(128);
    for tgid in ["日本", "a:b/c", "\"quoted\\\"", "😀", &longest] {
        client.join(tgid).await;
    }
}

#[tokio::test]
async fn a_join_without_a_proper_name_is_a_params_error() {
    let node = TestNode::start_with(|config| config.session.bad_frames_per_minute = 1_000).await;
    let too_long = format!(r#"{{"tgid":"{}"}}"#, "x".repeat(129));
    let data = [
        "null",
        "{}",
        r#"{"tgid":""}"#,
        r#"{"tgid":null}"#,
        r#"{"tgid":5}"#,
        r#"{"tgid":["a"]}"#,
        r#"{"tgid":"a b"}"#,
        r#"{"tgid":"a{b"}"#,
        r#"{"tgid":"a}"}"#,
        r#"{"tgid":"a\u0000"}"#,
        r#"{"tgid":"a\n"}"#,
        r#"{"tgid":"a\u3000b"}"#,
        &too_long,
    ];
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for cmd in ["gim.join", "gim.leave"] {
            for data in data {
                let request = format!(r#"{{"seq":"s","cmd":"{cmd}","data":{data}}}"#);
                form.refused(&mut client, request.as_bytes(), "s", cmd, 20_002).await;
            }
        }
    }
}

#[tokio::test]
async fn a_membership_is_durable_or_not_and_nothing_else() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for durable in [true.into(), false.into(), serde_json::Value::Null] {
        client.command("1", "gim.join", serde_json::json!({ "tgid": "g", "durable": durable })).await;
        client.expect_reply("1").await;
    }
    for durable in ["true".into(), serde_json::json!(1), serde_json::json!({})] {
        client.command("2", "gim.join", serde_json::json!({ "tgid": "g", "durable": durable })).await;
        client.expect_error("2", 20_002).await;
    }
}

#[tokio::test]
async fn an_ack_of_what_was_never_sent_is_a_params_error() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for data in [r#"{"offset":1}"#, r#"{"offset":9007199254740991}"#, r#"{"offset":"x"}"#, r#"{"offset":-1}"#, "{}"]
        {
            let request = format!(r#"{{"seq":"a","cmd":"gim.ack","data":{data}}}"#);
            form.refused(&mut client, request.as_bytes(), "a", "gim.ack", 20_002).await;
        }
    }
}

#[tokio::test]
async fn an_ack_without_a_seq_is_not_answered() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    client.send_text(r#"{"cmd":"gim.ack","data":{"offset":0}}"#).await;
    client.send_text(r#"{"seq":"","cmd":"gim.ack","data":{"offset":0}}"#).await;
    client.expect_silence().await;
    client.command("1", "gim.ack", serde_json::json!({ "offset": 0 })).await;
    client.expect_reply("1").await;
}

#[tokio::test]
async fn a_command_may_come_as_text_or_as_binary_on_any_connection() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        let request = br#"{"seq":"1","cmd":"gim.join","data":{"tgid":"g"}}"#;
        for bytes in [text(request), binary(request)] {
            client.send(&bytes).await;
            let wanted = br#"{"seq":"1","cmd":"gim.join","msgType":1,"response":{"s":1,"a":{"tgid":"g"}}}"#;
            client.expect(form.opcode(), wanted).await;
        }
    }
}

#[tokio::test]
async fn only_msg_code_1_asks_for_text() {
    let node = TestNode::start().await;
    for query in ["msg_code=0", "msg_code=2", "msg_code=", "msg_code=11"] {
        let path = format!("/acc?uid=u&{query}");
        let mut client = crate::support::raw::Raw::connect(node.public, &path).await;
        client.send(&text(br#"{"seq":"1","cmd":"gim.leave","data":{"tgid":"g"}}"#)).await;
        assert_eq!(client.frame().await.opcode, BINARY, "{query}");
    }
}

#[tokio::test]
async fn seq_may_be_any_text_or_missing_and_comes_back() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for seq in [r#""""#, r#""0""#, r#""ü €""#, r#""a\"b\\c""#, r#""<&>""#] {
            form.exchange(
                &mut client,
                &format!(r#"{{"seq":{seq},"cmd":"gim.leave","data":{{"tgid":"g"}}}}"#),
                &format!(r#"{{"seq":{seq},"cmd":"gim.leave","msgType":1,"response":{{"s":1,"a":{{"tgid":"g"}}}}}}"#),
            )
            .await;
        }
        form.exchange(
            &mut client,
            r#"{"cmd":"gim.leave","data":{"tgid":"g"}}"#,
            r#"{"seq":"","cmd":"gim.leave","msgType":1,"response":{"s":1,"a":{"tgid":"g"}}}"#,
        )
        .await;
    }
}

#[tokio::test]
async fn joined_is_joined_before_the_answer_and_left_is_left() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for round in 0..50 {
        client.join("g").await;
        let message = serde_json::json!({ "tgid": "g", "data": { "round": round } });
        http::push(node.admin, &message).await;
        client.expect_body(serde_json::json!({ "round": round })).await;
        client.ask("gim.leave", serde_json::json!({ "tgid": "g" })).await;
        http::push(node.admin, &message).await;
        http::settled(node.admin).await;
        http::push(node.admin, &serde_json::json!({ "to_uid": "u", "data": { "marker": round } })).await;
        client.expect_body(serde_json::json!({ "marker": round })).await;
    }
}
