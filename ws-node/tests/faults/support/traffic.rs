//! Numbered messages: each target has its own count, and `XADD` says what was accepted.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use gim_proto::entry::Target;
use gim_proto::{EntryId, Keys, Tgid, Uid, lane_of};
use gim_proxy_sdk::store::Link;
use gim_proxy_sdk::testing::RedisServer;
use tokio::time::{MissedTickBehavior, interval};

use super::node::Spec;

/// One entry in so many is to a group.
const GROUP_SHARE: u64 = 11;

/// Who there is: users `u0`.. of whom each is in one of the groups `g0`..
#[derive(Clone, Copy)]
pub(crate) struct People {
    pub(crate) users: usize,
    pub(crate) groups: usize,
}

impl People {
    pub(crate) fn uid(user: usize) -> String {
        format!("u{user}")
    }

    pub(crate) fn tgid(group: usize) -> String {
        format!("g{group}")
    }

    /// The targets a user gets messages of.
    pub(crate) fn targets(self, user: usize) -> [String; 2] {
        [Self::uid(user), Self::tgid(user % self.groups)]
    }
}

/// What was put on the queue and accepted.
pub(crate) struct Traffic {
    people: People,
    lanes: NonZeroU16,
    keys: Keys,
    link: Link,
    turn: u64,
    /// The entry of each number, per target: users, then groups. Number 1 stands first.
    accepted: Vec<Vec<(u16, EntryId)>>,
}

/// An entry on its way: which target, its number, its lane.
type Planned = (usize, u16);

impl Traffic {
    pub(crate) fn new(people: People, spec: &Spec, redis: &RedisServer) -> Self {
        Self {
            people,
            lanes: NonZeroU16::new(spec.lane_count()).expect("a lane"),
            keys: spec.keys(),
            link: redis.store().link(Arc::from("any")),
            turn: 0,
            accepted: vec![Vec::new(); people.users + people.groups],
        }
    }

    /// How many of this target were accepted.
    pub(crate) fn accepted(&self, target: &str) -> usize {
        self.of(target).len()
    }

    pub(crate) fn total(&self) -> usize {
        self.accepted.iter().map(Vec::len).sum()
    }

    /// Lane and entry of a number.
    pub(crate) fn entry(&self, target: &str, number: u32) -> (u16, EntryId) {
        self.of(target)[number as usize - 1]
    }

    fn of(&self, target: &str) -> &[(u16, EntryId)] {
        let index: usize = target[1..].parse().expect("a target");
        &self.accepted[if target.starts_with('u') { index } else { self.people.users + index }]
    }

    /// Puts so many on the queue in one go, at a steady pace.
    pub(crate) async fn produce(&mut self, count: usize, batch: usize, per_second: usize) {
        let period = Duration::from_secs_f64(batch as f64 / per_second as f64);
        let mut pace = interval(period);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = self.total() + count;
        while self.total() < end {
            pace.tick().await;
            self.batch(batch.min(end - self.total())).await;
        }
    }

    /// Puts so many on the queue, again and again until all are accepted. Their ids make repeats harmless.
    pub(crate) async fn batch(&mut self, count: usize) {
        let mut pause = interval(Duration::from_millis(10));
        let planned = self.plan(count);
        let mut pipe = self.pipe(&planned);
        // All or nothing: a Redis that is still loading refuses the first commands of a plain pipeline and takes the rest,
        // and what is repeated then stands behind what should follow it.
        pipe.atomic();
        let ids = super::within("redis to accept", async {
            loop {
                match self.link.pipe::<Vec<String>>(&pipe).await {
                    Ok(ids) => return ids,
                    Err(_) => pause.tick().await,
                };
            }
        })
        .await;
        self.note(&planned, &ids);
    }

    /// Puts so many on the queue and gives Redis another command before anybody can read them.
    pub(crate) async fn batch_then(&mut self, count: usize, last: &redis::Cmd) {
        let planned = self.plan(count);
        let mut pipe = self.pipe(&planned);
        pipe.add_command(last.clone());
        let ids: Vec<String> = self.link.pipe(pipe.atomic()).await.expect("redis accepts");
        self.note(&planned, &ids);
    }

    /// How many of each target were accepted so far.
    pub(crate) fn counts(&self) -> HashMap<String, usize> {
        let People { users, groups } = self.people;
        let targets = (0..users).map(People::uid).chain((0..groups).map(People::tgid));
        targets.map(|target| (target.clone(), self.accepted(&target))).collect()
    }

    fn plan(&mut self, count: usize) -> Vec<Planned> {
        let planned = (0..count as u64).map(|at| self.planned(self.turn + at)).collect();
        self.turn += count as u64;
        planned
    }

    fn planned(&self, turn: u64) -> Planned {
        let pick = |turn: u64, of: usize| usize::try_from(turn % of as u64).expect("an index");
        let People { users, groups } = self.people;
        let (index, target) = if turn % GROUP_SHARE == GROUP_SHARE - 1 {
            let group = pick(turn / GROUP_SHARE, groups);
            (users + group, Target::Group(Tgid::parse(&People::tgid(group)).expect("a tgid")))
        } else {
            let user = pick(turn - turn / GROUP_SHARE, users);
            (user, Target::User(Uid::parse(&People::uid(user)).expect("a uid")))
        };
        (index, lane_of(&target, self.lanes))
    }

    fn pipe(&self, planned: &[Planned]) -> redis::Pipeline {
        let mut next: Vec<usize> = self.accepted.iter().map(Vec::len).collect();
        let mut pipe = redis::pipe();
        for (index, lane) in planned {
            next[*index] += 1;
            let number = next[*index];
            let (field, name) = match index.checked_sub(self.people.users) {
                None => ("to_uid", People::uid(*index)),
                Some(group) => ("tgid", People::tgid(group)),
            };
            let add = pipe.cmd("XADD").arg(self.keys.queue(*lane)).arg("*").arg(field).arg(&name);
            add.arg("id").arg(format!("{name}.{number}"));
            add.arg("data").arg(format!(r#"{{"t":"{name}","n":{number}}}"#));
        }
        pipe
    }

    fn note(&mut self, planned: &[Planned], ids: &[String]) {
        for ((index, lane), id) in planned.iter().zip(ids) {
            self.accepted[*index].push((*lane, EntryId::parse(id).expect("an entry id")));
        }
    }
}
