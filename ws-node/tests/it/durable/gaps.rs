//! What will not come any more is announced, with the reason.

use gim_proto::Uid;
use serde_json::json;

use super::{World, epoch, expect};
use crate::support::client::Client;

#[tokio::test]
async fn what_a_full_mailbox_gave_up_is_a_gap() {
    let world = World::with(|config| config.mailbox.messages = 5).await;
    world.store("a", 1..=8).await;
    let (mut client, _) = world.connect("a").await;
    assert_eq!(client.expect_notice("gim.gap").await, json!({ "from": 1, "to": 3, "reason": "trimmed" }));
    expect(&mut client, 4, 4..=8).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn what_is_too_old_or_was_taken_back_is_a_gap() {
    let world = World::new().await;
    world.store("a", [1]).await;
    world.append("a", &world.message(2, |message| message.expires_ms = Some(1))).await;
    let taken_back = world.message(3, |_| {});
    world.append("a", &taken_back).await;
    world.store("a", [4]).await;
    let uid = Uid::parse("a").unwrap();
    assert!(world.node.node.mailboxes().cancel(&uid, &taken_back.message.id).await.unwrap());
    let (mut client, _) = world.connect("a").await;
    expect(&mut client, 1, [1]).await;
    assert_eq!(client.expect_notice("gim.gap").await, json!({ "from": 2, "to": 3, "reason": "expired" }));
    expect(&mut client, 4, [4]).await;
    assert_eq!(client.ask("gim.ack", json!({ "offset": 4 })).await, json!({}));
}

#[tokio::test]
async fn on_acc_a_gap_is_passed_over() {
    let world = World::with(|config| config.mailbox.messages = 1).await;
    world.store("a", 1..=3).await;
    let mut client = Client::connect(world.node.public, "/acc?uid=a&msg_code=1&ack=1").await;
    expect(&mut client, 3, [3]).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_living_session_that_finds_another_message_at_its_offset_begins_anew() {
    let world = World::new().await;
    world.store("a", 1..=2).await;
    let (mut client, to) = world.connect("a").await;
    expect(&mut client, 1, 1..=2).await;
    client.ask("gim.ack", json!({ "offset": 1 })).await;
    // As after a store came back without its last writes, and gave the offset to another message.
    let (other, at) = (world.message(9, |_| {}), gim_proxy_sdk::mailbox::Position { epoch: epoch(&client), offset: 2 });
    world.hint(&to, &[(&other, at)]).await;
    let gap = client.expect_notice("gim.gap").await;
    // A new one: what the client says of the one before must not count for the other message.
    let anew = gap["epoch"].as_u64().unwrap();
    assert!(anew > epoch(&client), "{gap}");
    assert_eq!(gap, json!({ "from": 2, "to": 2, "reason": "reset", "epoch": anew }));
    expect(&mut client, 2, [2]).await;
    world.push("a", &to, 3).await;
    expect(&mut client, 3, [3]).await;
}

#[tokio::test]
async fn a_hint_of_another_epoch_has_the_session_ask_and_nothing_is_lost() {
    let world = World::new().await;
    let (mut client, to) = world.connect("a").await;
    let sent = world.message(1, |_| {});
    let at = world.append("a", &sent).await;
    let stray = gim_proxy_sdk::mailbox::Position { epoch: at.epoch - 1, offset: 7 };
    world.hint(&to, &[(&sent, stray)]).await;
    expect(&mut client, 1, [1]).await;
    client.expect_silence().await;
}
