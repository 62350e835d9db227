//! The whole road: accepted over HTTP, stored by the worker, written by a session.

use serde_json::{Value, json};

use super::{World, epoch};
use crate::support::client::Client;
use crate::support::http;

impl World {
    /// Accepts messages and waits for their outcomes.
    async fn accept(&self, messages: Value) {
        http::push(self.node.admin, &messages).await;
        http::settled(self.node.admin).await;
    }
}

async fn expect(client: &mut Client, kind: u64, offset: u64, n: u64) {
    let push = client.expect_body(json!({ "n": n })).await;
    assert_eq!((push.msg_type, push.offset), (kind, Some(offset)), "{push:?}");
}

#[tokio::test]
async fn who_was_away_and_who_is_here_get_each_message_once() {
    let world = World::new().await;
    for n in 1..=3 {
        world.accept(json!({ "to_uid": "a", "class": "durable", "data": { "n": n } })).await;
    }
    let (mut client, _) = world.connect("a").await;
    for n in 4..=6 {
        world.accept(json!({ "to_uids": ["a", "b"], "class": "durable", "data": { "n": n } })).await;
    }
    for n in 1..=6 {
        expect(&mut client, 3, n, n).await;
    }
    let known = epoch(&client);
    client.close().await;
    let mut again = world.resume("a", known, 4).await;
    expect(&mut again, 3, 5, 5).await;
    expect(&mut again, 3, 6, 6).await;
    again.expect_silence().await;
    let (mut other, _) = world.connect("b").await;
    for offset in 1..=3 {
        expect(&mut other, 3, offset, offset + 3).await;
    }
}

#[tokio::test]
async fn members_of_a_group_have_it_also_when_they_went_before_they_read_it() {
    let world = World::new().await;
    let (mut a, _) = world.connect("a").await;
    let (mut b, _) = world.connect("b").await;
    a.join("g").await;
    b.join("g").await;
    world.accept(json!({ "tgid": "g", "class": "durable", "except_uid": "b", "data": { "n": 1 } })).await;
    world.accept(json!({ "tgid": "g", "to_uid": "a", "class": "durable", "data": { "n": 2 } })).await;
    world.accept(json!({ "tgid": "g", "to_uid": "nobody", "class": "durable", "data": { "n": 3 } })).await;
    expect(&mut a, 2, 1, 1).await;
    expect(&mut a, 3, 2, 2).await;
    a.expect_silence().await;
    b.expect_silence().await;
    let known = epoch(&a);
    a.close().await;
    let mut again = world.resume("a", known, 0).await;
    expect(&mut again, 2, 1, 1).await;
    expect(&mut again, 3, 2, 2).await;
}

#[tokio::test]
async fn the_last_value_waits_for_who_comes_later() {
    let world = World::new().await;
    for n in 1..=3 {
        world.accept(json!({ "to_uid": "a", "class": "latest", "key": "k", "data": { "n": n } })).await;
        world.accept(json!({ "tgid": "g", "class": "latest", "key": "k", "data": { "g": n } })).await;
    }
    let (mut client, _) = world.connect("a").await;
    client.expect_body(json!({ "n": 3 })).await;
    client.join("g").await;
    client.expect_body(json!({ "g": 3 })).await;
    client.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joins_while_values_change_ends_with_the_newest() {
    const LAST: u64 = 300;
    let world = World::new().await;
    let sends = async {
        for n in 1..=LAST {
            let message = json!({ "tgid": "g", "class": "latest", "key": "k", "data": { "n": n } });
            http::push(world.node.admin, &message).await;
        }
        http::settled(world.node.admin).await;
    };
    let joins = async {
        let mut clients = Vec::new();
        for n in 0..40 {
            let (mut client, _) = world.connect(&format!("u{n}")).await;
            client.command("join", "gim.join", json!({ "tgid": "g" })).await;
            clients.push(client);
        }
        clients
    };
    let ((), mut clients) = tokio::join!(sends, joins);
    for client in &mut clients {
        client.command("end", "gim.ping", Value::Null).await;
        let mut last = 0;
        loop {
            let frame = client.json().await;
            match frame["response"]["a"]["n"].as_u64() {
                Some(n) => last = n,
                None if frame["seq"] == "end" => break,
                None => {}
            }
        }
        assert_eq!(last, LAST);
    }
}
