//! The worker: one task per lane that reads, routes, delivers and settles, each step beside the others.
//!
//! Owns the tasks and their end ([`LaneHandle::drain`], [`WorkerHandle::drain`]). What may happen when is decided by the
//! pure [`crate::lane`]; this module only carries it out. Never loses an entry to a bug: a lane whose task panics starts
//! again with everything it had not settled, one entry at a time until it is past the one that brought it down.

mod driver;
mod handle;
mod pause;
mod pipes;
mod settling;

use std::sync::Arc;

use futures_util::future::join_all;
use gim_proto::NodeId;
use gim_proxy_sdk::directory::Directory;
use gim_proxy_sdk::ledger::Ledger;
use gim_proxy_sdk::mailbox::Mailboxes;
use tokio::time::Instant;

use crate::config::WorkerSection;
use crate::deliver::Deliver;
use crate::observe::Observer;
use crate::source::Source;

pub use self::handle::LaneHandle;

/// What the lanes of a worker stand on, beside their sources. Cheap to clone.
#[derive(Clone)]
pub struct Ports {
    /// This process, as receipts and journeys call it.
    pub name: NodeId,
    /// Who is where.
    pub directory: Arc<dyn Directory>,
    /// Durable messages, and last values for newcomers.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// Receipts and journeys.
    pub ledger: Arc<dyn Ledger>,
    /// The way to the nodes.
    pub deliver: Arc<dyn Deliver>,
    /// Who hears of what happens.
    pub observer: Arc<dyn Observer>,
}

/// The worker.
#[derive(Debug)]
pub struct Worker;

/// A running worker whose lanes begin and end together. Dropped, it ends at once.
#[must_use = "the worker ends when its handle is dropped"]
pub struct WorkerHandle {
    lanes: Vec<LaneHandle>,
}

/// What a drained worker has done and what it leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Entries settled since the start.
    pub settled: u64,
    /// Entries read that were not settled in time, and those due and unread that do not outlive the process.
    pub unsettled: u64,
    /// Entries that wait for a later time and do not outlive the process.
    pub scheduled: u64,
}

impl Worker {
    /// Starts a task per source. Has to be called within a tokio runtime.
    pub fn start(sources: Vec<Arc<dyn Source>>, ports: &Ports, section: &WorkerSection) -> WorkerHandle {
        let lanes = sources.into_iter().map(|source| Self::start_lane(source, ports, section));
        WorkerHandle { lanes: lanes.collect() }
    }

    /// Starts the task of one lane, which begins and ends by itself. Has to be called within a tokio runtime.
    pub fn start_lane(source: Arc<dyn Source>, ports: &Ports, section: &WorkerSection) -> LaneHandle {
        LaneHandle::start(source, ports, section)
    }
}

impl WorkerHandle {
    /// Ends the worker in good order, all lanes side by side, each as [`LaneHandle::drain`] says.
    pub async fn drain(self, deadline: Instant) -> DrainReport {
        let reports = join_all(self.lanes.into_iter().map(|lane| lane.drain(deadline))).await;
        reports.into_iter().fold(DrainReport::default(), DrainReport::and)
    }
}

impl DrainReport {
    /// What of it counts when somebody else goes on with the lane.
    #[must_use]
    pub fn handed_over(self) -> Self {
        Self { unsettled: 0, ..self }
    }

    /// Adds up two reports.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            settled: self.settled + other.settled,
            unsettled: self.unsettled + other.unsettled,
            scheduled: self.scheduled + other.scheduled,
        }
    }
}
