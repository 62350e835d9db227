//! Who gets a message, by HTTP.

use serde_json::{Value, json};

use super::{push, reaches, users};
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;

#[tokio::test]
async fn a_message_to_a_user_reaches_that_user() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &[]), ("b", &[]), ("ä/€", &[])]).await;
    reaches(&node, json!({ "to_uid": "a" }), &mut clients, &[0]).await;
    reaches(&node, json!({ "to_uid": "b" }), &mut clients, &[1]).await;
    reaches(&node, json!({ "to_uid": "ä/€" }), &mut clients, &[2]).await;
    reaches(&node, json!({ "to_uid": "nobody" }), &mut clients, &[]).await;
    reaches(&node, json!({ "to_uid": "A" }), &mut clients, &[]).await;
}

#[tokio::test]
async fn a_message_to_several_users_reaches_each_of_them() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &[]), ("b", &[]), ("c", &[])]).await;
    reaches(&node, json!({ "to_uids": ["a", "c"] }), &mut clients, &[0, 2]).await;
    reaches(&node, json!({ "to_uids": ["b"] }), &mut clients, &[1]).await;
    reaches(&node, json!({ "to_uids": ["x", "b", "y"] }), &mut clients, &[1]).await;
    reaches(&node, json!({ "to_uids": ["a", "a", "b"] }), &mut clients, &[0, 1]).await;
    reaches(&node, json!({ "to_uids": "[\"a\",\"b\"]" }), &mut clients, &[0, 1]).await;
}

#[tokio::test]
async fn a_message_to_ten_thousand_users_reaches_those_who_are_connected() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("u-0", &[]), ("u-5000", &[]), ("u-9999", &[]), ("u-10000", &[])]).await;
    let uids: Vec<String> = (0..10_000).map(|number| format!("u-{number}")).collect();
    push(&node, json!({ "to_uids": uids, "data": { "n": 1 } })).await;
    for client in &mut clients[..3] {
        client.expect_body(json!({ "n": 1 })).await;
        client.expect_silence().await;
    }
    clients[3].expect_silence().await;
}

#[tokio::test]
async fn a_message_to_a_group_reaches_its_members() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &["g"]), ("b", &["g", "h"]), ("c", &["h"]), ("d", &[])]).await;
    reaches(&node, json!({ "tgid": "g" }), &mut clients, &[0, 1]).await;
    reaches(&node, json!({ "tgid": "h" }), &mut clients, &[1, 2]).await;
    reaches(&node, json!({ "tgid": "empty" }), &mut clients, &[]).await;
}

#[tokio::test]
async fn a_message_to_a_groups_user_reaches_it_only_as_a_member() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &["g"]), ("b", &["h"]), ("c", &["g"])]).await;
    reaches(&node, json!({ "tgid": "g", "to_uid": "a" }), &mut clients, &[0]).await;
    reaches(&node, json!({ "tgid": "g", "to_uid": "b" }), &mut clients, &[]).await;
    reaches(&node, json!({ "tgid": "g", "to_uid": "nobody" }), &mut clients, &[]).await;
    reaches(&node, json!({ "tgid": "empty", "to_uid": "a" }), &mut clients, &[]).await;
}

#[tokio::test]
async fn a_message_to_several_groups_reaches_a_user_in_many_of_them_once() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &["g", "h", "i"]), ("b", &["h"]), ("c", &["z"])]).await;
    reaches(&node, json!({ "tgid_list": ["g", "h", "i"] }), &mut clients, &[0, 1]).await;
    reaches(&node, json!({ "tgid_list": ["x", "g"] }), &mut clients, &[0]).await;
    reaches(&node, json!({ "tgid_list": ["g", "g", "z"] }), &mut clients, &[0, 2]).await;
    reaches(&node, json!({ "tgid_list": ["x", "y"] }), &mut clients, &[]).await;
}

#[tokio::test]
async fn a_message_to_a_user_of_several_groups_needs_one_membership() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &["h"]), ("b", &["z"])]).await;
    reaches(&node, json!({ "tgid_list": ["g", "h"], "to_uid": "a" }), &mut clients, &[0]).await;
    reaches(&node, json!({ "tgid_list": ["g", "h"], "to_uid": "b" }), &mut clients, &[]).await;
}

#[tokio::test]
async fn a_message_to_all_reaches_everybody() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &["g"]), ("b", &[]), ("c", &[])]).await;
    for all in [json!(1), json!("1"), json!(true)] {
        reaches(&node, json!({ "all": all }), &mut clients, &[0, 1, 2]).await;
    }
}

#[tokio::test]
async fn who_is_excepted_gets_nothing() {
    let node = TestNode::start().await;
    let mut clients = users(&node, [("a", &["g", "h"]), ("b", &["g"]), ("c", &["h"])]).await;
    reaches(&node, json!({ "tgid": "g", "except_uid": "a" }), &mut clients, &[1]).await;
    reaches(&node, json!({ "tgid": "g", "except_uid": ["a", "b"] }), &mut clients, &[]).await;
    reaches(&node, json!({ "tgid_list": ["g", "h"], "except_uid": ["a", "nobody"] }), &mut clients, &[1, 2]).await;
    reaches(&node, json!({ "all": 1, "except_uid": "b" }), &mut clients, &[0, 2]).await;
    reaches(&node, json!({ "to_uids": ["a", "b", "c"], "except_uid": ["b"] }), &mut clients, &[0, 2]).await;
    reaches(&node, json!({ "to_uid": "a", "except_uid": "a" }), &mut clients, &[]).await;
    reaches(&node, json!({ "tgid": "g", "except_uid": "" }), &mut clients, &[0, 1]).await;
    reaches(&node, json!({ "tgid": "g", "except_uid": [] }), &mut clients, &[0, 1]).await;
}

#[tokio::test]
async fn empty_fields_count_as_absent_and_unknown_ones_are_passed_over() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "a").await;
    let messages = [
        json!({ "to_uid": "a", "tgid": "", "tgid_list": [], "to_uids": null, "all": "", "data": { "n": 0 } }),
        json!({ "to_uid": "a", "id": "", "class": "", "key": "", "ttl_ms": null, "priority": "", "data": { "n": 1 } }),
        json!({ "to_uid": "a", "c_time": 5, "msg_type": "x", "colour": { "any": 1 }, "data": { "n": 2 } }),
        json!({ "msg": { "to_uid": "a", "data": { "n": 3 } } }),
        json!({ "to_uid": "a", "class": "live", "priority": "normal", "ttl_ms": "60000", "data": { "n": 4 } }),
        json!({ "to_uid": "a", "receipt": false, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "data": { "n": 5 } }),
    ];
    for (n, message) in messages.into_iter().enumerate() {
        push(&node, message).await;
        client.expect_body(json!({ "n": n })).await;
    }
}

#[tokio::test]
async fn an_array_is_accepted_as_a_whole_and_its_ids_are_in_its_order() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "a").await;
    let messages: Vec<Value> = (0..1_000).map(|n| json!({ "to_uid": "a", "data": { "n": n } })).collect();
    let ids = http::push(node.admin, &json!(messages)).await;
    assert_eq!(ids.len(), 1_000);
    for (n, id) in ids.iter().enumerate() {
        let push = client.expect_body(json!({ "n": n })).await;
        assert_eq!(push.id.as_ref(), Some(id));
    }
}

#[tokio::test]
async fn an_array_may_mix_targets() {
    let node = TestNode::start().await;
    let [mut a, mut b] = users(&node, [("a", &["g"]), ("b", &["g"])]).await;
    let messages = json!([
        { "to_uid": "a", "data": { "n": 0 } },
        { "tgid": "g", "except_uid": "a", "data": { "n": 1 } },
        { "to_uid": "nobody", "data": { "n": 2 } },
        { "to_uids": ["a"], "mol": "m", "data": 3 },
    ]);
    http::push(node.admin, &messages).await;
    http::settled(node.admin).await;
    a.expect_body(json!({ "n": 0 })).await;
    a.expect_body(json!({ "m": 3 })).await;
    a.expect_silence().await;
    b.expect_body(json!({ "n": 1 })).await;
    b.expect_silence().await;
}

#[tokio::test]
async fn targets_are_found_whatever_lane_they_take() {
    let node = TestNode::start_with(|config| config.queue.lanes = 7.try_into().unwrap()).await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = Client::user(node.public, &format!("u{number}")).await;
        client.join(&format!("g{number}")).await;
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        push(&node, json!({ "to_uid": format!("u{number}"), "data": { "n": number } })).await;
        client.expect_body(json!({ "n": number })).await;
        push(&node, json!({ "tgid": format!("g{number}"), "data": { "g": number } })).await;
        client.expect_body(json!({ "g": number })).await;
    }
    let uids: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
    let id = push(&node, json!({ "to_uids": uids, "data": { "to": "many" } })).await;
    for client in &mut clients {
        let push = client.expect_body(json!({ "to": "many" })).await;
        assert_eq!(push.id.as_ref(), Some(&id), "one message has one id, whatever lanes it takes");
        client.expect_silence().await;
    }
}
