//! What the directory of one process promises beyond what all do (`tests/it/directory/contract.rs`): its bounds, its
//! times to the millisecond, and that it agrees with a model.

use std::collections::{HashMap, HashSet};

use gim_proto::{Incarnation, NodeId};
use proptest::prelude::*;
use tokio::time::advance;

use super::super::OnDuplicate;
use super::*;

const GRACE: Duration = Duration::from_secs(30);

fn node(name: &str) -> NodeRef {
    NodeRef { id: NodeId::parse(name).unwrap(), incarnation: Incarnation::mint() }
}

fn uid(name: &str) -> Uid {
    Uid::parse(name).unwrap()
}

fn tgid(name: &str) -> Tgid {
    Tgid::parse(name).unwrap()
}

fn directory() -> LocalDirectory {
    LocalDirectory::new(node("n1"))
}

/// What a session knows of itself.
#[derive(Clone, Copy, Debug)]
struct Held {
    session: SessionId,
    fence: Fence,
}

impl LocalDirectory {
    async fn claim_as(&self, name: &str, on_duplicate: OnDuplicate, resume: Option<SessionId>) -> (SessionId, Claim) {
        let session = SessionId::mint();
        let node = NodeRef::clone(&self.node);
        let claim = self.claim(ClaimRequest { uid: uid(name), node, session, on_duplicate, resume }).await.unwrap();
        (session, claim)
    }

    async fn connect(&self, name: &str, resume: Option<SessionId>) -> (Held, Option<Owner>, Vec<Tgid>) {
        match self.claim_as(name, OnDuplicate::Replace, resume).await {
            (session, Claim::Granted { fence, previous, groups }) => (Held { session, fence }, previous, groups),
            (_, Claim::Taken { owner }) => panic!("taken by {owner:?}"),
        }
    }

    async fn join(&self, name: &str, held: Held, group: &str) -> bool {
        self.record_join(&uid(name), held.session, held.fence, &tgid(group)).await.unwrap()
    }

    async fn disconnect(&self, name: &str, held: Held) -> bool {
        self.release(&uid(name), held.session, held.fence, GRACE).await.unwrap()
    }

    async fn owner(&self, name: &str) -> Option<Owner> {
        self.lookup(&[uid(name)], Freshness::Current).await.unwrap().remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_kept_for_a_client_that_comes_back_in_time() {
    let directory = directory();
    let (first, _, _) = directory.connect("1", None).await;
    assert!(directory.join("1", first, "a").await);
    assert!(directory.join("1", first, "b").await);
    assert!(directory.join("1", first, "a").await, "joining twice is joining once");
    directory.disconnect("1", first).await;
    assert_eq!(directory.stats(), DirectoryStats { users: 0, departed: 1, groups: 0 });
    advance(GRACE - Duration::from_millis(1)).await;
    let (second, _, groups) = directory.connect("1", Some(first.session)).await;
    assert_eq!(groups, [tgid("a"), tgid("b")]);
    directory.disconnect("1", second).await;
    advance(GRACE).await;
    let (_, _, groups) = directory.connect("1", Some(second.session)).await;
    assert!(groups.is_empty(), "the grace is over");
}

#[tokio::test]
async fn a_group_without_holders_is_forgotten() {
    let directory = directory();
    let (here, there) = (NodeRef::clone(&directory.node), node("n2"));
    directory.add_holder(&tgid("a"), &here).await.unwrap();
    directory.add_holder(&tgid("b"), &there).await.unwrap();
    assert_eq!(directory.stats().groups, 2);
    directory.remove_holder(&tgid("a"), &here).await.unwrap();
    assert_eq!(directory.stats().groups, 1);
    assert_eq!(directory.nodes().await.unwrap(), [here]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_forgets_in_bounded_steps_and_only_what_is_over() {
    let directory = directory();
    let many = SHARDS * SWEEP + 500;
    for name in 0..many {
        let name = name.to_string();
        let (held, _, _) = directory.connect(&name, None).await;
        directory.join(&name, held, "a").await;
        directory.disconnect(&name, held).await;
    }
    directory.sweep().await.unwrap();
    assert_eq!(directory.stats().departed, many as u64);
    advance(GRACE).await;
    directory.sweep().await.unwrap();
    let left = directory.stats().departed;
    assert!(left > 0 && left < many as u64 / 10, "{left}");
    directory.sweep().await.unwrap();
    assert_eq!(directory.stats().departed, 0);
}

#[tokio::test]
async fn departed_users_are_bounded_and_the_oldest_go() {
    let directory = LocalDirectory::with_departed(node("n1"), 2 * SHARDS);
    let mut held = HashMap::new();
    for name in 0..2_000 {
        let name = name.to_string();
        let (session, _, _) = directory.connect(&name, None).await;
        directory.join(&name, session, "a").await;
        directory.disconnect(&name, session).await;
        held.insert(name, session);
    }
    assert_eq!(directory.stats().departed, 2 * SHARDS as u64);
    let (_, _, groups) = directory.connect("0", Some(held["0"].session)).await;
    assert!(groups.is_empty());
    let (_, _, groups) = directory.connect("1999", Some(held["1999"].session)).await;
    assert_eq!(groups.len(), 1);
}

#[tokio::test]
async fn users_who_come_and_go_leave_a_bounded_trace() {
    let directory = LocalDirectory::with_departed(node("n1"), SHARDS);
    for _ in 0..1_000 {
        let (held, _, _) = directory.connect("1", None).await;
        directory.join("1", held, "a").await;
        directory.disconnect("1", held).await;
    }
    let traces: usize = directory.users.iter().map(|shard| lock(shard).traces()).sum();
    assert!(traces <= 3, "{traces}");
}

#[test]
fn a_record_is_small() {
    // With the uid within it.
    assert_eq!(users::RECORD, 112);
}

#[derive(Clone, Debug)]
enum Op {
    Connect {
        user: usize,
        resume: bool,
    },
    Disconnect {
        user: usize,
    },
    /// Of the session before the last.
    DisconnectOld {
        user: usize,
    },
    Join {
        user: usize,
        group: u8,
    },
    Leave {
        user: usize,
        group: u8,
    },
    Pass {
        s: u64,
    },
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let user = 0..3_usize;
    prop_oneof![
        (user.clone(), any::<bool>()).prop_map(|(user, resume)| Op::Connect { user, resume }),
        user.clone().prop_map(|user| Op::Disconnect { user }),
        user.clone().prop_map(|user| Op::DisconnectOld { user }),
        (user.clone(), 0..3_u8).prop_map(|(user, group)| Op::Join { user, group }),
        (user, 0..3_u8).prop_map(|(user, group)| Op::Leave { user, group }),
        (0..40_u64).prop_map(|s| Op::Pass { s }),
        Just(Op::Sweep),
    ]
}

/// The same, the slow and obvious way.
#[derive(Default)]
struct Model {
    owner: Option<Held>,
    groups: HashSet<Tgid>,
    sessions: Vec<Held>,
    left: Option<(SessionId, u64)>,
}

proptest! {
    #[test]
    fn the_directory_agrees_with_a_simple_model(ops in prop::collection::vec(op(), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let directory = directory();
            let mut models: [Model; 3] = Default::default();
            let mut now = 0;
            for op in ops {
                step(&directory, &mut models, &mut now, op).await;
                for (user, model) in models.iter().enumerate() {
                    let owner = directory.owner(&user.to_string()).await;
                    assert_eq!(owner.map(|owner| owner.session), model.owner.map(|held| held.session));
                    if model.owner.is_some() {
                        let groups: HashSet<Tgid> = directory.groups_of(&uid(&user.to_string())).into_iter().collect();
                        assert_eq!(&groups, &model.groups);
                    }
                }
            }
        });
    }
}

async fn step(directory: &LocalDirectory, models: &mut [Model; 3], now: &mut u64, op: Op) {
    match op {
        Op::Connect { user, resume } => {
            let model = &mut models[user];
            let resume = model.sessions.last().filter(|_| resume).map(|held| held.session);
            let (held, previous, groups) = directory.connect(&user.to_string(), resume).await;
            assert_eq!(previous.map(|owner| owner.session), model.owner.map(|held| held.session));
            let in_time = model.left.is_none_or(|(_, left)| *now - left < 30);
            let kept = resume.is_some() && in_time && (model.owner.is_some() || model.left.is_some());
            if !kept {
                model.groups.clear();
            }
            assert_eq!(groups.into_iter().collect::<HashSet<_>>(), model.groups);
            model.owner = Some(held);
            model.left = None;
            model.sessions.push(held);
        }
        Op::Disconnect { user } => {
            let model = &mut models[user];
            if let Some(held) = model.owner.take() {
                assert!(directory.disconnect(&user.to_string(), held).await);
                model.left = Some((held.session, *now));
            }
        }
        Op::DisconnectOld { user } => {
            if let Some(held) = models[user].sessions.iter().rev().nth(1) {
                assert!(!directory.disconnect(&user.to_string(), *held).await);
            }
        }
        Op::Join { user, group } => {
            let model = &mut models[user];
            if let Some(held) = model.owner {
                assert!(directory.join(&user.to_string(), held, &group.to_string()).await);
                model.groups.insert(tgid(&group.to_string()));
            }
        }
        Op::Leave { user, group } => {
            let model = &mut models[user];
            if let Some(held) = model.owner {
                let tgid = tgid(&group.to_string());
                let uid = uid(&user.to_string());
                assert!(directory.record_leave(&uid, held.session, held.fence, &tgid).await.unwrap());
                model.groups.remove(&tgid);
            }
        }
        Op::Pass { s } => {
            advance(Duration::from_secs(s)).await;
            *now += s;
        }
        Op::Sweep => directory.sweep().await.unwrap(),
    }
}
