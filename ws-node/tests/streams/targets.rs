//! Who gets an entry: every target of the wire, put on a stream by hand.

use gim_proto::{Target, Uid, lane_of};
use serde_json::json;

use crate::stage::Stage;
use crate::support::client::Client;

/// Puts an entry on lane 0 and checks who gets it: each of these once, nobody else.
async fn reaches(stage: &mut Stage, fields: &[(&str, &str)], clients: &mut [Client], wanted: &[usize]) {
    let body = json!({ "entry": format!("{fields:?}") });
    let data = body.to_string();
    let id = stage.add(0, &[fields, &[("data", data.as_str())]].concat()).await;
    stage.settled().await;
    for (at, client) in clients.iter_mut().enumerate() {
        if wanted.contains(&at) {
            let push = client.expect_body(body.clone()).await;
            assert_eq!(push.id, Some(format!("0-{id}")), "the id is the entry's place");
            assert_eq!(push.msg_type, msg_type(fields), "{fields:?}");
        }
        client.expect_silence().await;
    }
}

fn msg_type(fields: &[(&str, &str)]) -> u64 {
    if fields.iter().any(|(name, _)| name.starts_with("to_uid")) { 3 } else { 2 }
}

#[tokio::test]
async fn an_entry_to_users_reaches_those_who_are_connected() {
    let mut stage = Stage::start().await;
    let mut clients = [stage.user("a", &[]).await, stage.user("b", &[]).await, stage.user("ä/€", &[]).await];
    for (fields, wanted) in [
        ([("to_uid", "a")], &[0][..]),
        ([("to_uid", "ä/€")], &[2]),
        ([("to_uid", "nobody")], &[]),
        ([("to_uids", r#"["a","b"]"#)], &[0, 1]),
        ([("to_uids", r#" [ "b" , "x", "b" ] "#)], &[1]),
        ([("to_uids", r#"["\u00e4/\u20ac"]"#)], &[2]),
    ] {
        reaches(&mut stage, &fields, &mut clients, wanted).await;
    }
    assert_eq!(stage.outcomes("offered").await, 6);
    assert_eq!(stage.outcomes("offline").await, 2);
}

#[tokio::test]
async fn an_entry_to_groups_reaches_each_member_once() {
    let mut stage = Stage::start().await;
    let mut clients =
        [stage.user("a", &["g", "h", "i"]).await, stage.user("b", &["h"]).await, stage.user("c", &["z"]).await];
    for (fields, wanted) in [
        (&[("tgid", "h")][..], &[0, 1][..]),
        (&[("tgid", "empty")], &[]),
        (&[("tgid_list", r#"["g","h","i"]"#)], &[0, 1]),
        (&[("tgid_list", r#"["g","g","z","x"]"#)], &[0, 2]),
        (&[("tgid", "h"), ("to_uid", "b")], &[1]),
        (&[("to_uid", "c"), ("tgid", "h")], &[]),
        (&[("tgid", "h"), ("to_uid", "nobody")], &[]),
        (&[("tgid_list", r#"["g","z"]"#), ("to_uid", "c")], &[2]),
        (&[("tgid_list", r#"["g","h"]"#), ("to_uid", "c")], &[]),
    ] {
        reaches(&mut stage, fields, &mut clients, wanted).await;
    }
    assert_eq!(stage.outcomes("not_member").await, 2);
}

#[tokio::test]
async fn an_entry_to_all_reaches_everybody() {
    let mut stage = Stage::start().await;
    let mut clients = [stage.user("a", &["g"]).await, stage.user("b", &[]).await];
    for all in ["1", "true"] {
        reaches(&mut stage, &[("all", all)], &mut clients, &[0, 1]).await;
    }
    reaches(&mut stage, &[("all", "0"), ("to_uid", "a")], &mut clients, &[0]).await;
}

#[tokio::test]
async fn who_is_excepted_gets_nothing() {
    let mut stage = Stage::start().await;
    let mut clients = [stage.user("a", &["g"]).await, stage.user("b", &["g"]).await, stage.user("c", &["h"]).await];
    for (fields, wanted) in [
        ([("tgid", "g"), ("except_uid", "a")], &[1][..]),
        ([("tgid", "g"), ("except_uid", r#"["a","b"]"#)], &[]),
        ([("tgid_list", r#"["g","h"]"#), ("except_uid", r#"["nobody","b"]"#)], &[0, 2]),
        ([("all", "1"), ("except_uid", "b")], &[0, 2]),
        ([("to_uids", r#"["a","b","c"]"#), ("except_uid", "b")], &[0, 2]),
        ([("to_uid", "a"), ("except_uid", "a")], &[]),
        ([("tgid", "g"), ("except_uid", "[]")], &[0, 1]),
    ] {
        reaches(&mut stage, &fields, &mut clients, wanted).await;
    }
}

#[tokio::test]
async fn an_entry_is_delivered_from_whatever_lane_it_is_in() {
    let mut stage = Stage::start_with(|config| config.queue.lanes = 4.try_into().unwrap()).await;
    let uids: Vec<String> = (0..12).map(|number| format!("u{number}")).collect();
    let right = |uid: &str| lane_of(&Target::User(Uid::parse(uid).unwrap()), 4.try_into().unwrap());
    assert!((0..4).all(|lane| uids.iter().any(|uid| right(uid) == lane)), "every lane has one of them");
    let mut clients = Vec::new();
    for uid in &uids {
        clients.push(stage.user(uid, &["g"]).await);
    }
    let several = json!(uids).to_string();
    for lane in 0..4 {
        let fields = [
            ("to_uid", uids[0].as_str()),
            ("to_uids", several.as_str()),
            ("tgid", "g"),
            ("tgid_list", r#"["g","x"]"#),
            ("all", "1"),
        ];
        for (name, value) in fields {
            let body = json!({ "lane": lane, name: 1 });
            let id = stage.add(lane, &[(name, value), ("data", &body.to_string())]).await;
            let meant = if name == "to_uid" { &mut clients[..1] } else { &mut clients[..] };
            for client in meant {
                assert_eq!(client.expect_body(body.clone()).await.id, Some(format!("{lane}-{id}")));
            }
        }
    }
    stage.settled().await;
    for client in &mut clients {
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn ten_thousand_users_may_stand_in_one_entry() {
    let mut stage = Stage::start().await;
    let mut clients = [stage.user("u0", &[]).await, stage.user("u9999", &[]).await, stage.user("u10000", &[]).await];
    let uids: Vec<String> = (0..10_000).map(|number| format!("u{number}")).collect();
    let uids = json!(uids).to_string();
    stage.add(0, &[("to_uids", uids.as_str()), ("data", "{}")]).await;
    stage.settled().await;
    for client in &mut clients[..2] {
        client.expect_body(json!({})).await;
    }
    for client in &mut clients {
        client.expect_silence().await;
    }
    assert_eq!((stage.outcomes("offered").await, stage.outcomes("offline").await), (2, 9_998));
}
