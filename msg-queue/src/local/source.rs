//! The reader's side of a lane.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use gim_proto::{Entry, EntryId, MessageId};
use tokio::time::sleep;

use super::lane::Slot;
use super::packed::unpack;
use super::{LaneCell, LocalQueue};
use crate::clock::Clock;
use crate::observe::Event;
use crate::source::{Backlog, Fetched, Room, Settlement, Source, SourceError, SourceErrorKind};

/// How often the wall clock is asked whether it was put forward while entries wait for their time.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes read at once, at most: they are decoded in one go.
const AT_ONCE: usize = 4 << 20;

/// One lane of a [`LocalQueue`] as its worker reads it.
pub struct LocalSource {
    queue: Arc<LocalQueue>,
    cell: Arc<LaneCell>,
}

impl LocalSource {
    pub(super) fn new(queue: &Arc<LocalQueue>, cell: &Arc<LaneCell>) -> Self {
        Self { queue: Arc::clone(queue), cell: Arc::clone(cell) }
    }

    fn read(&self, room: Room) -> Vec<Slot> {
        let mut state = self.cell.lock();
        let slots = state.read(room, self.queue.clock.unix_ms());
        // Nobody waits for it, and what the store has no room for goes with the next.
        let _later = state.log.submit();
        slots
    }

    /// Waits until there may be something to read.
    async fn wait(&self) {
        let now_ms = self.queue.clock.unix_ms();
        let due_ms = self.cell.lock().next_due();
        match due_ms {
            None => self.cell.bell.notified().await,
            Some(due_ms) => {
                let wait = Duration::from_millis(due_ms.saturating_sub(now_ms).max(1)).min(LOOK);
                tokio::select! {
                    () = self.cell.bell.notified() => {}
                    () = sleep(wait) => {}
                }
            }
        }
    }
}

#[async_trait]
impl Source for LocalSource {
    fn lane(&self) -> u16 {
        self.cell.lane
    }

    fn term(&self) -> u64 {
        1
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.queue.clock)
    }

    async fn fetch(&self, room: Room) -> Result<Vec<Fetched>, SourceError> {
        let room = Room { bytes: room.bytes.min(AT_ONCE), ..room };
        loop {
            let slots = self.read(room);
            if !slots.is_empty() || self.cell.draining.load(Ordering::Acquire) {
                return Ok(slots.into_iter().map(|slot| fetched(self.cell.lane, slot)).collect());
            }
            // The bell keeps one ring: what comes between the look and the wait is not missed.
            self.wait().await;
        }
    }

    async fn settle(&self, batch: &[(EntryId, Settlement)]) -> Result<(), SourceError> {
        let now_ms = self.queue.clock.unix_ms();
        let mut state = self.cell.lock();
        let (letters, put_aside) = state.settle(batch, now_ms, &self.queue.section);
        // The worker need not wait for the disk: rows are kept in order, and an entry whose settlement is lost comes again.
        let submitted = state.log.submit();
        drop(state);
        if put_aside {
            self.cell.bell.notify_one();
        }
        if letters > 0 {
            self.queue.observer.record(self.cell.lane, &Event::DeadLettersDropped { letters });
        }
        match submitted {
            Ok(_kept) => Ok(()),
            // Repeating the batch submits again what is owed.
            Err(error) => Err(SourceError { kind: SourceErrorKind::Unavailable, source: Some(Box::new(error)) }),
        }
    }

    async fn rewind(&self) -> Result<usize, SourceError> {
        Ok(self.cell.lock().rewind())
    }

    fn stop_waiting(&self) {
        self.cell.draining.store(true, Ordering::Release);
        self.cell.bell.notify_one();
    }

    fn keeps_unread(&self) -> bool {
        self.queue.journal.is_some()
    }

    fn backlog(&self) -> Backlog {
        self.cell.lock().backlog(self.queue.clock.unix_ms())
    }
}

fn fetched(lane: u16, slot: Slot) -> Fetched {
    let size = slot.packed.len();
    let fields = unpack(slot.packed);
    let body = Entry::decode(&fields);
    let given = body.as_ref().ok().and_then(|entry| entry.id.clone());
    Fetched {
        entry_id: slot.entry_id,
        message_id: given.unwrap_or_else(|| MessageId::of_entry(lane, slot.entry_id)),
        size,
        attempts: slot.attempts,
        rest: slot.rest.map(|rest| *rest),
        duplicate: false,
        body,
    }
}
