//! The worker: one task per lane that reads, routes, delivers and settles, each step beside the others.
//!
//! Owns the tasks and their end ([`WorkerHandle::drain`]). What may happen when is decided by the pure [`crate::lane`];
//! this module only carries it out. Never loses an entry to a bug: a lane whose task panics starts again with
//! everything it had not settled, one entry at a time until it is past the one that brought it down.

mod driver;
mod pause;
mod pipes;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::FutureExt;
use gim_proxy_sdk::directory::Directory;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use self::driver::Driver;
use crate::backoff::{Backoff, Jitter};
use crate::clock::Clock;
use crate::config::WorkerSection;
use crate::deliver::Deliver;
use crate::lane::Limits;
use crate::observe::{Event, Observer, Step};
use crate::source::{Backlog, Source};

/// A lane that panics each time it starts does not spin.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// What a worker stands on.
pub struct Ports {
    /// One per lane this worker owns.
    pub sources: Vec<Arc<dyn Source>>,
    /// Who is where.
    pub directory: Arc<dyn Directory>,
    /// The way to the nodes.
    pub deliver: Arc<dyn Deliver>,
    /// Who hears of what happens.
    pub observer: Arc<dyn Observer>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
}

/// The worker.
#[derive(Debug)]
pub struct Worker;

/// A running worker. Dropped, it ends at once.
#[must_use = "the worker ends when its handle is dropped"]
pub struct WorkerHandle {
    tasks: JoinSet<()>,
    lanes: Vec<Arc<Lane>>,
    draining: watch::Sender<bool>,
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

/// What one lane's task stands on and what it tells.
struct Lane {
    source: Arc<dyn Source>,
    directory: Arc<dyn Directory>,
    deliver: Arc<dyn Deliver>,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    read_batch: usize,
    settled: AtomicU64,
    unsettled: AtomicUsize,
}

impl Worker {
    /// Starts a task per source. Has to be called within a tokio runtime.
    pub fn start(ports: Ports, section: &WorkerSection) -> WorkerHandle {
        let Ports { sources, directory, deliver, observer, clock } = ports;
        let (draining, drain) = watch::channel(false);
        let lane = |source| {
            Arc::new(Lane {
                source,
                directory: Arc::clone(&directory),
                deliver: Arc::clone(&deliver),
                observer: Arc::clone(&observer),
                clock: Arc::clone(&clock),
                limits: Limits::from(section),
                read_batch: section.read_batch,
                settled: AtomicU64::new(0),
                unsettled: AtomicUsize::new(0),
            })
        };
        let lanes: Vec<_> = sources.into_iter().map(lane).collect();
        let mut tasks = JoinSet::new();
        for lane in &lanes {
            tasks.spawn(run(Arc::clone(lane), drain.clone()));
        }
        WorkerHandle { tasks, lanes, draining }
    }
}

impl WorkerHandle {
    /// Ends the worker in good order: what would be lost with the process is read to the end, everything read is
    /// delivered and settled. What is not settled at the deadline is counted and left.
    pub async fn drain(mut self, deadline: Instant) -> DrainReport {
        // Nobody listens any more if every lane was lost.
        let _ = self.draining.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout_at(deadline, ended).await;
        self.tasks.abort_all();
        self.lanes.iter().fold(DrainReport::default(), |report, lane| {
            // What outlives the process is not left behind.
            let backlog = if lane.source.keeps_unread() { Backlog::default() } else { lane.source.backlog() };
            let unsettled = lane.unsettled.load(Ordering::Relaxed) as u64;
            DrainReport {
                settled: report.settled + lane.settled.load(Ordering::Relaxed),
                unsettled: report.unsettled + unsettled + backlog.unread,
                scheduled: report.scheduled + backlog.scheduled,
            }
        })
    }
}

async fn run(lane: Arc<Lane>, draining: watch::Receiver<bool>) {
    let mut one_by_one = 0;
    loop {
        let driver = Driver::new(Arc::clone(&lane), draining.clone(), one_by_one);
        let Err(panic) = AssertUnwindSafe(driver.run()).catch_unwind().await else { return };
        lane.record(&Event::Panicked { error: message_of(&*panic) });
        sleep(AFTER_PANIC).await;
        one_by_one = lane.rewind().await;
    }
}

impl Lane {
    fn record(&self, event: &Event) {
        self.observer.record(self.source.lane(), event);
    }

    async fn rewind(&self) -> usize {
        let mut jitter = Jitter::random();
        let backoff = Backoff::default();
        for failures in 1.. {
            match self.source.rewind().await {
                Ok(entries) => return entries,
                Err(error) => {
                    let wait = backoff.wait(failures, &mut jitter).max(backoff.first);
                    self.record(&Event::Paused { step: Step::Read, wait, error: error.to_string().into() });
                    sleep(wait).await;
                }
            }
        }
        0
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> Box<str> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").into()
}
