//! What the store has to be told of a lane, in the order it happened.
//!
//! Owns the rows noted and not submitted yet, and those the store had no room for. A lane without a store notes nothing and
//! pays nothing.

use std::sync::Arc;

use gim_proto::EntryId;
use gim_proxy_sdk::journal::{Change, Journal, JournalError, Kept, Owed};

use super::rows;

/// See the module.
#[derive(Default)]
pub(super) struct LaneLog(Option<Box<Log>>);

struct Log {
    lane: u16,
    journal: Arc<dyn Journal>,
    noted: Vec<Change>,
    owed: Owed,
    read: EntryId,
}

impl LaneLog {
    pub(super) fn of(lane: u16, journal: Arc<dyn Journal>, read: EntryId) -> Self {
        Self(Some(Box::new(Log { lane, journal, noted: Vec::new(), owed: Owed::default(), read })))
    }

    /// Notes a change.
    pub(super) fn note(&mut self, change: impl FnOnce(u16) -> Change) {
        if let Some(log) = &mut self.0 {
            log.noted.push(change(log.lane));
        }
    }

    /// Notes how far the lane was read.
    pub(super) fn note_read(&mut self, highest: Option<EntryId>) {
        if let Some(log) = &mut self.0
            && let Some(highest) = highest.filter(|highest| *highest > log.read)
        {
            log.read = highest;
            log.noted.push(rows::put_read(log.lane, highest));
        }
    }

    /// Submits what was noted. None: there is no store.
    ///
    /// # Errors
    /// The store takes nothing. What was noted goes with the next.
    pub(super) fn submit(&mut self) -> Result<Option<Kept>, JournalError> {
        let Some(log) = &mut self.0 else { return Ok(None) };
        if log.noted.is_empty() && log.owed.is_empty() {
            return Ok(None);
        }
        let noted = std::mem::take(&mut log.noted);
        log.owed.submit(&*log.journal, noted).map(Some)
    }
}

impl std::fmt::Debug for LaneLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("LaneLog").field(&self.0.as_ref().map(|log| log.read)).finish()
    }
}
