//! The queue of a service that is one process: entries wait in memory, and in a store on disk if there is one.
//!
//! Owns both sides: what producers and operators ask ([`Queue`]) and what the worker reads ([`LocalSource`]). Entries are
//! kept as their packed fields, the smallest form they have, and decoded when they are read. Every part of a lane has
//! a bound. With a store ([`store`]) whoever enqueues is answered when it has kept the entry, and the next process goes on
//! where this one ended. Never delivers anything.

mod cancel;
mod clerk;
mod dead;
mod lane;
mod log;
mod packed;
mod restore;
mod rows;
mod seen;
mod source;
pub mod store;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gim_proto::{EntryId, Fields, MessageId};
use gim_proxy_sdk::journal::{Journal, Kept};
use gim_proxy_sdk::queue::{Cancelled, DeadLetter, LaneStats, Queue, QueueError, QueueErrorKind, Selection};
use tokio::sync::Notify;

use self::lane::LaneState;
use crate::clock::{Clock, SystemClock};
use crate::config::QueueSection;
use crate::observe::{Observer, Silent};
use crate::source::Source;

pub use self::source::LocalSource;

/// The queue of one process. Cheap to share.
pub struct LocalQueue {
    section: QueueSection,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    lanes: Box<[Arc<LaneCell>]>,
    closed: AtomicBool,
    /// None: everything is lost with the process.
    journal: Option<Arc<dyn Journal>>,
}

/// One lane and the bell that tells its reader of something new.
struct LaneCell {
    lane: u16,
    state: Mutex<LaneState>,
    bell: Notify,
    /// The reader does not wait any more.
    draining: AtomicBool,
}

impl LaneCell {
    fn new(lane: u16, state: LaneState) -> Self {
        Self { lane, state: Mutex::new(state), bell: Notify::new(), draining: AtomicBool::new(false) }
    }

    // A panic while it was held left a whole state behind: every change is made after its last check.
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalQueue {
    /// Makes an empty queue on the machine's clock that tells nobody what happens.
    #[must_use]
    pub fn new(section: QueueSection) -> Arc<Self> {
        Self::with(section, Arc::new(SystemClock), Arc::new(Silent))
    }

    /// Makes an empty queue that is lost with the process.
    #[must_use]
    pub fn with(section: QueueSection, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Arc<Self> {
        let lanes = (0..section.lanes.get()).map(|_| LaneState::default()).collect();
        Self::of(lanes, None, section, clock, observer)
    }

    fn of(
        lanes: Vec<LaneState>,
        journal: Option<Arc<dyn Journal>>,
        section: QueueSection,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        let cell = |(lane, state)| Arc::new(LaneCell::new(lane, state));
        let lanes = (0..section.lanes.get()).zip(lanes).map(cell).collect();
        Arc::new(Self { section, clock, observer, lanes, closed: AtomicBool::new(false), journal })
    }

    /// Makes the source of every lane. Each lane has one reader: they are for one worker.
    #[must_use]
    pub fn sources(self: &Arc<Self>) -> Vec<Arc<dyn Source>> {
        self.lanes.iter().map(|cell| Arc::new(LocalSource::new(self, cell)) as Arc<dyn Source>).collect()
    }

    /// Accepts nothing from now on: every enqueue and redrive answers [`QueueErrorKind::Unavailable`]. What was accepted
    /// stays.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Whoever is accepting right now holds a lane: after this, everything accepted is there to be read.
        self.lanes.iter().for_each(|cell| drop(cell.lock()));
    }

    fn redrive_now(&self, lane: u16, which: &Selection) -> Result<(u64, Option<Kept>), QueueError> {
        let cell = self.lane(lane)?;
        let mut state = cell.lock();
        // Looked at under the lock, as with an enqueue: after `close` the reader reads to the end.
        if self.closed.load(Ordering::Acquire) {
            return Err(clerk::stopping());
        }
        let count = state.redrive(which, &self.section, self.clock.unix_ms())?;
        let submitted = state.log.submit();
        drop(state);
        cell.bell.notify_one();
        Ok((count, submitted.map_err(|_| clerk::failed(QueueErrorKind::Timeout))?))
    }

    fn purge_now(&self, lane: u16, which: &Selection) -> Result<(u64, Option<Kept>), QueueError> {
        let mut state = self.lane(lane)?.lock();
        let count = state.purge(which);
        let submitted = state.log.submit();
        Ok((count, submitted.map_err(|_| clerk::failed(QueueErrorKind::Timeout))?))
    }

    fn cancel_now(&self, id: &MessageId) -> (Cancelled, Vec<Kept>) {
        let mut cancelled = Cancelled::Unknown;
        let mut all_kept = Vec::new();
        for cell in &self.lanes {
            let mut state = cell.lock();
            let of_lane = match (state.cancel(id, None), id.entry_of(cell.lane)) {
                (Cancelled::Unknown, Some(entry)) => state.cancel(id, Some(entry)),
                (of_lane, _) => of_lane,
            };
            // What is not kept goes with the lane's next change: what was taken out has to be told of all the same.
            all_kept.extend(state.log.submit().ok().flatten());
            cancelled = cancelled.and(of_lane);
        }
        (cancelled, all_kept)
    }

    fn lane(&self, lane: u16) -> Result<&Arc<LaneCell>, QueueError> {
        self.lanes.get(usize::from(lane)).ok_or_else(|| QueueError {
            kind: QueueErrorKind::NoSuchLane,
            index: None,
            field: None,
            detail: format!("the highest lane is {}", self.lanes.len().saturating_sub(1)).into(),
        })
    }
}

#[async_trait]
impl Queue for LocalQueue {
    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueError> {
        let clerk::Accepted { ids, kept } = self.accept(entries)?;
        until_kept(kept).await?;
        Ok(ids)
    }

    async fn stats(&self) -> Result<Vec<LaneStats>, QueueError> {
        let now_ms = self.clock.unix_ms();
        Ok(self.lanes.iter().map(|cell| cell.lock().stats(cell.lane, now_ms)).collect())
    }

    async fn dead(&self, lane: u16, after: Option<EntryId>, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.lane(lane)?.lock().dead.list(after, limit))
    }

    async fn redrive(&self, lane: u16, which: Selection) -> Result<u64, QueueError> {
        let (count, kept) = self.redrive_now(lane, &which)?;
        until_kept(kept).await?;
        Ok(count)
    }

    async fn purge(&self, lane: u16, which: Selection) -> Result<u64, QueueError> {
        let (count, kept) = self.purge_now(lane, &which)?;
        until_kept(kept).await?;
        Ok(count)
    }

    async fn cancel(&self, id: &MessageId) -> Result<Cancelled, QueueError> {
        let (cancelled, kept) = self.cancel_now(id);
        for kept in kept {
            until_kept(Some(kept)).await?;
        }
        Ok(cancelled)
    }
}

/// Waits until the store has kept what was done in memory already.
async fn until_kept(kept: Option<Kept>) -> Result<(), QueueError> {
    match kept {
        None => Ok(()),
        Some(kept) => kept.await.map_err(|_| clerk::failed(QueueErrorKind::Timeout)),
    }
}
