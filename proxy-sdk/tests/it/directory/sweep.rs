//! Nodes that died are forgotten, and nobody else is.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use gim_proto::Tgid;
use gim_proxy_sdk::directory::Directory;
use tokio::time::Instant;

use super::world::{RedisWorld, World, eventually, tgid};
use crate::support::LONG;

/// Sweeps until the node is not registered any more.
async fn forget(world: &RedisWorld, directory: &dyn Directory) {
    eventually("the end of the sweep", async || {
        directory.sweep().await.unwrap();
        !world.is_registered(world.there()).await
    })
    .await;
}

async fn die(world: &RedisWorld) {
    world.register(world.there()).await;
    world.live.set(vec![world.here().clone()]);
}

async fn keys_of_the_dead(world: &RedisWorld) -> Vec<String> {
    let pattern = format!("*{}*{}*", world.keys.prefix(), world.there().incarnation);
    world.ask(&["KEYS", &pattern]).await
}

async fn holders(world: &RedisWorld, group: &str) -> HashSet<String> {
    world.ask(&["SMEMBERS", &world.keys.group(&tgid(group))]).await
}

#[tokio::test]
async fn users_of_a_dead_node_are_swept_and_those_who_came_back_are_not() {
    let world = RedisWorld::new().await;
    let names: Vec<String> = (0..300).map(|user| user.to_string()).collect();
    let sessions = join_all(names.iter().map(|name| world.connect_at(name, world.there(), None))).await;
    let sessions: Vec<_> = sessions.into_iter().map(|(session, ..)| session).collect();
    for group in ["a", "b"] {
        world.directory.add_holder(&tgid(group), world.there()).await.unwrap();
        world.directory.add_holder(&tgid(group), world.here()).await.unwrap();
    }
    join_all(names.iter().zip(&sessions).map(|(name, session)| world.join(name, *session, "a"))).await;
    world.join("299", sessions[299], "b").await;
    die(&world).await;
    let back = join_all(names[..50].iter().zip(&sessions).map(|(name, old)| world.connect(name, Some(old.id)))).await;
    forget(&world, &*world.directory).await;

    for (name, (session, _, groups)) in names.iter().zip(&back) {
        assert_eq!(world.owner(name).await.unwrap().session, session.id);
        assert_eq!(*groups, [tgid("a")]);
    }
    assert_eq!(world.directory.stats().swept, 250);
    for name in &names[50..] {
        assert_eq!(world.record(name).await, None);
    }
    assert_eq!(keys_of_the_dead(&world).await, Vec::<String>::new());
    for group in ["a", "b"] {
        assert_eq!(holders(&world, group).await, HashSet::from([world.here().incarnation.to_string()]));
    }
}

#[tokio::test]
async fn groups_outlive_the_node_by_the_grace() {
    let world = RedisWorld::new().await;
    let (one, _, _) = world.connect_at("1", world.there(), None).await;
    let (other, _, _) = world.connect_at("2", world.there(), None).await;
    for (name, session) in [("1", one), ("2", other)] {
        world.join(name, session, "a").await;
    }
    die(&world).await;
    eventually("the records to go", async || {
        world.directory.sweep().await.unwrap();
        world.record("1").await.is_none() && world.record("2").await.is_none()
    })
    .await;
    let (_, _, groups) = world.connect("1", Some(one.id)).await;
    assert_eq!(groups, [tgid("a")]);
    world.grace_passes("2").await;
    let (_, _, groups) = world.connect("2", Some(other.id)).await;
    assert_eq!(groups, Vec::<Tgid>::new());
}

#[tokio::test]
async fn many_users_in_few_buckets_and_several_dead_nodes_are_swept_one_after_another() {
    let world = RedisWorld::new().await;
    let names: Vec<String> = (0..3_000).map(|user| format!("u{user}")).collect();
    join_all(names.iter().map(|name| world.connect_at(name, world.there(), None))).await;
    // As if all had been in one bucket.
    let crowded = world.keys.users_at(7, &world.there().incarnation);
    let uids: Vec<String> = (0..500).map(|user| format!("c{user}")).collect();
    for uid in &uids {
        let record = format!("1 1 {} {} n2", gim_proto::SessionId::mint(), world.there().incarnation);
        world.ask::<i64>(&["HSET", &world.keys.bucket(7), uid, &record]).await;
        world.ask::<i64>(&["SADD", &crowded, uid]).await;
    }
    let third = super::world::node("n3");
    world.register(&third).await;
    world.connect_at("third", &third, None).await;
    die(&world).await;
    // Two processes at it.
    let another = world.another().await;
    tokio::join!(forget(&world, &*world.directory), forget(&world, &*another));
    eventually("the third", async || {
        world.directory.sweep().await.unwrap();
        !world.is_registered(&third).await
    })
    .await;
    assert_eq!(world.directory.stats().swept + another.stats().swept, 3_501);
    assert_eq!(keys_of_the_dead(&world).await, Vec::<String>::new());
    assert_eq!(world.record("third").await, None);
}

#[tokio::test]
async fn a_step_is_bounded() {
    let world = RedisWorld::new().await;
    let names: Vec<String> = (0..5_000).map(|user| format!("u{user}")).collect();
    join_all(names.iter().map(|name| world.connect_at(name, world.there(), None))).await;
    die(&world).await;
    let last = std::cell::Cell::new(0);
    eventually("the end of the sweep", async || {
        world.directory.sweep().await.unwrap();
        let swept = world.directory.stats().swept;
        let step = swept - last.replace(swept);
        assert!(step < 2_500, "a quarter of the buckets in a step, not {step} users");
        !world.is_registered(world.there()).await
    })
    .await;
    assert_eq!(world.directory.stats().swept, 5_000);
}

#[tokio::test]
async fn who_lives_or_holds_a_lease_is_left_alone() {
    let world = RedisWorld::new().await;
    world.register(world.here()).await;
    world.connect("1", None).await;
    let (leased, _, _) = world.connect_at("2", world.there(), None).await;
    let lease = format!(r#"{{"incarnation":"{}","worker":"w","rpc":"x"}}"#, world.there().incarnation);
    let _: String = world.ask(&["SET", &world.keys.node(&world.there().id), &lease]).await;
    die(&world).await;
    let end = Instant::now() + Duration::from_millis(1_500);
    assert!(end < Instant::now() + LONG);
    // Longer than it takes to be sure.
    while Instant::now() < end {
        world.directory.sweep().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(world.record("1").await.is_some() && world.record("2").await.unwrap().contains(&leased.id.to_string()));
    assert!(world.is_registered(world.here()).await && world.is_registered(world.there()).await);
    // The view caught up.
    world.live.set(vec![world.here().clone(), world.there().clone()]);
    world.directory.sweep().await.unwrap();
    assert_eq!(world.owner("2").await.unwrap().session, leased.id);
}

#[tokio::test]
async fn a_name_in_the_index_goes_once_it_is_sure_to_be_dead() {
    let world = RedisWorld::new().await;
    world.register(world.there()).await;
    // Just begun, or dead: nobody is in the group there any more, so that only a message to it finds the name.
    world.directory.add_holder(&tgid("a"), world.there()).await.unwrap();
    world.live.set(vec![world.here().clone()]);
    assert_eq!(world.directory.holders(&[tgid("a")]).await.unwrap(), []);
    world.directory.sweep().await.unwrap();
    assert_eq!(holders(&world, "a").await.len(), 1, "not yet");
    forget(&world, &*world.directory).await;
    world.directory.holders(&[tgid("a")]).await.unwrap();
    world.directory.sweep().await.unwrap();
    assert!(holders(&world, "a").await.is_empty());
}

#[tokio::test]
async fn names_of_a_dead_node_go_although_all_its_users_came_back_elsewhere() {
    let world = RedisWorld::new().await;
    let (session, _, _) = world.connect_at("1", world.there(), None).await;
    world.directory.add_holder(&tgid("a"), world.there()).await.unwrap();
    world.join("1", session, "a").await;
    die(&world).await;
    let (_, _, groups) = world.connect("1", Some(session.id)).await;
    assert_eq!(groups, [tgid("a")]);
    forget(&world, &*world.directory).await;
    world.directory.sweep().await.unwrap();
    assert!(holders(&world, "a").await.is_empty());
}
