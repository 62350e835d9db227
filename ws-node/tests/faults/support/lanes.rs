//! What Redis holds of the lanes, read without the node.

use std::collections::HashSet;

use gim_proto::{EntryId, Keys};
use gim_proxy_sdk::store::Link;
use gim_proxy_sdk::testing::RedisServer;
use redis::{Cmd, Value, cmd};

use super::eventually;
use super::node::Spec;

/// The lanes of a node under test.
pub(crate) struct Lanes {
    link: Link,
    keys: Keys,
    count: u16,
}

/// How far a lane was at one moment.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The last entry that was handed out.
    pub(crate) handed_out: Option<EntryId>,
    /// Handed out and not settled.
    pub(crate) pending: HashSet<EntryId>,
}

impl Progress {
    pub(crate) fn has_settled(&self, entry_id: EntryId) -> bool {
        self.handed_out.is_some_and(|last| entry_id <= last) && !self.pending.contains(&entry_id)
    }
}

impl Lanes {
    pub(crate) fn new(spec: &Spec, redis: &RedisServer) -> Self {
        Self { link: redis.store().link("any"), keys: spec.keys(), count: spec.lane_count() }
    }

    pub(crate) async fn progress(&self) -> Vec<Progress> {
        let mut all = Vec::new();
        for lane in 0..self.count {
            all.push(self.of_lane(lane).await);
        }
        all
    }

    async fn of_lane(&self, lane: u16) -> Progress {
        let stream = self.keys.queue(lane);
        let groups: Vec<std::collections::HashMap<String, Value>> =
            self.link.query(cmd("XINFO").arg("GROUPS").arg(&stream)).await.unwrap_or_default();
        let last = groups.first().and_then(|group| group.get("last-delivered-id"));
        let last: Option<String> = last.and_then(|id| redis::from_redis_value(id.clone()).ok());
        let mut list = cmd("XPENDING");
        list.arg(&stream).arg("gim").arg("-").arg("+").arg(1_000_000);
        let pending: Vec<(String, String, u64, u64)> = self.link.query(&list).await.unwrap_or_default();
        Progress {
            handed_out: last.and_then(|id| EntryId::parse(&id).ok()),
            pending: pending.iter().map(|(id, ..)| EntryId::parse(id).expect("an entry id")).collect(),
        }
    }

    /// Asks until Redis answers: it may have been away, and the link learns of that by asking.
    async fn ask<T: redis::FromRedisValue + Send>(&self, command: &Cmd) -> T {
        eventually("redis to answer", || async { self.link.query(command).await.ok() }).await
    }

    /// Waits until everything accepted was handed out and settled; nothing may have died or wait beside the stream.
    pub(crate) async fn settle(&self) {
        for lane in 0..self.count {
            eventually("the lane to be settled", || async { self.is_settled(lane).await.then_some(()) }).await;
            let dead: u64 = self.ask(cmd("XLEN").arg(self.keys.dead(lane))).await;
            let later: u64 = self.ask(cmd("ZCARD").arg(self.keys.later(lane))).await;
            assert_eq!((dead, later), (0, 0), "dead letters, or entries beside the stream of lane {lane}");
        }
    }

    async fn is_settled(&self, lane: u16) -> bool {
        let stream = self.keys.queue(lane);
        let newest: Vec<(String, Vec<String>)> =
            self.ask(cmd("XREVRANGE").arg(&stream).arg("+").arg("-").arg("COUNT").arg(1)).await;
        let newest = newest.first().map(|(id, _)| EntryId::parse(id).expect("an entry id"));
        let progress = self.of_lane(lane).await;
        progress.pending.is_empty() && newest <= progress.handed_out
    }

    /// Owner and term of a lane.
    pub(crate) async fn owner(&self, lane: u16) -> (String, String) {
        self.ask(cmd("HMGET").arg(self.keys.lease(lane)).arg("owner").arg("term")).await
    }
}
