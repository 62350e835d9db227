//! Order and number: every message once, as it was accepted.

use serde_json::{Value, json};

use super::users;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;

const MANY: u64 = 10_000;

/// Posts `MANY` messages in arrays of 1,000, one after another.
fn post(node: &TestNode, message: impl Fn(u64) -> Value + Send + 'static) -> tokio::task::JoinHandle<()> {
    let admin = node.admin;
    tokio::spawn(async move {
        for start in (0..MANY).step_by(1_000) {
            let messages: Vec<Value> = (start..start + 1_000).map(&message).collect();
            http::push(admin, &json!(messages)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_to_a_user_arrive_once_and_in_order() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let posting = post(&node, |n| json!({ "to_uid": "u", "data": { "n": n } }));
    for n in 0..MANY {
        client.expect_body(json!({ "n": n })).await;
    }
    posting.await.unwrap();
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_to_a_group_arrive_at_each_member_once_and_in_order() {
    let node = TestNode::start().await;
    let clients = users(&node, [("a", &["g"]), ("b", &["g"]), ("c", &["g"])]).await;
    let reading: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                for n in 0..MANY {
                    client.expect_body(json!({ "n": n })).await;
                }
                client
            })
        })
        .collect();
    post(&node, |n| json!({ "tgid": "g", "data": { "n": n } })).await.unwrap();
    http::settled(node.admin).await;
    for reading in reading {
        reading.await.unwrap().expect_silence().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_with_the_same_members_interleaved_arrive_in_order() {
    let node = TestNode::start().await;
    let clients =
        users(&node, [("a", &["g", "h"]), ("b", &["g", "h"]), ("c", &["h", "g"]), ("d", &["g"]), ("e", &["h"])]).await;
    let admin = node.admin;
    let messages = |start: u64| -> Vec<Value> {
        // An irregular pattern: neither alternating nor in runs.
        let group = |n: u64| if (n * 7 + n / 3) % 5 < 2 { "g" } else { "h" };
        (start..start + 1_000).map(|n| json!({ "tgid": group(n), "data": { "group": group(n), "n": n } })).collect()
    };
    let all: Vec<Value> = messages(0).into_iter().chain(messages(1_000)).collect();
    let reading: Vec<_> = clients
        .into_iter()
        .zip([&["g", "h"][..], &["g", "h"], &["g", "h"], &["g"], &["h"]])
        .map(|(mut client, groups)| {
            let mut wanted = groups.iter().map(|tgid| (*tgid, of(&all, tgid))).collect::<Vec<_>>();
            tokio::spawn(async move {
                let total: usize = wanted.iter().map(|(_, bodies)| bodies.len()).sum();
                for _ in 0..total {
                    let found = client.expect_push().await.a;
                    let (_, bodies) =
                        wanted.iter_mut().find(|(tgid, _)| found["group"] == *tgid).expect("a message of an own group");
                    assert_eq!(Some(&found), bodies.last(), "out of order in its group");
                    bodies.pop();
                }
                client
            })
        })
        .collect();
    http::push(admin, &json!(messages(0))).await;
    http::push(admin, &json!(messages(1_000))).await;
    http::settled(admin).await;
    for reading in reading {
        reading.await.unwrap().expect_silence().await;
    }
}

/// The bodies of one group's messages, the first last.
fn of(messages: &[Value], tgid: &str) -> Vec<Value> {
    messages.iter().rev().filter(|message| message["tgid"] == tgid).map(|message| message["data"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_group_gets_every_message_in_order_and_once() {
    let node = TestNode::start().await;
    let mut clients = Vec::new();
    for number in 0..600 {
        let uid = format!("u{number}");
        clients.push(Client::user(node.public, &uid).await);
        let path = format!("/api/v1/groups/g/members/{uid}");
        assert_eq!(http::request("PUT", node.admin, &path, None).await.0, 204);
    }
    for start in [0, 10, 20] {
        let messages: Vec<Value> = (start..start + 10).map(|n| json!({ "tgid": "g", "data": { "n": n } })).collect();
        http::push(node.admin, &json!(messages)).await;
    }
    http::settled(node.admin).await;
    for client in &mut clients {
        for n in 0..30 {
            client.expect_body(json!({ "n": n })).await;
        }
        client.expect_silence().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_producers_at_once_lose_and_repeat_nothing() {
    let node = TestNode::start_with(|config| config.queue.lanes = 4.try_into().unwrap()).await;
    let mut client = Client::user(node.public, "u").await;
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..10 {
        let admin = node.admin;
        producers.spawn(async move {
            for n in 0..100 {
                http::push(admin, &json!({ "to_uid": "u", "data": { "producer": producer, "n": n } })).await;
            }
        });
    }
    let mut next = [0; 10];
    for _ in 0..1_000 {
        let found = client.expect_push().await.a;
        let producer = usize::try_from(found["producer"].as_u64().unwrap()).unwrap();
        assert_eq!(found["n"], next[producer], "of producer {producer}");
        next[producer] += 1;
    }
    producers.join_all().await;
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn direct_sends_arrive_in_the_order_of_the_calls() {
    use gim_proxy_sdk::RunProxy;
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    let uid = gim_proto::Uid::parse("u").unwrap();
    for n in 0..1_000 {
        node.node.proxy().send_res_data_to_user(&uid, &json!({ "n": n })).await.unwrap();
    }
    for n in 0..1_000 {
        client.expect_body(json!({ "n": n })).await;
    }
}
