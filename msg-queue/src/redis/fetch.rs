//! What happens in one read of a lane, in this order.
//!
//! First what may have been handed out to somebody who does not know of it any more: beside the stream (`recall`, `all`),
//! then on it (`drain`). Then what was put aside and is due, then what is new. Each step ends a read that has found
//! something. A read may be dropped at any point where it waits: everything it has taken from Redis is in the [`Reader`]
//! or comes again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::chores::{Chores, ReaderId};
use super::connection::Connection;
use super::decode::Read;
use super::drain::Drain;
use super::lease::Own;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::source::{Fetched, Room};

/// Bytes read at once, about: they are decoded in one go, and copied by Redis in one script.
const AT_ONCE: usize = 8 << 20;
/// What was put aside by others is looked for this often while there is always something new.
const LOOK: Duration = Duration::from_millis(200);
/// What an entry is taken for before the first was seen, in bytes.
const FIRST_GUESS: usize = 256 << 10;

pub(super) struct Reader {
    pub(super) connection: Option<Connection>,
    /// The connection made last, whatever has become of it.
    pub(super) reader: Option<ReaderId>,
    pub(super) chores: Chores,
    pub(super) drain: Option<Drain>,
    /// What was put aside for whoever had the lane before is not all read yet.
    pub(super) all: bool,
    /// Read and not handed out yet.
    pub(super) read: Vec<Read>,
    /// Bytes of an entry, about.
    pub(super) average: usize,
    /// The last read found nothing.
    pub(super) idle: bool,
    /// When the last look at what was put aside was.
    pub(super) looked: Option<Instant>,
    pub(super) surveyed: Option<Instant>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            connection: None,
            reader: None,
            chores: Chores::default(),
            drain: None,
            all: false,
            read: Vec::new(),
            average: FIRST_GUESS,
            idle: true,
            looked: None,
            surveyed: None,
        }
    }
}

impl Reader {
    /// Reads what is there, or waits for it once. The lane was this source's a moment ago.
    pub(super) async fn fetch(&mut self, shared: &Arc<Shared>, room: Room) -> Result<Vec<Fetched>, Trouble> {
        let term = shared.lease.term();
        let room = Room { bytes: room.bytes.min(AT_ONCE), ..room };
        self.take_chores(shared);
        if self.read.is_empty() {
            self.read = self.next(shared, room).await?;
        }
        // A process that stood still meanwhile may have lost the lane with what it has just read.
        if shared.own().await? != Own::Held || shared.lease.term() != term {
            self.read.clear();
            return Ok(Vec::new());
        }
        self.hand_out(shared).await
    }

    /// Forgets everything about entries. They all come again.
    pub(super) fn forget(&mut self) {
        self.read.clear();
        self.drain = None;
        self.all = false;
        self.looked = None;
    }

    pub(super) fn take_chores(&mut self, shared: &Shared) {
        let Chores { reconnect, group, recall, counts, all, drain, former } = std::mem::take(&mut *shared.chores());
        let own = &mut self.chores;
        own.reconnect |= reconnect;
        own.group |= group;
        own.recall |= recall;
        own.counts |= counts;
        own.all |= all;
        own.drain |= drain;
        former.into_iter().for_each(|reader| own.end_reader(reader));
    }

    async fn next(&mut self, shared: &Arc<Shared>, room: Room) -> Result<Vec<Read>, Trouble> {
        self.connect(shared).await?;
        self.make_group(shared).await?;
        self.survey(shared).await?;
        self.recall(shared).await?;
        let mut read = self.all(shared, room).await?;
        if read.is_empty() {
            read = self.pending(shared, room).await?;
        }
        if read.is_empty() {
            shared.caught_up.store(true, Ordering::Release);
        }
        if read.is_empty() && self.has_to_look(shared) {
            read = self.due(shared, room).await?;
        }
        if read.is_empty() {
            read = self.fresh(shared, room).await?;
            self.idle = read.is_empty();
        }
        Ok(read)
    }

    fn has_to_look(&self, shared: &Shared) -> bool {
        use crate::clock::Clock;
        let is_due = shared.wake.due_ms().is_some_and(|due_ms| due_ms <= shared.clock.unix_ms());
        self.idle || is_due || self.looked.is_none_or(|looked| looked.elapsed() >= LOOK)
    }
}
