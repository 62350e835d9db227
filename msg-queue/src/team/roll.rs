//! Who shares the lanes: a sorted set in Redis in which every worker says again and again that it is there.
//!
//! Owns this worker's entry and the last answer. A Redis that does not answer leaves the last answer standing. Never
//! decides who may work on a lane: the lane's lease does.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::Script;
use gim_proto::{Incarnation, Keys, NodeId};
use gim_proxy_sdk::store::{Link, Store, StoreError};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

static ROLL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("roll.lua")));

/// How often a worker says that it is there.
const EVERY: Duration = Duration::from_secs(2);
/// How long it counts without saying so.
const COUNTS: Duration = Duration::from_secs(6);
/// Pause after a call that Redis did not answer.
const AGAIN: Duration = Duration::from_millis(500);

/// A worker that shares the lanes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Teammate {
    /// This run of it.
    pub incarnation: Incarnation,
    /// Its name.
    pub id: NodeId,
}

/// The last answer. None: there was none yet.
pub(super) type Workers = Option<Arc<[Teammate]>>;

/// See the module.
pub(super) struct Roll {
    link: Link,
    key: String,
    me: Teammate,
    voided: Vec<Incarnation>,
}

impl Roll {
    pub(super) fn new(store: &Store, keys: &Keys, me: Teammate, voided: Vec<Incarnation>) -> Self {
        let key = keys.workers();
        Self { link: store.link(key.as_str()), key, me, voided }
    }

    /// Answers every call until it is told to stop, then leaves.
    pub(super) async fn run(self, answers: watch::Sender<Workers>, stop: CancellationToken) {
        let mut answered = true;
        loop {
            let told = tokio::select! {
                () = stop.cancelled() => break,
                told = self.call(COUNTS) => told,
            };
            let pause = match told {
                Ok(workers) => {
                    answered = true;
                    answers.send_if_modified(|last| replace(last, workers));
                    EVERY
                }
                Err(error) => {
                    if std::mem::take(&mut answered) {
                        tracing::warn!(%error, "workers cannot be counted, lanes stay shared as they are");
                    }
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        if let Err(error) = self.call(Duration::ZERO).await {
            tracing::warn!(%error, "this worker's leave was not answered; it is counted for some seconds more");
        }
    }

    async fn call(&self, counts: Duration) -> Result<Vec<Teammate>, StoreError> {
        let mut call = ROLL.key(&self.key);
        call.arg(format!("{} {}", self.me.incarnation, self.me.id)).arg(counts.as_millis().to_string());
        self.voided.iter().for_each(|dead| {
            call.arg(dead.to_string());
        });
        let workers: Vec<String> = self.link.script(&call).await?;
        // What others put there by hand is no worker.
        let mut workers: Vec<Teammate> = workers.iter().filter_map(|worker| parse(worker)).collect();
        workers.sort_unstable();
        Ok(workers)
    }
}

fn parse(member: &str) -> Option<Teammate> {
    let (incarnation, id) = member.split_once(' ')?;
    Some(Teammate { incarnation: Incarnation::parse(incarnation).ok()?, id: NodeId::parse(id).ok()? })
}

fn replace(last: &mut Workers, workers: Vec<Teammate>) -> bool {
    let differs = last.as_deref() != Some(&workers[..]);
    if differs {
        *last = Some(workers.into());
    }
    differs
}
