//! What an entry may look like, and what its client gets.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::stage::Stage;
use crate::support::client::Client;
use crate::support::raw::Raw;
use crate::support::stalled::fill;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A node, and its client `u` in the group `g`.
async fn one() -> (Stage, Client) {
    let stage = Stage::start().await;
    let client = stage.user("u", &["g"]).await;
    (stage, client)
}

#[tokio::test]
async fn data_is_wrapped_in_what_mol_and_ctrl_say() {
    let (mut stage, mut client) = one().await;
    for (fields, body) in [
        (&[("data", r#"{"x": [1, 2.50, "é"]}"#)][..], json!({ "x": [1, 2.5, "é"] })),
        (&[("data", "{}")], json!({})),
        (&[("data", "5"), ("mol", "m")], json!({ "m": 5 })),
        (&[("data", "null"), ("mol", "m")], json!({ "m": null })),
        (&[("mol", "m"), ("data", r#"{"x":1}"#), ("ctrl", "c")], json!({ "m": { "c": { "x": 1 } } })),
        (&[("data", "[1, 2]"), ("mol", "m\"ö"), ("ctrl", "c")], json!({ "m\"ö": { "c": [1, 2] } })),
    ] {
        stage.add(0, &[fields, &[("to_uid", "u")]].concat()).await;
        client.expect_body(body).await;
    }
}

#[tokio::test]
async fn numbers_and_the_order_of_keys_stay_as_they_were_written() {
    let (mut stage, mut client) = one().await;
    let data = r#"{"z":1.10,"a":12345678901234567890123,"m":1E400}"#;
    let id = stage.add(0, &[("to_uid", "u"), ("data", data)]).await;
    let text = client.text().await;
    let wanted = format!(r#"{{"seq":"","cmd":"","msgType":3,"id":"0-{id}","response":{{"s":1,"a":{data}}}}}"#);
    assert_eq!(text, wanted);
}

#[tokio::test]
async fn raw_is_delivered_as_it_is() {
    let (mut stage, mut text) = one().await;
    let mut binary = Client::connect(stage.node.public, "/ws?uid=b").await;
    let odd: &[u8] = b"\x00\xff not text";
    for (raw, as_text) in [(&b"plain, {not JSON"[..], true), ("ünïcode".as_bytes(), true), (odd, false), (b"", true)]
    {
        stage.add(0, &[(&b"to_uids"[..], &br#"["u","b"]"#[..]), (b"raw", raw)]).await;
        let wanted = match as_text {
            true => Message::text(String::from_utf8(raw.to_vec()).unwrap()),
            false => Message::binary(raw.to_vec()),
        };
        assert_eq!(text.next().await, Some(wanted));
        assert_eq!(binary.next().await, Some(Message::binary(raw.to_vec())));
    }
}

#[tokio::test]
async fn an_id_of_the_producers_becomes_the_messages() {
    let (mut stage, mut client) = one().await;
    let longest = "x".repeat(128);
    for id in ["order:17.a_b-c", longest.as_str()] {
        stage.add(0, &[("to_uid", "u"), ("id", id), ("data", "{}")]).await;
        assert_eq!(client.expect_push().await.id.as_deref(), Some(id));
    }
    let place = stage.add_as(0, "99999999999999-7", &[("to_uid", "u"), ("data", "{}")]).await;
    assert_eq!(place, "99999999999999-7");
    assert_eq!(client.expect_push().await.id.as_deref(), Some("0-99999999999999-7"));
}

#[tokio::test]
async fn a_client_of_the_old_path_gets_no_id() {
    let mut stage = Stage::start().await;
    let mut client = Client::open(stage.node.public, "/acc?uid=u&msg_code=1").await;
    stage.add(0, &[("to_uid", "u"), ("id", "x"), ("data", r#"{"n":1}"#)]).await;
    assert_eq!(client.expect_body(json!({ "n": 1 })).await.id, None);
}

#[tokio::test]
async fn of_class_latest_a_stalled_reader_gets_the_newest_of_each_key() {
    let mut stage = Stage::start().await;
    let mut client = Raw::connect_narrow(stage.node.public, "/acc?uid=u&msg_code=1").await;
    fill(&stage.node, "u").await;
    for n in 0..100 {
        for key in ["a", "b"] {
            let data = json!({ "key": key, "n": n }).to_string();
            let fields = [("to_uid", "u"), ("class", "latest"), ("key", key), ("data", data.as_str())];
            stage.add(0, &fields).await;
        }
    }
    stage.settled().await;
    stage.add(0, &[("to_uid", "u"), ("class", "live"), ("data", r#"{"end":1}"#)]).await;
    let mut found = Vec::new();
    while found.last() != Some(&json!({ "end": 1 })) {
        let frame = client.frame().await;
        if let Ok(frame) = serde_json::from_slice::<Value>(&frame.payload) {
            found.push(frame["response"]["a"].clone());
        }
    }
    assert_eq!(found.len(), 3, "{found:?}");
    for key in ["a", "b"] {
        assert!(found.contains(&json!({ "key": key, "n": 99 })), "{found:?}");
    }
}

#[tokio::test]
async fn fields_that_need_no_answer_are_taken() {
    let (mut stage, mut client) = one().await;
    let longest = "k".repeat(128);
    for (n, field) in [
        ("priority", "high"),
        ("priority", "normal"),
        ("priority", "low"),
        ("traceparent", TRACE),
        ("traceparent", "not a trace"),
        ("receipt", "0"),
        ("all", "false"),
        ("key", longest.as_str()),
        ("ttl_ms", "9007199254740991"),
        ("deliver_at_ms", "0"),
        ("class", "live"),
        ("colour", "of one's own"),
        ("gim_reason", "a name that is used elsewhere"),
        ("", "no name"),
    ]
    .into_iter()
    .enumerate()
    {
        let data = json!({ "n": n }).to_string();
        stage.add(0, &[("to_uid", "u"), field, ("data", &data)]).await;
        client.expect_body(json!({ "n": n })).await;
    }
}

#[tokio::test]
async fn of_fields_with_one_name_the_last_counts() {
    let (mut stage, mut client) = one().await;
    stage.add(0, &[("to_uid", "x"), ("data", "no JSON"), ("data", r#"{"n":1}"#), ("to_uid", "u")]).await;
    client.expect_body(json!({ "n": 1 })).await;
}

#[tokio::test]
async fn many_fields_are_no_harm() {
    let (mut stage, mut client) = one().await;
    let mut fields: Vec<(String, String)> = (0..9_000).map(|n| (format!("f{n}"), String::new())).collect();
    fields.push(("to_uid".to_owned(), "u".to_owned()));
    fields.push(("data".to_owned(), r#"{"n":1}"#.to_owned()));
    stage.add(0, &fields).await;
    client.expect_body(json!({ "n": 1 })).await;
}

#[tokio::test]
async fn msg_holds_an_entry_as_one_object() {
    let (mut stage, mut client) = one().await;
    for (msg, body) in [
        (json!({ "to_uid": "u", "data": { "n": 1 } }), json!({ "n": 1 })),
        // What GIM's producers write.
        (
            json!({ "to_uid": "", "tgid": "g", "c_time": 1_763_000_000, "msg_type": 2, "mol": "chat", "ctrl": "say",
                "data": ["hi"], "tgid_list": null, "to_uids": [], "except_uid": "" }),
            json!({ "chat": { "say": ["hi"] } }),
        ),
        (json!({ "tgid_list": ["x", "g"], "to_uid": "u", "data": {} }), json!({})),
        (json!({ "all": true, "data": { "n": 2 } }), json!({ "n": 2 })),
        (json!({ "all": 1, "except_uid": ["x"], "data": { "n": 3 } }), json!({ "n": 3 })),
        (json!({ "to_uid": "u", "ttl_ms": "60000", "deliver_at_ms": "", "data": { "n": 4 } }), json!({ "n": 4 })),
        (json!({ "to_uid": "u", "receipt": 0, "priority": "low", "data": { "n": 5 } }), json!({ "n": 5 })),
        (json!({ "to_uid": "u", "mol": "m", "data": null }), json!({ "m": null })),
        (json!({ "to_uid": "u", "class": "latest", "key": "k", "data": { "n": 6 } }), json!({ "n": 6 })),
        (json!({ "to_uid": "u", "own": { "any": 1 }, "data": { "n": 7 } }), json!({ "n": 7 })),
    ] {
        let msg = msg.to_string();
        let id = stage.add(0, &[("msg", msg.as_str()), ("beside", "unknown")]).await;
        assert_eq!(client.expect_body(body).await.id, Some(format!("0-{id}")), "{msg}");
    }
    for (raw, bytes) in [("aGVsbG8=", &b"hello"[..]), ("AJ//", b"\x00\x9f\xff"), ("eA", b"x")] {
        stage.add(0, &[("msg", json!({ "to_uid": "u", "raw_b64": raw }).to_string())]).await;
        assert_eq!(client.data().await, bytes);
    }
    stage.add(0, &[("msg", json!({ "to_uid": "u", "id": "within", "data": {} }).to_string())]).await;
    assert_eq!(client.expect_push().await.id.as_deref(), Some("within"));
}

#[tokio::test]
async fn the_largest_entry_is_delivered() {
    let (mut stage, mut client) = one().await;
    let around = "to_uid".len() + "u".len() + "data".len() + r#"{"x":""}"#.len();
    let body = json!({ "x": "y".repeat(256 * 1024 - around) });
    stage.add(0, &[("to_uid", "u"), ("data", &body.to_string())]).await;
    client.expect_body(body).await;
}
