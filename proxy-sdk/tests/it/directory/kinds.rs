//! The directory behind Sentinel and in a cluster, where masters change.

use futures_util::future::join_all;
use gim_proto::Uid;
use gim_proxy_sdk::directory::{ClaimRequest, Directory, Freshness, OnDuplicate};
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::testing::{RedisCluster, SentinelSet};

use super::world::{RedisWorld, World, eventually, tgid, uid};

const USERS: usize = 200;

fn names() -> Vec<String> {
    (0..USERS).map(|user| format!("u{user}")).collect()
}

/// Claims until it is granted.
async fn claims_at_last(world: &RedisWorld, name: &str) {
    eventually("a claim", async || {
        let session = gim_proto::SessionId::mint();
        let (uid, node, on_duplicate) = (uid(name), world.here().clone(), OnDuplicate::Replace);
        world.directory.claim(ClaimRequest { uid, node, session, on_duplicate, resume: None }).await.is_ok()
    })
    .await;
}

/// Everything works for users of many slots.
async fn serves(world: &RedisWorld) {
    let names = names();
    let sessions = join_all(names.iter().map(|name| world.connect(name, None))).await;
    join_all(names.iter().zip(&sessions).map(|(name, (session, ..))| world.join(name, *session, name))).await;
    let tgids: Vec<_> = names.iter().map(|name| tgid(name)).collect();
    join_all(tgids.iter().map(|tgid| world.directory.add_holder(tgid, world.here()))).await;
    assert_eq!(world.directory.holders(&tgids).await.unwrap(), std::slice::from_ref(world.here()));
    let uids: Vec<Uid> = names.iter().map(|name| uid(name)).collect();
    let owners = world.directory.lookup(&uids, Freshness::Current).await.unwrap();
    let found = owners.into_iter().map(|owner| owner.unwrap().session);
    assert!(found.eq(sessions.iter().map(|(session, ..)| session.id)));
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_users_along() {
    let cluster = RedisCluster::start().await;
    let world = RedisWorld::with(Store::new(cluster.options()), cluster.options()).await;
    serves(&world).await;
    let (session, _, _) = world.connect("u1", None).await;
    cluster.move_slot_of(&world.keys.user_bucket(&uid("u1"))).await;
    assert!(world.join("u1", session, "moved").await, "the script is new to that server");
    assert_eq!(world.owner("u1").await.unwrap().session, session.id);
    serves(&world).await;
}

#[tokio::test]
async fn dead_nodes_are_swept_in_a_cluster() {
    let world = RedisWorld::in_cluster().await;
    let names = names();
    let sessions = join_all(names.iter().map(|name| world.connect_at(name, world.there(), None))).await;
    join_all(names.iter().zip(&sessions).map(|(name, (session, ..))| world.join(name, *session, "a"))).await;
    world.directory.add_holder(&tgid("a"), world.there()).await.unwrap();
    world.register(world.there()).await;
    world.live.set(vec![world.here().clone()]);
    eventually("the end of the sweep", async || {
        world.directory.sweep().await.unwrap();
        !world.is_registered(world.there()).await
    })
    .await;
    assert_eq!(world.directory.stats().swept, USERS as u64);
    assert_eq!(world.ask::<u64>(&["SCARD", &world.keys.group(&tgid("a"))]).await, 0);
}

#[tokio::test]
async fn a_master_that_dies_is_followed_by_its_replica() {
    let mut cluster = RedisCluster::start_with(None, 1).await;
    let world = RedisWorld::with(Store::new(cluster.options()), cluster.options()).await;
    serves(&world).await;
    let bucket = world.keys.user_bucket(&uid("u1"));
    let holder = cluster.holder_of(&bucket).await;
    cluster.stop(holder);
    cluster.failed_over(&bucket, holder).await;
    for name in names() {
        claims_at_last(&world, &name).await;
    }
    serves(&world).await;
}

#[tokio::test]
async fn behind_sentinel_a_master_that_becomes_a_replica_is_left() {
    let sentinel = SentinelSet::start().await;
    let world = RedisWorld::with(Store::new(sentinel.options()), sentinel.options()).await;
    serves(&world).await;
    sentinel.fail_over().await;
    claims_at_last(&world, "u1").await;
    serves(&world).await;
}
