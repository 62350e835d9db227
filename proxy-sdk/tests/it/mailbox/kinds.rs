//! Mailboxes behind Sentinel and in a cluster, where masters change.

use gim_proxy_sdk::mailbox::{Arrival, MailboxBounds, Mailboxes};
use gim_proxy_sdk::testing::{RedisCluster, SentinelSet};

use super::world::{RedisWorld, World, lane, post, uid};
use crate::directory::world::eventually;

#[tokio::test]
async fn a_slot_that_moves_takes_its_mailboxes_along() {
    let cluster = RedisCluster::start().await;
    let world = RedisWorld::with(cluster.options(), MailboxBounds::default()).await;
    let before = world.append(&lane(0), &[post(1, &["a", "b", "c"])]).await;
    cluster.move_slot_of(&world.keys.user_bucket(&uid("a"))).await;
    assert_eq!(world.append(&lane(0), &[post(1, &["a", "b", "c"])]).await, before);
    world.append(&lane(0), &[post(2, &["a"])]).await;
    assert_eq!(world.read("a", 0).await, ["m1@1", "m2@2"]);
    assert_eq!(world.opens("a", 1, Arrival::Anew).await.last, 2);
}

#[tokio::test]
async fn behind_sentinel_a_master_that_becomes_a_replica_is_left() {
    let sentinel = SentinelSet::start().await;
    let world = RedisWorld::with(sentinel.options(), MailboxBounds::default()).await;
    world.append(&lane(0), &[post(1, &["a"])]).await;
    sentinel.fail_over().await;
    let posts = [post(1, &["a"]), post(2, &["a"])];
    eventually("an append", async || world.mailboxes.append(&lane(0), &posts).await.is_ok()).await;
    eventually("a read", async || world.read("a", 0).await == ["m1@1", "m2@2"]).await;
}
