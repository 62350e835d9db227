//! What every directory promises: each sentence is tried on the one in memory, on the one in Redis and on the one in a
//! Redis Cluster, where a script that touched two slots would fail.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use gim_proto::{Fence, SessionId, Tgid};
use gim_proxy_sdk::directory::{Claim, Freshness, Held, OnDuplicate};

use super::world::{LocalWorld, RedisWorld, Session, World, tgid, uid};

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod local {
            use super::LocalWorld;
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(&LocalWorld::new()).await;
            })*
        }

        mod redis {
            use super::RedisWorld;
            $(#[tokio::test]
            async fn $name() {
                super::$name(&RedisWorld::new().await).await;
            })*
        }

        mod cluster {
            use super::RedisWorld;
            $(#[tokio::test]
            async fn $name() {
                super::$name(&RedisWorld::in_cluster().await).await;
            })*
        }
    };
}

promises! {
    a_newcomer_replaces_the_previous_session_with_a_higher_fence,
    where_the_policy_asks_for_it_the_owner_stays,
    only_the_owner_releases_joins_and_leaves,
    a_fence_is_above_all_before_it_also_after_a_release_and_near_the_time,
    groups_are_kept_for_a_client_that_comes_back_in_time,
    groups_end_with_the_session_for_a_client_that_presents_none_or_another,
    groups_are_carried_over_while_the_previous_session_is_still_there,
    a_group_left_is_not_kept,
    groups_of_any_name_are_kept,
    holders_of_several_groups_are_named_once,
    owners_are_named_in_the_order_asked,
    what_a_session_still_owns_it_keeps_when_it_says_so_again,
}

async fn a_newcomer_replaces_the_previous_session_with_a_higher_fence(world: &impl World) {
    let (first, previous, _) = world.connect("1", None).await;
    assert_eq!(previous, None);
    let (second, previous, _) = world.connect_at("1", world.there(), None).await;
    assert!(second.fence > first.fence);
    let previous = previous.unwrap();
    assert_eq!((previous.session, previous.fence, &previous.node), (first.id, first.fence, world.here()));
    let owner = world.owner("1").await.unwrap();
    assert_eq!((owner.session, owner.fence, &owner.node), (second.id, second.fence, world.there()));
}

async fn where_the_policy_asks_for_it_the_owner_stays(world: &impl World) {
    for (name, policy) in [("1", OnDuplicate::Reject), ("2", OnDuplicate::CloseBoth)] {
        let (first, _, _) = world.connect(name, None).await;
        let (_, claim) = world.claim(name, world.there(), policy, None).await;
        assert!(matches!(claim, Claim::Taken { owner } if owner.session == first.id && &owner.node == world.here()));
        assert_eq!(world.owner(name).await.unwrap().session, first.id);
        assert!(world.disconnect(name, first).await);
        let (_, claim) = world.claim(name, world.there(), policy, None).await;
        assert!(matches!(claim, Claim::Granted { previous: None, .. }));
    }
}

async fn only_the_owner_releases_joins_and_leaves(world: &impl World) {
    let (old, _, _) = world.connect("1", None).await;
    let (new, _, _) = world.connect("1", None).await;
    let forged = Session { id: new.id, fence: Fence(new.fence.0 + 1) };
    for session in [old, forged] {
        assert!(!world.join("1", session, "a").await);
        assert!(!world.leave("1", session, "a").await);
        assert!(!world.disconnect("1", session).await);
    }
    assert!(world.groups_of("1").await.is_empty());
    assert!(world.disconnect("1", new).await);
    assert!(!world.disconnect("1", new).await);
    assert_eq!(world.owner("1").await, None);
}

async fn a_fence_is_above_all_before_it_also_after_a_release_and_near_the_time(world: &impl World) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let before = now();
    let mut last = Fence(0);
    for _ in 0..1_000 {
        let (session, _, _) = world.connect("1", None).await;
        assert!(session.fence > last);
        last = session.fence;
        world.disconnect("1", session).await;
    }
    assert!(u128::from(last.0) >= before);
    assert!(u128::from(last.0) <= now() + 1_000);
}

async fn groups_are_kept_for_a_client_that_comes_back_in_time(world: &impl World) {
    let (first, _, _) = world.connect("1", None).await;
    assert!(world.join("1", first, "a").await);
    assert!(world.join("1", first, "b").await);
    assert!(world.join("1", first, "a").await, "joining twice is joining once");
    world.disconnect("1", first).await;
    let (second, _, groups) = world.connect("1", Some(first.id)).await;
    assert_eq!(groups, [tgid("a"), tgid("b")]);
    world.disconnect("1", second).await;
    world.grace_passes("1").await;
    let (_, _, groups) = world.connect("1", Some(second.id)).await;
    assert!(groups.is_empty(), "the grace is over");
}

async fn groups_end_with_the_session_for_a_client_that_presents_none_or_another(world: &impl World) {
    for (name, resume) in [("1", None), ("2", Some(SessionId::mint()))] {
        let (first, _, _) = world.connect(name, None).await;
        world.join(name, first, "a").await;
        world.disconnect(name, first).await;
        let (_, _, groups) = world.connect(name, resume).await;
        assert!(groups.is_empty());
        let (_, _, groups) = world.connect(name, Some(first.id)).await;
        assert!(groups.is_empty(), "they are gone, not hidden");
        assert!(world.groups_of(name).await.is_empty());
    }
}

async fn groups_are_carried_over_while_the_previous_session_is_still_there(world: &impl World) {
    let (first, _, _) = world.connect("1", None).await;
    world.join("1", first, "a").await;
    let (second, previous, groups) = world.connect_at("1", world.there(), Some(first.id)).await;
    assert_eq!((previous.unwrap().session, groups), (first.id, vec![tgid("a")]));
    assert_eq!(world.groups_of("1").await, HashSet::from([tgid("a")]));
    let (_, _, groups) = world.connect("1", Some(first.id)).await;
    assert!(groups.is_empty());
    assert!(!world.disconnect("1", second).await);
}

async fn a_group_left_is_not_kept(world: &impl World) {
    let (first, _, _) = world.connect("1", None).await;
    world.join("1", first, "a").await;
    world.join("1", first, "b").await;
    assert!(world.leave("1", first, "a").await);
    world.disconnect("1", first).await;
    let (_, _, groups) = world.connect("1", Some(first.id)).await;
    assert_eq!(groups, [tgid("b")]);
}

async fn groups_of_any_name_are_kept(world: &impl World) {
    let names = ["message", "subscribe", "smessage", "1", "*", "session", "\u{e4}\u{1f600}", "%s", "\"", "a:b"];
    let (first, _, _) = world.connect("message", None).await;
    for name in names {
        assert!(world.join("message", first, name).await);
        world.directory().add_holder(&tgid(name), world.here()).await.unwrap();
        assert_eq!(world.directory().holders(&[tgid(name)]).await.unwrap(), std::slice::from_ref(world.here()));
    }
    world.disconnect("message", first).await;
    let (_, _, groups) = world.connect("message", Some(first.id)).await;
    assert_eq!(HashSet::<Tgid>::from_iter(groups), names.map(tgid).into());
}

async fn holders_of_several_groups_are_named_once(world: &impl World) {
    let (directory, here, there) = (world.directory(), world.here(), world.there());
    for (group, node) in [("a", here), ("a", here), ("b", here), ("b", there)] {
        directory.add_holder(&tgid(group), node).await.unwrap();
    }
    let holders = async |groups: &[&str]| {
        let tgids: Vec<Tgid> = groups.iter().map(|group| tgid(group)).collect();
        HashSet::from_iter(directory.holders(&tgids).await.unwrap())
    };
    assert_eq!(holders(&["a"]).await, HashSet::from([here.clone()]));
    assert_eq!(holders(&["a", "b", "c"]).await, HashSet::from([here.clone(), there.clone()]));
    directory.remove_holder(&tgid("a"), here).await.unwrap();
    directory.remove_holder(&tgid("b"), here).await.unwrap();
    assert_eq!(holders(&["a", "b"]).await, HashSet::from([there.clone()]));
    assert_eq!(directory.holders(&[]).await.unwrap(), []);
    assert!(directory.nodes().await.unwrap().contains(here));
}

async fn owners_are_named_in_the_order_asked(world: &impl World) {
    let mut sessions = Vec::new();
    for user in 0..50 {
        sessions.push(world.connect(&format!("u{user}"), None).await.0.id);
    }
    let names: Vec<_> = (0..100).rev().map(|user| uid(&format!("u{user}"))).collect();
    for freshness in [Freshness::Cached, Freshness::Current] {
        let owners = world.directory().lookup(&names, freshness).await.unwrap();
        let found: Vec<_> = owners.into_iter().map(|owner| owner.map(|owner| owner.session)).collect();
        let expected: Vec<_> = (0..100).rev().map(|user| sessions.get(user).copied()).collect();
        assert_eq!(found, expected);
        assert_eq!(world.directory().lookup(&[], freshness).await.unwrap(), []);
    }
}

async fn what_a_session_still_owns_it_keeps_when_it_says_so_again(world: &impl World) {
    let (old, _, _) = world.connect("1", None).await;
    let (new, _, _) = world.connect("1", None).await;
    let (other, _, _) = world.connect("2", None).await;
    let held = |name: &str, session: Session| Held {
        uid: uid(name),
        session: session.id,
        fence: session.fence,
        groups: Vec::new(),
    };
    let sessions = [held("1", old), held("1", new), held("2", other)];
    assert_eq!(world.directory().reassert(world.here(), &sessions).await.unwrap(), [false, true, true]);
    assert_eq!(world.owner("1").await.unwrap().session, new.id);
    assert!(world.directory().reassert(world.here(), &[]).await.unwrap().is_empty());
}
