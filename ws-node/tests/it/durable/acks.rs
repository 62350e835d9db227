//! Acknowledgements, and what counts as one.

use serde_json::{Value, json};

use super::{World, epoch, expect};
use crate::support::client::Client;
use crate::support::eventually;

#[tokio::test]
async fn an_acknowledgement_is_of_everything_up_to_it() {
    let world = World::new().await;
    world.store("a", 1..=4).await;
    let (mut client, _) = world.connect("a").await;
    expect(&mut client, 1, 1..=4).await;
    assert_eq!(client.ask("gim.ack", json!({ "offset": 3 })).await, json!({}));
    assert_eq!(client.ask("gim.ack", json!({ "offset": 1 })).await, json!({}), "it counts already");
    client.close().await;
    let (mut again, _) = world.connect("a").await;
    expect(&mut again, 4, [4]).await;
    again.command("", "gim.ack", json!({ "offset": 4 })).await;
    again.expect_silence().await;
    eventually("the acknowledgement to be kept", || async {
        let mut client = world.connect("a").await.0;
        client.command("silence", "gim.ping", Value::Null).await;
        (client.json().await["seq"] == "silence").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_never_handed_is_not_acknowledged() {
    let world = World::new().await;
    world.store("a", 1..=2).await;
    let (mut client, _) = world.connect("a").await;
    expect(&mut client, 1, 1..=2).await;
    for (data, seq) in [
        (json!({ "offset": 3 }), "1"),
        (json!({ "offset": 3 }), ""),
        (json!({ "offset": "1" }), "2"),
        (json!({}), "3"),
        (json!({ "offset": 1, "epoch": epoch(&client) + 1 }), "4"),
        (json!({ "offset": 1, "epoch": "x" }), "5"),
    ] {
        client.command(seq, "gim.ack", data).await;
        client.expect_error(seq, 20002).await;
    }
    assert_eq!(client.ask("gim.ack", json!({ "offset": 2, "epoch": epoch(&client) })).await, json!({}));
    assert_eq!(client.ask("gim.ack", json!({ "offset": 0 })).await, json!({}));
}

#[tokio::test]
async fn who_resumes_may_acknowledge_what_it_resumed_from() {
    let world = World::new().await;
    world.store("a", 1..=3).await;
    let known = epoch(&world.connect("a").await.0);
    let mut client = world.resume("a", known, 3).await;
    assert_eq!(client.ask("gim.ack", json!({ "offset": 3 })).await, json!({}));
    client.command("x", "gim.ack", json!({ "offset": 4 })).await;
    client.expect_error("x", 20002).await;
}

#[tokio::test]
async fn the_newcomer_gets_what_the_superseded_has_not_acknowledged() {
    let world = World::new().await;
    world.store("a", 1..=3).await;
    let (mut first, _) = world.connect("a").await;
    expect(&mut first, 1, 1..=3).await;
    first.ask("gim.ack", json!({ "offset": 1 })).await;
    let (mut second, _) = world.connect("a").await;
    first.command("late", "gim.ack", json!({ "offset": 3 })).await;
    first.expect_close(4501).await;
    expect(&mut second, 2, 2..=3).await;
    second.close().await;
    let (mut third, _) = world.connect("a").await;
    expect(&mut third, 2, 2..=3).await;
}

#[tokio::test]
async fn on_acc_written_is_acknowledged_unless_the_client_says_that_it_acknowledges() {
    let world = World::new().await;
    world.store("a", 1..=3).await;
    let mut careful = Client::connect(world.node.public, "/acc?uid=a&msg_code=1&ack=1").await;
    expect(&mut careful, 1, 1..=3).await;
    assert_eq!(careful.ask("gim.ack", json!({ "offset": 1 })).await, json!({}));
    careful.close().await;
    let mut old = Client::connect(world.node.public, "/acc?uid=a&msg_code=1").await;
    expect(&mut old, 2, 2..=3).await;
    old.close().await;
    eventually("what was written to count as acknowledged", || async {
        let (mut client, _) = world.connect("a").await;
        client.command("silence", "gim.ping", Value::Null).await;
        (client.json().await["seq"] == "silence").then_some(())
    })
    .await;
}
