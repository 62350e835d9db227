//! What every directory promises: each sentence is tried on the one in memory, on the one in Redis and on the one in a
//! Redis Cluster, where a script that touched two slots would fail.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    a_durable_member_is_one_connected_or_not_until_it_leaves,
    durable_groups_are_everybodys_who_owns_the_uid_whatever_becomes_of_the_temporary_ones,
    a_leave_ends_a_durable_membership_too,
    a_group_has_no_more_durable_members_than_its_bound,
    durable_members_of_several_groups_are_named_once,
    a_membership_that_is_joined_and_left_at_the_same_time_is_one_or_none,
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

const MANY: usize = 1_000;

async fn durable(world: &impl World, group: &str) -> HashSet<String> {
    let members = world.directory().durable_members(&[tgid(group)]).await.unwrap();
    members.iter().map(ToString::to_string).collect()
}

async fn a_durable_member_is_one_connected_or_not_until_it_leaves(world: &impl World) {
    let directory = world.directory();
    let (one, group) = (uid("1"), tgid("a"));
    assert!(directory.join_durably(&one, &group, MANY).await.unwrap());
    assert!(directory.join_durably(&one, &group, MANY).await.unwrap(), "joining twice is joining once");
    assert_eq!(durable(world, "a").await, HashSet::from(["1".to_owned()]));
    let (session, _, groups) = world.connect("1", None).await;
    assert_eq!(groups, std::slice::from_ref(&group));
    assert!(world.join("1", session, "a").await, "joining it for a while changes nothing");
    assert!(world.disconnect("1", session).await);
    assert_eq!(durable(world, "a").await, HashSet::from(["1".to_owned()]));
    assert!(directory.leave_durably(&one, &group).await.unwrap());
    assert!(!directory.leave_durably(&one, &group).await.unwrap());
    assert!(durable(world, "a").await.is_empty());
    let (_, _, groups) = world.connect("1", Some(session.id)).await;
    assert!(groups.is_empty());
    assert!(world.groups_of("1").await.is_empty());
}

async fn durable_groups_are_everybodys_who_owns_the_uid_whatever_becomes_of_the_temporary_ones(world: &impl World) {
    let kept = |groups: Vec<Tgid>| HashSet::<Tgid>::from_iter(groups);
    let (first, _, _) = world.connect("1", None).await;
    assert!(world.join("1", first, "a").await);
    assert!(world.join("1", first, "b").await);
    assert!(world.directory().join_durably(&uid("1"), &tgid("b"), MANY).await.unwrap());
    assert!(world.directory().join_durably(&uid("1"), &tgid("c"), MANY).await.unwrap());
    assert!(world.disconnect("1", first).await);
    let (second, _, groups) = world.connect("1", Some(first.id)).await;
    assert_eq!(kept(groups), ["a", "b", "c"].map(tgid).into());
    let (third, _, groups) = world.connect_at("1", world.there(), None).await;
    assert_eq!(kept(groups), ["b", "c"].map(tgid).into(), "who presents no session has the durable ones");
    assert!(!world.disconnect("1", second).await);
    let none = Duration::ZERO;
    assert!(world.directory().release(&uid("1"), third.id, third.fence, none).await.unwrap());
    let (fourth, _, groups) = world.connect("1", Some(third.id)).await;
    assert_eq!(kept(groups), ["b", "c"].map(tgid).into(), "no grace is of no matter to them");
    let held = Held { uid: uid("1"), session: fourth.id, fence: fourth.fence, groups: vec![tgid("b"), tgid("d")] };
    assert_eq!(world.directory().reassert(world.here(), &[held]).await.unwrap(), [true]);
    let (_, _, groups) = world.connect("1", None).await;
    assert_eq!(kept(groups), ["b", "c"].map(tgid).into());
}

async fn a_leave_ends_a_durable_membership_too(world: &impl World) {
    assert!(world.directory().join_durably(&uid("1"), &tgid("a"), MANY).await.unwrap());
    let (old, _, _) = world.connect("1", None).await;
    let (new, _, _) = world.connect("1", None).await;
    assert!(!world.leave("1", old, "a").await, "not by one that is not the owner");
    assert_eq!(durable(world, "a").await.len(), 1);
    assert!(world.leave("1", new, "a").await);
    assert!(durable(world, "a").await.is_empty());
    assert!(world.join("1", new, "a").await, "what is joined after is another membership");
    let (_, _, groups) = world.connect("1", None).await;
    assert!(groups.is_empty());
}

async fn a_group_has_no_more_durable_members_than_its_bound(world: &impl World) {
    let join = async |name: &str| world.directory().join_durably(&uid(name), &tgid("a"), 2).await.unwrap();
    assert!(join("1").await && join("2").await);
    let (session, _, _) = world.connect("3", None).await;
    assert!(world.join("3", session, "a").await);
    assert!(!join("3").await);
    assert!(!join("4").await);
    assert!(join("1").await, "who is in it is not refused");
    assert_eq!(durable(world, "a").await.len(), 2);
    assert_eq!(world.groups_of("3").await, [tgid("a")].into(), "what it was before it is again");
    assert!(world.groups_of("4").await.is_empty());
    assert!(world.directory().leave_durably(&uid("1"), &tgid("a")).await.unwrap());
    assert!(join("3").await);
}

async fn durable_members_of_several_groups_are_named_once(world: &impl World) {
    let directory = world.directory();
    let names: Vec<String> = (0..3_000).map(|user| format!("u{user}")).collect();
    for some in names.chunks(250) {
        let joins = some.iter().map(|name| async move {
            assert!(directory.join_durably(&uid(name), &tgid("large"), 3_000).await.unwrap());
        });
        futures_util::future::join_all(joins).await;
    }
    assert!(!directory.join_durably(&uid("another"), &tgid("large"), 3_000).await.unwrap());
    assert!(directory.join_durably(&uid("u7"), &tgid("small"), MANY).await.unwrap());
    assert!(directory.join_durably(&uid("message"), &tgid("small"), MANY).await.unwrap());
    let members = directory.durable_members(&[tgid("large"), tgid("small"), tgid("none")]).await.unwrap();
    assert_eq!(members.len(), 3_001);
    let expected: HashSet<String> = names.into_iter().chain(["message".to_owned()]).collect();
    assert_eq!(members.iter().map(ToString::to_string).collect::<HashSet<_>>(), expected);
    assert!(directory.durable_members(&[]).await.unwrap().is_empty());
}

async fn a_membership_that_is_joined_and_left_at_the_same_time_is_one_or_none(world: &impl World) {
    let (directory, one, group) = (world.directory(), uid("1"), tgid("a"));
    for _ in 0..10 {
        let (joined, left) =
            tokio::join!(directory.join_durably(&one, &group, MANY), directory.leave_durably(&one, &group));
        assert!(joined.unwrap());
        let left = left.unwrap();
        let is_member = durable(world, "a").await.contains("1");
        let (session, _, groups) = world.connect("1", None).await;
        assert_eq!(groups.contains(&group), is_member, "both sides say the same");
        assert!(is_member || left);
        assert!(world.disconnect("1", session).await);
        directory.leave_durably(&one, &group).await.unwrap();
    }
}
