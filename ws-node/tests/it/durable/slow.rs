//! A client that does not read: what it was not handed stays in its mailbox, and nobody else is held up.

use std::time::Duration;

use gim_proto::Payload;
use gim_proxy_sdk::RunProxy;
use serde_json::{Value, json};

use super::World;
use crate::support::raw::Raw;

const SIZE: usize = 32 * 1024;

async fn store_large(world: &World, uid: &str, count: u64) {
    let filling = "x".repeat(SIZE);
    for n in 1..=count {
        let body = json!({ "n": n, "x": filling }).to_string();
        world.append(uid, &world.message(n, |message| message.payload = Payload::Json(body.into()))).await;
    }
}

fn patient(config: &mut gim_ws_node::config::Config) {
    config.mailbox.bytes = gim_msg_queue::config::ByteSize::mib(64);
    config.session.write_progress = Duration::from_secs(60);
}

/// Reads on until this many durable messages have come. Returns what else came before the last of them.
async fn read_all(client: &mut Raw, count: u64) -> Vec<Value> {
    let (mut next, mut others) = (1, Vec::new());
    while next <= count {
        let frame: Value = serde_json::from_slice(&client.frame().await.payload).unwrap();
        if frame.get("offset").is_none() {
            others.push(frame);
            continue;
        }
        assert_eq!((&frame["offset"], &frame["response"]["a"]["n"]), (&json!(next), &json!(next)));
        next += 1;
    }
    others
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_a_page_at_most_and_gets_everything_when_it_reads_again() {
    const COUNT: u64 = 600;
    let world = World::with(patient).await;
    store_large(&world, "slow", COUNT).await;
    let mut slow = Raw::connect_narrow(world.node.public, "/acc?uid=slow&msg_code=1&ack=1").await;
    crate::support::eventually("the socket to be full", || async {
        (world.metric("gim_outboxes_waiting").await > 0.0).then_some(())
    })
    .await;
    for _ in 0..20 {
        let waiting = world.metric("gim_outbox_bytes").await;
        assert!(waiting < 400.0 * 1024.0, "{waiting}");
        assert!(world.metric("gim_sessions_behind").await <= 1.0);
    }
    // Live messages are not held back by what is left of the replay.
    let uid = gim_proto::Uid::parse("slow").unwrap();
    world.node.node.proxy().send_res_data_to_user(&uid, &json!({ "live": true })).await.unwrap();
    let others = read_all(&mut slow, COUNT).await;
    assert_eq!(others.len(), 1, "{others:?}");
    assert_eq!(others[0]["response"]["a"], json!({ "live": true }));
    crate::support::eventually("it to have caught up", || async {
        (world.metric("gim_sessions_behind").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_of_the_outbox_close_nobody_who_is_only_behind_in_its_mailbox() {
    let world = World::with(|config| {
        patient(config);
        config.session.outbox_bytes = gim_msg_queue::config::ByteSize::kib(1);
        config.session.outbox_frames = 1;
        config.session.on_slow = gim_ws_node::config::OnSlow::Close;
    })
    .await;
    store_large(&world, "slow", 300).await;
    let mut slow = Raw::connect_narrow(world.node.public, "/acc?uid=slow&msg_code=1").await;
    assert!(read_all(&mut slow, 300).await.is_empty());
}
