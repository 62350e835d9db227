//! Requests that cannot be understood or answered, in both dialects.

use super::FORMS;
use crate::support::node::TestNode;
use crate::support::raw::{binary, text};

#[tokio::test]
async fn an_unknown_command_is_answered_in_the_dialect_of_the_path() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        let requests = [
            (r#"{"seq":"1","cmd":"chat.say","data":{}}"#, "1", "chat.say"),
            (r#"{"seq":"2","cmd":"gim.unknown"}"#, "2", "gim.unknown"),
            (r#"{"seq":"3","cmd":"GIM.PING"}"#, "3", "GIM.PING"),
            (r#"{"seq":"4","cmd":"","data":null}"#, "4", ""),
            (r#"{"seq":"5"}"#, "5", ""),
            ("{}", "", ""),
        ];
        for (request, seq, cmd) in requests {
            form.refused(&mut client, request.as_bytes(), seq, cmd, 20_004).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_a_json_error() {
    let node = TestNode::start_with(|config| config.session.bad_frames_per_minute = 1_000).await;
    let requests = [
        "",
        " ",
        "hello",
        "{",
        "}",
        "[]",
        "null",
        "1",
        "\"text\"",
        "{\"seq\":",
        "{'seq':'1'}",
        "{\"seq\":\"1\"} trailing",
        "{\"seq\":\"1\",}",
        "\u{FEFF}{}",
        "{\"cmd\":\"\\uD800\"}",
        "{\"cmd\":\"\\x\"}",
    ];
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for request in requests {
            client.send(&text(request.as_bytes())).await;
            let frame = client.frame().await;
            assert!(frame.text().contains(r#""code":20003"#), "{request:?}: {}", frame.text());
        }
        form.refused(&mut client, b"hello", "", "", 20_003).await;
    }
}

#[tokio::test]
async fn binary_that_is_no_text_is_a_json_error() {
    let node = TestNode::start().await;
    let mut client = FORMS[2].connect(&node, "u").await;
    for bytes in [b"\xFF\xFE".as_slice(), b"{\"seq\":\"\xFF\",\"cmd\":\"gim.ping\"}", b"\x00"] {
        client.send(&binary(bytes)).await;
        let frame = client.frame().await;
        assert!(frame.text().contains(r#""code":20003"#), "{}", frame.text());
    }
}

#[tokio::test]
async fn json_nested_without_end_is_an_error_and_harms_nobody() {
    let node = TestNode::start().await;
    let mut client = FORMS[2].connect(&node, "u").await;
    let deep = format!(r#"{{"seq":"1","cmd":"x","data":{}"#, "{\"a\":".repeat(10_000));
    for request in [deep.as_str(), &"[".repeat(60_000)] {
        client.send(&text(request.as_bytes())).await;
        let frame = client.frame().await;
        assert!(frame.text().contains(r#""error":{"code":2000"#), "{}", frame.text());
    }
    client.send(&text(br#"{"seq":"1","cmd":"gim.ping"}"#)).await;
    assert!(client.frame().await.text().contains("now_ms"));
}

#[tokio::test]
async fn a_seq_or_cmd_of_another_type_is_a_json_error() {
    let node = TestNode::start_with(|config| config.session.bad_frames_per_minute = 1_000).await;
    let requests = [
        r#"{"seq":1,"cmd":"gim.ping"}"#,
        r#"{"seq":"1","cmd":5}"#,
        r#"{"seq":{},"cmd":"gim.ping"}"#,
        r#"{"seq":"1","cmd":["gim.ping"]}"#,
        r#"{"seq":true,"cmd":"gim.ping"}"#,
    ];
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for request in requests {
            client.send(&text(request.as_bytes())).await;
            let frame = client.frame().await;
            assert!(frame.text().contains(r#""code":20003"#), "{request}: {}", frame.text());
        }
    }
}

#[tokio::test]
async fn data_that_is_no_object_is_a_params_error() {
    let node = TestNode::start_with(|config| config.session.bad_frames_per_minute = 1_000).await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        for data in ["[]", "1", "\"text\"", "true", "[{}]"] {
            let request = format!(r#"{{"seq":"9","cmd":"gim.ping","data":{data}}}"#);
            form.refused(&mut client, request.as_bytes(), "9", "gim.ping", 20_002).await;
        }
    }
}

#[tokio::test]
async fn fields_nobody_knows_are_passed_over() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        form.exchange(
            &mut client,
            r#"  { "extra" : [1,{"a":null}], "data" : {"tgid":"g","more":1}, "cmd" : "gim.leave", "seq" : "1" }  "#,
            r#"{"seq":"1","cmd":"gim.leave","msgType":1,"response":{"s":1,"a":{"tgid":"g"}}}"#,
        )
        .await;
    }
}

#[tokio::test]
async fn an_endless_seq_or_cmd_is_not_sent_back() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        let long = "x".repeat(60_000);
        for request in [format!(r#"{{"seq":"{long}","cmd":"gim.ping"}}"#), format!(r#"{{"seq":"1","cmd":"{long}"}}"#)] {
            client.send(&text(request.as_bytes())).await;
            let frame = client.frame().await;
            assert!(frame.text().contains(r#""code":20002"#), "{:?}", frame.text().get(..200));
            assert!(frame.payload.len() < 2_000, "{} bytes come back", frame.payload.len());
        }
    }
}

#[tokio::test]
async fn an_empty_message_is_a_json_error_too() {
    let node = TestNode::start().await;
    for form in FORMS {
        let mut client = form.connect(&node, "u").await;
        client.send(&binary(b"")).await;
        assert!(client.frame().await.text().contains(r#""code":20003"#));
    }
}
