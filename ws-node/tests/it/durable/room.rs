//! All outboxes of a node together have a bound: clients that do not read cannot take the memory of those who do.

use std::time::Duration;

use bytes::Bytes;
use gim_msg_queue::config::ByteSize;
use gim_proto::Tgid;
use gim_proxy_sdk::RunProxy;

use super::World;
use crate::support::client::Client;
use crate::support::raw::{Raw, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_clients_share_what_is_left_and_others_get_everything() {
    const STALLED: usize = 8;
    let world = World::with(|config| {
        config.session.outbox_total = ByteSize::mib(2);
        config.session.outbox_bytes = ByteSize::mib(4);
        config.session.write_progress = Duration::from_secs(60);
    })
    .await;
    let mut stalled = Vec::new();
    for n in 0..STALLED {
        let mut client = Raw::connect_narrow(world.node.public, &format!("/acc?uid=slow-{n}&msg_code=1")).await;
        client.send(&text(br#"{"seq":"1","cmd":"gim.join","data":{"tgid":"g"}}"#)).await;
        client.frame().await;
        stalled.push(client);
    }
    let mut quick = Client::user(world.node.public, "quick").await;
    quick.join("g").await;
    let group = Tgid::parse("g").unwrap();
    for n in 0..400_u32 {
        let message = Bytes::from(vec![b'a' + u8::try_from(n % 26).unwrap(); 32 * 1024]);
        world.node.node.proxy().send_msg_to_group(&group, message.clone(), None).await.unwrap();
        assert_eq!(quick.data().await, message);
    }
    let waiting = world.metric("gim_outbox_bytes").await;
    let most = 2.0 * 1024.0 * 1024.0 + 100.0 * 1024.0 * f64::from(u32::try_from(STALLED).unwrap());
    assert!(waiting > 256.0 * 1024.0 && waiting < most, "{waiting}");
    assert!(world.metric("gim_outbox_total_reached_total").await > 0.0);
    quick.expect_silence().await;
}
