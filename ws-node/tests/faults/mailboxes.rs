//! Durable messages when Redis goes and comes back with nothing.

use gim_proxy_sdk::testing::RedisServer;
use serde_json::json;

use crate::support::client::Client;
use crate::support::node::{NodeProcess, Spec};
use crate::support::{eventually, http};

/// Accepts a durable message as soon as the queue takes it.
async fn accept(node: &NodeProcess, n: u64) {
    let message = json!({ "to_uid": "a", "class": "durable", "data": { "n": n } });
    eventually("the message to be accepted", || async {
        let (status, _) = http::post(node.admin, "/api/v1/messages", &message).await;
        (status == 202).then_some(())
    })
    .await;
}

async fn expect(client: &mut Client, offset: u64, n: u64) {
    let push = client.expect_body(json!({ "n": n })).await;
    assert_eq!(push.offset, Some(offset), "{push:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connected_client_is_told_that_its_mailbox_began_anew_and_misses_nothing_after() {
    let mut redis = RedisServer::start().await;
    let node = Spec::new(&redis).start().await;
    let mut client = Client::user(node.public, "a").await;
    let mut epoch = client.welcome["epoch"].as_u64().unwrap();
    for round in 0..3 {
        for n in 1..=3 {
            accept(&node, n).await;
            expect(&mut client, n, n).await;
        }
        client.command("", "gim.ack", json!({ "offset": 2 })).await;
        client.expect_silence().await;
        redis.stop();
        client.command("late", "gim.ack", json!({ "offset": 3 })).await;
        client.expect_error("late", 20007).await;
        redis.restart().await;
        let gap = client.expect_notice("gim.gap").await;
        assert_eq!((&gap["reason"], &gap["from"], &gap["to"]), (&json!("reset"), &json!(1), &json!(0)), "{gap}");
        let new = gap["epoch"].as_u64().unwrap();
        assert!(new > epoch, "round {round}: {gap}");
        epoch = new;
    }
    let resumed = format!("/ws?uid=a&msg_code=1&epoch={epoch}&offset=0");
    eventually("logins to be let in", || async {
        let mut client = Client::try_open(node.public, &resumed).await.ok()?;
        let welcome = client.expect_notice("gim.welcome").await;
        (welcome["epoch"] == epoch).then_some(())
    })
    .await;
}
