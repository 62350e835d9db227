//! Claims in Redis: many at once, and owners whose node is dead.

use std::collections::HashSet;

use futures_util::future::join_all;
use gim_proto::{Incarnation, SessionId};
use gim_proxy_sdk::directory::{Claim, ClaimRequest, Directory, OnDuplicate};

use super::world::{RedisWorld, World, tgid, uid};

/// 200 sessions, half of them on each node, claim one uid at the same time.
async fn crowd(world: &RedisWorld, policy: OnDuplicate) -> Vec<(SessionId, Claim)> {
    let another = world.another().await;
    let claims = (0..200).map(|at| {
        let (directory, node) = match at % 2 {
            0 => (&world.directory, world.here()),
            _ => (&another, world.there()),
        };
        let session = SessionId::mint();
        let request = ClaimRequest { uid: uid("1"), node: node.clone(), session, on_duplicate: policy, resume: None };
        async move { (session, directory.claim(request).await.unwrap()) }
    });
    join_all(claims).await
}

#[tokio::test]
async fn of_many_claims_at_once_one_owns_and_each_other_is_superseded_exactly_once() {
    let world = RedisWorld::new().await;
    let mut granted: Vec<_> = crowd(&world, OnDuplicate::Replace)
        .await
        .into_iter()
        .map(|(session, claim)| match claim {
            Claim::Granted { fence, previous, .. } => (fence, session, previous),
            Claim::Taken { .. } => panic!("replace is always granted"),
        })
        .collect();
    granted.sort_by_key(|(fence, _, _)| *fence);
    for pair in granted.windows(2) {
        let [(before, loser, _), (after, _, previous)] = pair else { unreachable!() };
        assert!(before < after);
        let previous = previous.as_ref().unwrap();
        assert_eq!((previous.session, previous.fence), (*loser, *before));
    }
    assert_eq!(granted[0].2, None);
    let owner = world.owner("1").await.unwrap();
    assert_eq!((owner.fence, owner.session), (granted[199].0, granted[199].1));
    let bucket = gim_proto::bucket_of(&uid("1"));
    for node in [world.here(), world.there()] {
        let held: bool = world.ask(&["SISMEMBER", &world.keys.users_at(bucket, &node.incarnation), "1"]).await;
        assert_eq!(held, &owner.node == node);
    }
}

#[tokio::test]
async fn of_many_claims_at_once_one_is_granted_where_the_owner_stays() {
    let world = RedisWorld::new().await;
    let claims = crowd(&world, OnDuplicate::Reject).await;
    let owner = world.owner("1").await.unwrap();
    let granted = claims.iter().filter(|(_, claim)| matches!(claim, Claim::Granted { previous: None, .. }));
    assert_eq!(granted.map(|(session, _)| *session).collect::<Vec<_>>(), [owner.session]);
    let taken = claims.iter().filter(|(_, claim)| matches!(claim, Claim::Taken { owner: by } if *by == owner));
    assert_eq!(taken.count(), 199);
}

#[tokio::test]
async fn an_owner_whose_node_is_dead_is_in_nobodys_way() {
    let world = RedisWorld::new().await;
    for policy in [OnDuplicate::Replace, OnDuplicate::Reject, OnDuplicate::CloseBoth] {
        let name = format!("{policy:?}");
        world.live.set(vec![world.here().clone(), world.there().clone()]);
        let (first, _, _) = world.connect_at(&name, world.there(), None).await;
        world.join(&name, first, "a").await;
        world.live.set(vec![world.here().clone()]);
        assert_eq!(world.owner(&name).await, None);
        let (second, claim) = world.claim(&name, world.here(), policy, Some(first.id)).await;
        let Claim::Granted { fence, previous, groups } = claim else { panic!("{claim:?}") };
        assert!(fence > first.fence);
        assert_eq!((previous, groups), (None, vec![tgid("a")]));
        assert_eq!(world.owner(&name).await.unwrap().session, second);
        let bucket = gim_proto::bucket_of(&uid(&name));
        let dead = world.keys.users_at(bucket, &world.there().incarnation);
        assert!(!world.ask::<bool>(&["EXISTS", &dead]).await);
    }
}

#[tokio::test]
async fn many_who_find_a_dead_owner_in_their_way_replace_it_once() {
    let world = RedisWorld::new().await;
    world.connect_at("1", world.there(), None).await;
    world.live.set(vec![world.here().clone()]);
    let claims = join_all((0..50).map(|_| world.claim("1", world.here(), OnDuplicate::Reject, None))).await;
    let granted = claims.iter().filter(|(_, claim)| matches!(claim, Claim::Granted { .. }));
    assert_eq!(granted.count(), 1);
}

#[tokio::test]
async fn a_claim_repeated_by_the_same_session_has_the_same_fence() {
    let world = RedisWorld::new().await;
    let request = ClaimRequest {
        uid: uid("1"),
        node: world.here().clone(),
        session: SessionId::mint(),
        on_duplicate: OnDuplicate::Reject,
        resume: None,
    };
    let first = world.directory.claim(request.clone()).await.unwrap();
    let Claim::Granted { fence, previous: None, .. } = first else { panic!("{first:?}") };
    world.directory.record_join(&request.uid, request.session, fence, &tgid("a")).await.unwrap();
    let again = world.directory.claim(request.clone()).await.unwrap();
    assert_eq!(again, Claim::Granted { fence, previous: None, groups: vec![tgid("a")] });
    // The node has taken another incarnation meanwhile.
    let mut node = world.here().clone();
    node.incarnation = Incarnation::mint();
    world.live.set(vec![node.clone()]);
    let moved = world.directory.claim(ClaimRequest { node, ..request }).await.unwrap();
    let Claim::Granted { fence: higher, previous, groups } = moved else { panic!("{moved:?}") };
    assert!(higher > fence);
    assert_eq!((previous, groups), (None, vec![tgid("a")]));
}

#[tokio::test]
async fn a_session_holds_its_uid_in_one_bucket_under_one_incarnation() {
    let world = RedisWorld::new().await;
    let names: HashSet<String> = (0..20).map(|user| user.to_string()).collect();
    for name in &names {
        world.connect_at(name, world.there(), None).await;
        world.connect(name, None).await;
    }
    for name in &names {
        let bucket = gim_proto::bucket_of(&uid(name));
        let of = |incarnation| world.keys.users_at(bucket, incarnation);
        assert!(world.ask::<bool>(&["SISMEMBER", &of(&world.here().incarnation), name]).await);
        assert!(!world.ask::<bool>(&["SISMEMBER", &of(&world.there().incarnation), name]).await);
        let record = world.record(name).await.unwrap();
        let words: Vec<&str> = record.split(' ').collect();
        assert_eq!((words.len(), words[0], words[4]), (5, "1", "n1"));
    }
}
