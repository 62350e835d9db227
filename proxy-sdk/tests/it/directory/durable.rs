//! Durable membership when it breaks off half way: at each step, and whoever finds it.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use gim_proxy_sdk::directory::Directory;

use super::world::{RedisWorld, World, eventually, tgid, uid};

const MANY: usize = 10;

/// Where a change broke off: what the user's side says, and whether the group names the user.
#[derive(Clone, Copy, Debug)]
struct Broken {
    state: &'static str,
    is_named: bool,
}

const JOINS: [Broken; 2] = [Broken { state: "durable", is_named: false }, Broken { state: "durable", is_named: true }];
const LEAVES: [Broken; 2] = [Broken { state: "leaving", is_named: true }, Broken { state: "leaving", is_named: false }];

fn now_us() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

impl RedisWorld {
    /// As a process leaves it that dies there. `till`: until then it may go on.
    async fn break_off(&self, name: &str, Broken { state, is_named }: Broken, till: u128, most: usize) {
        let groups = self.keys.user_groups(&uid(name));
        let change = format!("{till} somebody - {most}");
        let _: i64 = self.ask(&["HSET", &groups, "a", state, " change a", &change]).await;
        if is_named {
            let _: i64 = self.ask(&["SADD", &self.keys.group_durable(&tgid("a")), name]).await;
        }
    }

    async fn is_named(&self, name: &str) -> bool {
        self.directory.durable_members(&[tgid("a")]).await.unwrap().contains(&uid(name))
    }

    /// What the user's side has, without what tells of sessions.
    async fn fields(&self, name: &str) -> Vec<String> {
        let fields: Vec<String> = self.ask(&["HGETALL", &self.keys.user_groups(&uid(name))]).await;
        let pairs = fields.chunks(2).filter(|pair| pair[0] != " session" && pair[0] != " until");
        pairs.map(|pair| format!("{}={}", pair[0], pair[1])).collect()
    }

    async fn is_finished(&self, name: &str, is_member: bool) {
        let wanted = if is_member { vec!["a=durable".to_owned()] } else { vec![] };
        assert_eq!(self.fields(name).await, wanted);
        assert_eq!(self.is_named(name).await, is_member);
    }
}

#[tokio::test]
async fn whoever_logs_in_finishes_what_broke_off() {
    let world = RedisWorld::new().await;
    for (number, broken) in JOINS.into_iter().chain(LEAVES).enumerate() {
        let name = number.to_string();
        world.break_off(&name, broken, 1, MANY).await;
        let (_, _, groups) = world.connect(&name, None).await;
        let is_member = broken.state == "durable";
        assert_eq!(groups.contains(&tgid("a")), is_member, "{broken:?}");
        world.is_finished(&name, is_member).await;
    }
}

#[tokio::test]
async fn the_next_change_finishes_what_broke_off() {
    let world = RedisWorld::new().await;
    for (number, broken) in JOINS.into_iter().chain(LEAVES).enumerate() {
        for joins in [true, false] {
            let name = format!("{number}-{joins}");
            world.break_off(&name, broken, 1, MANY).await;
            if joins {
                assert!(world.directory.join_durably(&uid(&name), &tgid("a"), MANY).await.unwrap());
            } else {
                assert!(world.directory.leave_durably(&uid(&name), &tgid("a")).await.unwrap());
            }
            world.is_finished(&name, joins).await;
            world.directory.leave_durably(&uid(&name), &tgid("a")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_group_joined_for_a_while_after_a_leave_broke_off_is_another_membership() {
    let world = RedisWorld::new().await;
    let (session, _, _) = world.connect("1", None).await;
    world.break_off("1", LEAVES[0], 1, MANY).await;
    assert!(world.join("1", session, "a").await);
    assert_eq!(world.fields("1").await, ["a=temporary"]);
    assert!(!world.is_named("1").await);
}

#[tokio::test]
async fn a_join_that_broke_off_before_a_full_group_comes_to_nothing() {
    let world = RedisWorld::new().await;
    assert!(world.directory.join_durably(&uid("2"), &tgid("a"), 1).await.unwrap());
    world.break_off("1", JOINS[0], 1, 1).await;
    let _ = world.connect("1", None).await;
    world.is_finished("1", false).await;
    assert!(world.is_named("2").await);
}

#[tokio::test]
async fn a_change_that_may_still_go_on_is_waited_for() {
    let world = RedisWorld::new().await;
    let till = now_us() + 300_000;
    world.break_off("1", LEAVES[0], till, MANY).await;
    assert!(world.directory.join_durably(&uid("1"), &tgid("a"), MANY).await.unwrap());
    assert!(now_us() > till);
    world.is_finished("1", true).await;
}

#[tokio::test]
async fn a_change_given_up_half_way_is_finished_by_the_sweep() {
    let world = RedisWorld::new().await;
    let (one, group) = (uid("1"), tgid("a"));
    let groups = world.keys.user_groups(&one);
    // It stands at the user's side, and its author goes.
    let began = async || world.ask::<bool>(&["HEXISTS", &groups, "a"]).await;
    while !began().await {
        let mut join = world.directory.join_durably(&one, &group, MANY).boxed();
        assert!((&mut join).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let finished = async || {
        world.directory.sweep().await.unwrap();
        world.fields("1").await == ["a=durable"] && world.is_named("1").await
    };
    eventually("the sweep to finish the join", finished).await;
}
