//! The directory in Redis agrees with the same done the slow and obvious way.

use std::collections::HashSet;

use gim_proto::Tgid;
use proptest::prelude::*;

use super::world::{RedisWorld, Session, World, tgid};

#[derive(Clone, Debug)]
enum Op {
    Connect {
        user: usize,
        there: bool,
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
}

fn op() -> impl Strategy<Value = Op> {
    let user = 0..3_usize;
    prop_oneof![
        (user.clone(), any::<bool>(), any::<bool>()).prop_map(|(user, there, resume)| Op::Connect {
            user,
            there,
            resume
        }),
        user.clone().prop_map(|user| Op::Disconnect { user }),
        user.clone().prop_map(|user| Op::DisconnectOld { user }),
        (user.clone(), 0..3_u8).prop_map(|(user, group)| Op::Join { user, group }),
        (user, 0..3_u8).prop_map(|(user, group)| Op::Leave { user, group }),
    ]
}

#[derive(Default)]
struct Model {
    owner: Option<(Session, bool)>,
    groups: HashSet<Tgid>,
    sessions: Vec<Session>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_directory_in_redis_agrees_with_a_simple_model(ops in prop::collection::vec(op(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = RedisWorld::new().await;
            let mut models: [Model; 3] = Default::default();
            for op in ops {
                step(&world, &mut models, op).await;
                for (user, model) in models.iter().enumerate() {
                    agrees(&world, &user.to_string(), model).await;
                }
            }
            world.directory.close().await;
        });
    }
}

async fn agrees(world: &RedisWorld, name: &str, model: &Model) {
    let owner = world.owner(name).await.map(|owner| (owner.session, owner.fence, owner.node));
    let expected = model
        .owner
        .map(|(session, there)| (session.id, session.fence, if there { world.there() } else { world.here() }.clone()));
    assert_eq!(owner, expected);
    assert_eq!(world.groups_of(name).await, model.groups);
}

async fn step(world: &RedisWorld, models: &mut [Model; 3], op: Op) {
    match op {
        Op::Connect { user, there, resume } => {
            let model = &mut models[user];
            let resume = model.sessions.last().filter(|_| resume).map(|session| session.id);
            let node = if there { world.there() } else { world.here() };
            let (session, previous, groups) = world.connect_at(&user.to_string(), node, resume).await;
            assert_eq!(previous.map(|owner| owner.session), model.owner.map(|(session, _)| session.id));
            if resume.is_none() {
                model.groups.clear();
            }
            assert_eq!(groups.into_iter().collect::<HashSet<_>>(), model.groups);
            model.owner = Some((session, there));
            model.sessions.push(session);
        }
        Op::Disconnect { user } => {
            if let Some((session, _)) = models[user].owner.take() {
                assert!(world.disconnect(&user.to_string(), session).await);
            }
        }
        Op::DisconnectOld { user } => {
            if let Some(session) = models[user].sessions.iter().rev().nth(1) {
                assert!(!world.disconnect(&user.to_string(), *session).await);
            }
        }
        Op::Join { user, group } => {
            let model = &mut models[user];
            if let Some((session, _)) = model.owner {
                assert!(world.join(&user.to_string(), session, &group.to_string()).await);
                model.groups.insert(tgid(&group.to_string()));
            }
        }
        Op::Leave { user, group } => {
            let model = &mut models[user];
            if let Some((session, _)) = model.owner {
                assert!(world.leave(&user.to_string(), session, &group.to_string()).await);
                model.groups.remove(&tgid(&group.to_string()));
            }
        }
    }
}
