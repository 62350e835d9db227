//! A node says again what it holds, under another incarnation.

use std::collections::HashSet;

use gim_proto::{Fence, Incarnation, SessionId};
use gim_proxy_sdk::directory::{Directory, Held, NodeRef};

use super::world::{RedisWorld, Session, World, tgid, uid};

fn held(name: &str, session: Session, groups: &[&str]) -> Held {
    Held {
        uid: uid(name),
        session: session.id,
        fence: session.fence,
        groups: groups.iter().map(|group| tgid(group)).collect(),
    }
}

/// The same node after it has lost its lease.
fn risen(world: &RedisWorld) -> NodeRef {
    let node = NodeRef { incarnation: Incarnation::mint(), ..world.here().clone() };
    world.live.set(vec![node.clone(), world.there().clone()]);
    node
}

#[tokio::test]
async fn sessions_and_groups_are_recorded_under_the_new_incarnation() {
    let world = RedisWorld::new().await;
    let (session, _, _) = world.connect("1", None).await;
    world.join("1", session, "left_meanwhile").await;
    let node = risen(&world);
    assert_eq!(world.owner("1").await, None);
    assert_eq!(world.directory.reassert(&node, &[held("1", session, &["a", "b"])]).await.unwrap(), [true]);
    let owner = world.owner("1").await.unwrap();
    assert_eq!((owner.session, owner.fence, &owner.node), (session.id, session.fence, &node));
    assert_eq!(world.groups_of("1").await, HashSet::from([tgid("a"), tgid("b")]));
    assert!(world.join("1", session, "c").await, "it can go on");
    let bucket = gim_proto::bucket_of(&uid("1"));
    assert!(!world.ask::<bool>(&["EXISTS", &world.keys.users_at(bucket, &world.here().incarnation)]).await);
    assert!(world.ask::<bool>(&["SISMEMBER", &world.keys.users_at(bucket, &node.incarnation), "1"]).await);
}

#[tokio::test]
async fn what_redis_has_lost_is_there_again() {
    let world = RedisWorld::new().await;
    let mut sessions = Vec::new();
    for user in 0..600 {
        let name = user.to_string();
        let (session, _, _) = world.connect(&name, None).await;
        sessions.push(held(&name, session, &["a"]));
    }
    let mine: Vec<String> = world.ask(&["KEYS", &format!("*{}:*", world.keys.prefix())]).await;
    for some in mine.chunks(1_000) {
        let words: Vec<&str> = std::iter::once("DEL").chain(some.iter().map(String::as_str)).collect();
        world.ask::<i64>(&words).await;
    }
    assert_eq!(world.owner("1").await, None);
    let node = risen(&world);
    assert_eq!(world.directory.reassert(&node, &sessions).await.unwrap(), vec![true; 600]);
    assert_eq!(world.directory.reassert(&node, &sessions).await.unwrap(), vec![true; 600], "once more does no harm");
    let owner = world.owner("599").await.unwrap();
    assert_eq!((owner.session, owner.fence), (sessions[599].session, sessions[599].fence));
    let (_, _, groups) = world.connect("0", Some(sessions[0].session)).await;
    assert_eq!(groups, [tgid("a")]);
}

#[tokio::test]
async fn a_higher_fence_wins_and_a_lower_one_gives_way() {
    let world = RedisWorld::new().await;
    let (old, _, _) = world.connect("1", None).await;
    let (new, _, _) = world.connect_at("1", world.there(), None).await;
    world.join("1", new, "b").await;
    let node = risen(&world);
    assert_eq!(world.directory.reassert(&node, &[held("1", old, &["a"])]).await.unwrap(), [false]);
    assert_eq!(world.owner("1").await.unwrap().session, new.id);
    assert_eq!(world.groups_of("1").await, HashSet::from([tgid("b")]), "the owner's groups are not touched");
    let newer = Session { id: SessionId::mint(), fence: Fence(new.fence.0 + 1) };
    assert_eq!(world.directory.reassert(&node, &[held("1", newer, &["c"])]).await.unwrap(), [true]);
    assert_eq!(world.owner("1").await.unwrap().session, newer.id);
    assert_eq!(world.groups_of("1").await, HashSet::from([tgid("c")]));
    let bucket = gim_proto::bucket_of(&uid("1"));
    assert!(!world.ask::<bool>(&["EXISTS", &world.keys.users_at(bucket, &world.there().incarnation)]).await);
    let twin = Session { id: SessionId::mint(), fence: newer.fence };
    assert_eq!(world.directory.reassert(&node, &[held("1", twin, &[])]).await.unwrap(), [false], "equal is not lower");
}

#[tokio::test]
async fn a_session_without_groups_leaves_none_behind() {
    let world = RedisWorld::new().await;
    let (session, _, _) = world.connect("1", None).await;
    world.join("1", session, "a").await;
    let node = risen(&world);
    assert_eq!(world.directory.reassert(&node, &[held("1", session, &[])]).await.unwrap(), [true]);
    assert!(!world.ask::<bool>(&["EXISTS", &world.keys.user_groups(&uid("1"))]).await);
}
