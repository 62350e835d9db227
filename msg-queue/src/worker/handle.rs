//! The life of one lane's task: its start, its restart after a panic, its end.
//!
//! Owns the task. Never decides whether this worker should have the lane: who starts and drains it does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::FutureExt;
use gim_proto::NodeId;
use gim_proxy_sdk::directory::Directory;
use gim_proxy_sdk::ledger::Ledger;
use gim_proxy_sdk::mailbox::Mailboxes;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::driver::Driver;
use super::{DrainReport, Ports};
use crate::backoff::{Backoff, Jitter};
use crate::clock::Clock;
use crate::config::WorkerSection;
use crate::deliver::Deliver;
use crate::lane::Limits;
use crate::observe::{Event, Observer, Step};
use crate::source::{Backlog, Source};

/// A lane that panics each time it starts does not spin.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// A lane that is worked on. Dropped, it ends at once.
#[must_use = "the lane ends when its handle is dropped"]
pub struct LaneHandle {
    lane: Arc<Lane>,
    draining: watch::Sender<bool>,
    ended: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// What one lane's task stands on and what it tells.
pub(super) struct Lane {
    pub(super) name: NodeId,
    pub(super) source: Arc<dyn Source>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) mailboxes: Arc<dyn Mailboxes>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) deliver: Arc<dyn Deliver>,
    observer: Arc<dyn Observer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) read_batch: usize,
    pub(super) settled: AtomicU64,
    pub(super) unsettled: AtomicUsize,
}

impl LaneHandle {
    pub(super) fn start(source: Arc<dyn Source>, ports: &Ports, section: &WorkerSection) -> Self {
        let Ports { name, directory, mailboxes, ledger, deliver, observer } = ports.clone();
        let lane = Arc::new(Lane {
            name,
            clock: source.clock(),
            source,
            directory,
            mailboxes,
            ledger,
            deliver,
            observer,
            limits: Limits::from(section),
            read_batch: section.read_batch,
            settled: AtomicU64::new(0),
            unsettled: AtomicUsize::new(0),
        });
        let (draining, drain) = watch::channel(false);
        let ended = CancellationToken::new();
        // However the task ends, also by a panic or with its runtime: the guard goes with it.
        let guard = ended.clone().drop_guard();
        let task = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move {
                let _guard = guard;
                run(lane, drain).await;
            }
        });
        Self { lane, draining, ended, task: AbortOnDropHandle::new(task) }
    }

    /// The lane, counted from 0.
    #[must_use]
    pub fn lane(&self) -> u16 {
        self.lane.source.lane()
    }

    /// Waits until the lane is not worked on any more: it was lost to another owner, or drained.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends the lane in good order: what would be lost with the process is read to the end, everything read is delivered
    /// and settled. What is not settled at the deadline is counted and left.
    pub async fn drain(self, deadline: Instant) -> DrainReport {
        // Nobody listens any more if the lane was lost.
        let _ = self.draining.send(true);
        let _ = timeout_at(deadline, self.ended.cancelled()).await;
        self.task.abort();
        self.lane.report()
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
    pub(super) fn record(&self, event: &Event) {
        self.observer.record(self.source.lane(), event);
    }

    fn report(&self) -> DrainReport {
        // What outlives the process is not left behind.
        let backlog = if self.source.keeps_unread() { Backlog::default() } else { self.source.backlog() };
        DrainReport {
            settled: self.settled.load(Ordering::Relaxed),
            unsettled: self.unsettled.load(Ordering::Relaxed) as u64 + backlog.unread,
            scheduled: backlog.scheduled,
        }
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
