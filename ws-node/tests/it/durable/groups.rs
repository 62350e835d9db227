//! Durable messages to groups: stored for everybody who is in them here, temporary members included.

use gim_proto::Uid;
use serde_json::json;

use super::{World, epoch};

#[tokio::test]
async fn members_get_it_with_an_offset_and_again_when_they_come_back() {
    let world = World::new().await;
    let (mut a, _) = world.connect("a").await;
    let (mut b, _) = world.connect("b").await;
    let (mut c, _) = world.connect("c").await;
    for client in [&mut a, &mut b] {
        client.join("g").await;
    }
    b.join("h").await;
    let sent = world.message(1, |_| {});
    assert_eq!(world.fan(&["g", "h"], &sent).await, 2, "each session once");
    for client in [&mut a, &mut b] {
        let push = client.expect_body(json!({ "n": 1 })).await;
        assert_eq!((push.msg_type, push.offset), (2, Some(1)), "{push:?}");
        client.expect_silence().await;
    }
    c.expect_silence().await;
    // It comes again, as after a worker's crash.
    assert_eq!(world.fan(&["g", "h"], &sent).await, 2);
    a.expect_silence().await;
    let known = epoch(&a);
    a.close().await;
    let mut again = world.resume("a", known, 0).await;
    let push = again.expect_body(json!({ "n": 1 })).await;
    assert_eq!((push.msg_type, push.offset), (2, Some(1)), "{push:?}");
}

#[tokio::test]
async fn whom_it_excepts_and_groups_of_nobody_store_nothing() {
    let world = World::new().await;
    let (mut a, _) = world.connect("a").await;
    a.join("g").await;
    let sent = world.message(1, |message| message.except = vec![Uid::parse("a").unwrap()]);
    assert_eq!(world.fan(&["g"], &sent).await, 0);
    assert_eq!(world.fan(&["nobody"], &world.message(2, |_| {})).await, 0);
    a.expect_silence().await;
}

#[tokio::test]
async fn direct_and_group_messages_of_one_user_have_one_order() {
    let world = World::new().await;
    let (mut a, to) = world.connect("a").await;
    a.join("g").await;
    for n in (1..=20).step_by(2) {
        world.push("a", &to, n).await;
        assert_eq!(world.fan(&["g"], &world.message(n + 1, |_| {})).await, 1);
    }
    for n in 1..=20 {
        let push = a.expect_body(json!({ "n": n })).await;
        assert_eq!(push.offset, Some(n), "{push:?}");
    }
}
