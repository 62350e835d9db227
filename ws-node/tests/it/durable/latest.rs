//! The last values of class `latest`, for whoever comes or joins.

use std::sync::Arc;

use gim_proto::{Class, Tgid, Uid};
use gim_proxy_sdk::mailbox::{Scope, Value};
use serde_json::json;

use super::World;

impl World {
    async fn keep(&self, scope: Scope, key: &str, n: u64) {
        let sent = self.message(n, |message| {
            message.class = Class::Latest;
            message.key = Some(Arc::from(key));
        });
        let value = Value { entry: sent.entry, message: sent.message, scopes: vec![scope] };
        self.node.node.mailboxes().keep(&[value]).await.unwrap();
    }
}

fn user(uid: &str) -> Scope {
    Scope::User(Uid::parse(uid).unwrap())
}

fn group(tgid: &str) -> Scope {
    Scope::Group(Tgid::parse(tgid).unwrap())
}

#[tokio::test]
async fn a_newcomer_is_given_the_last_value_of_each_key() {
    let world = World::new().await;
    for (key, n) in [("x", 1), ("y", 2), ("x", 3)] {
        world.keep(user("a"), key, n).await;
    }
    let (mut client, _) = world.connect("a").await;
    for n in [2, 3] {
        let push = client.expect_body(json!({ "n": n })).await;
        assert_eq!((push.msg_type, push.offset), (3, None), "{push:?}");
    }
    client.expect_silence().await;
    let (mut other, _) = world.connect("b").await;
    other.expect_silence().await;
}

#[tokio::test]
async fn who_joins_is_given_the_values_of_the_group_behind_the_answer_and_who_resumes_again() {
    let world = World::new().await;
    world.keep(group("g"), "x", 1).await;
    let (mut client, to) = world.connect("a").await;
    client.join("g").await;
    let push = client.expect_body(json!({ "n": 1 })).await;
    assert_eq!(push.msg_type, 2);
    client.join("g").await;
    client.expect_silence().await;
    client.close().await;
    world.keep(group("g"), "x", 2).await;
    let (mut again, _) = world.connect_by(&format!("/ws?uid=a&msg_code=1&session={}", to.session), "a").await;
    again.expect_body(json!({ "n": 2 })).await;
    again.expect_silence().await;
}

#[tokio::test]
async fn values_come_before_what_the_mailbox_has() {
    let world = World::new().await;
    world.store("a", [7]).await;
    world.keep(user("a"), "x", 1).await;
    let (mut client, _) = world.connect("a").await;
    client.expect_body(json!({ "n": 1 })).await;
    super::expect(&mut client, 1, [7]).await;
}
