//! Lanes in a Redis, workers that share them, and producers that never stop by themselves.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use ::redis::cmd;
use gim_msg_queue::config::{QueueSection, WorkerSection};
use gim_msg_queue::observe::Observer;
use gim_msg_queue::team::{Team, TeamPorts};
use gim_proto::{Incarnation, Keys, NodeId, SessionId, Target, lane_of};
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::directory::{ClaimRequest, Directory, OnDuplicate};
use gim_proxy_sdk::store::{Link, Store};
use gim_proxy_sdk::testing::{DEADLINE, RedisServer, prefix, shared_redis};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Way};
use crate::redis::rig::Heard;
use crate::support::{ledger, mailboxes, node, uid};
use gim_msg_queue::worker::Ports;

pub(super) const LANES: u16 = 8;
const USERS: usize = 32;

pub(super) struct World {
    store: Store,
    keys: Keys,
    directory: Arc<dyn Directory>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) heard: Arc<Heard>,
}

/// Entries that are put on the lanes, one after the other, until it is stopped.
pub(super) struct Flow {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl World {
    /// In the Redis that all tests share.
    pub(super) async fn shared() -> Self {
        Self::on(shared_redis().await).await
    }

    pub(super) async fn on(server: &RedisServer) -> Self {
        Self::over(server.store()).await
    }

    pub(super) async fn over(store: Store) -> Self {
        let home = node("home");
        let directory = LocalDirectory::new(home.clone());
        for user in 0..USERS {
            let request = ClaimRequest {
                uid: uid(&user.to_string()),
                node: home.clone(),
                session: SessionId::mint(),
                on_duplicate: OnDuplicate::Replace,
                resume: None,
            };
            directory.claim(request).await.unwrap();
        }
        Self {
            store,
            keys: Keys::new(&prefix()).unwrap(),
            directory: Arc::new(directory),
            ledger: Arc::default(),
            heard: Arc::default(),
        }
    }

    pub(super) fn join(&self, worker: &'static str) -> Team {
        self.join_as(worker, Incarnation::mint(), Vec::new())
    }

    pub(super) fn join_as(&self, worker: &'static str, me: Incarnation, voided: Vec<Incarnation>) -> Team {
        Team::start(TeamPorts {
            store: self.store.clone(),
            keys: self.keys.clone(),
            lanes: lanes(),
            queue: QueueSection { lanes: lanes(), ..QueueSection::default() },
            worker: WorkerSection::default(),
            ports: Ports {
                name: NodeId::parse(worker).unwrap(),
                directory: Arc::clone(&self.directory),
                mailboxes: mailboxes(),
                ledger: ledger(),
                deliver: Arc::new(Way { worker, ledger: Arc::clone(&self.ledger) }),
                observer: Arc::clone(&self.heard) as Arc<dyn Observer>,
            },
            me,
            id: NodeId::parse(worker).unwrap(),
            voided,
        })
    }

    /// Puts entries on the lanes, to one user after the other, each numbered.
    pub(super) fn flow(&self) -> Flow {
        let stop = CancellationToken::new();
        let (store, keys, stopped) = (self.store.clone(), self.keys.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let links: Vec<Link> = (0..LANES).map(|lane| store.link(keys.queue(lane))).collect();
            let mut sent = 0;
            while !stopped.is_cancelled() {
                let user = (sent % USERS).to_string();
                let lane = lane_of(&Target::User(uid(&user)), lanes());
                let mut add = cmd("XADD");
                add.arg(keys.queue(lane)).arg("*").arg("to_uid").arg(&user);
                add.arg("data").arg(format!(r#"{{"n":{sent}}}"#));
                // Given up, it may have been taken all the same: a number that comes again is no other entry.
                match links[usize::from(lane)].query::<String>(&add).await {
                    Ok(_) => sent += 1,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            sent
        });
        Flow { stop, task }
    }

    /// Counts the lanes that somebody has.
    pub(super) async fn leases(&self) -> usize {
        let mut leases = 0;
        for lane in 0..LANES {
            let key = self.keys.lease(lane);
            leases += self.store.link(&*key).query::<usize>(cmd("EXISTS").arg(&key)).await.unwrap();
        }
        leases
    }

    /// Counts the workers that share the lanes.
    pub(super) async fn counted(&self) -> usize {
        let key = self.keys.workers();
        self.store.link(&*key).query::<usize>(cmd("ZCARD").arg(&key)).await.unwrap()
    }

    /// Has Redis lose everything.
    pub(super) async fn empty(&self) {
        self.store.link(self.keys.workers()).query::<String>(&cmd("FLUSHALL")).await.unwrap();
    }
}

impl Flow {
    /// Ends it. Returns how many entries there were.
    pub(super) async fn stop(self) -> usize {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

pub(super) fn all_lanes() -> Vec<u16> {
    (0..LANES).collect()
}

/// How many lanes each of them owns. 0: not yet just those that are its share.
pub(super) fn owned(teams: &[&Team]) -> Vec<usize> {
    teams
        .iter()
        .map(|team| Some(team.owned()).filter(|owned| *owned == team.share()).unwrap_or_default().len())
        .collect()
}

/// The lanes they own together, one that two own twice.
pub(super) fn union(teams: &[&Team]) -> Vec<u16> {
    let mut union: Vec<u16> = teams.iter().flat_map(|team| team.owned()).collect();
    union.sort_unstable();
    union
}

pub(super) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, looking).await.is_ok(), "{what}");
}

fn lanes() -> NonZeroU16 {
    NonZeroU16::new(LANES).unwrap()
}
