//! What one lane holds: entries to be read, read, put aside and dead.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use gim_proto::{EntryId, MessageId};
use gim_proxy_sdk::queue::{LaneStats, QueueError, QueueErrorKind, Selection};

use super::dead::{DeadLetters, Letter};
use super::log::LaneLog;
use super::rows::{self, KeptSlot};
use super::seen::Seen;
use crate::config::QueueSection;
use crate::source::{Backlog, Rest, Room, Settlement};

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) entry_id: EntryId,
    pub(super) packed: Bytes,
    /// Since when it could have been delivered, Unix milliseconds.
    pub(super) since_ms: u64,
    pub(super) attempts: u32,
    pub(super) rest: Option<Box<Rest>>,
    /// The worker put it aside and may hold back others behind it.
    pub(super) aside: bool,
}

impl Slot {
    /// Counts the bytes of its fields.
    pub(super) fn bytes(&self) -> u64 {
        self.packed.len() as u64
    }
}

#[derive(Debug, Default)]
pub(super) struct LaneState {
    pub(super) last: EntryId,
    /// Entries whose time has come, or that are read again. They go before those that are fresh: they are older.
    pub(super) due: VecDeque<Slot>,
    pub(super) fresh: VecDeque<Slot>,
    pub(super) pending: BTreeMap<EntryId, Slot>,
    pub(super) later: BTreeMap<(u64, EntryId), Slot>,
    /// Bytes of all that is not settled.
    pub(super) bytes: u64,
    pub(super) seen: Seen,
    pub(super) dead: DeadLetters,
    settled: u64,
    /// What of all this the store has to be told.
    pub(super) log: LaneLog,
}

/// Follows an id: the time, or the next number within the same millisecond. Rises even if the clock does not.
pub(super) fn next_id(last: EntryId, now_ms: u64) -> EntryId {
    if now_ms > last.ms { EntryId { ms: now_ms, seq: 0 } } else { EntryId { ms: last.ms, seq: last.seq + 1 } }
}

impl LaneState {
    /// Counts entries that wait to be read.
    pub(super) fn unread(&self) -> u64 {
        (self.due.len() + self.fresh.len()) as u64
    }

    /// Counts entries that wait for their time.
    pub(super) fn waiting(&self) -> u64 {
        self.later.len() as u64
    }

    /// Counts bytes of entries that are not settled, wherever they wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Accepts an entry. Bounds were checked.
    pub(super) fn push(&mut self, slot: Slot, due_ms: Option<u64>) {
        self.last = self.last.max(slot.entry_id);
        self.bytes += slot.bytes();
        match due_ms {
            Some(due_ms) => {
                self.later.insert((due_ms, slot.entry_id), slot);
            }
            None => self.fresh.push_back(slot),
        }
    }

    /// Takes up an entry that was read before.
    fn push_tried(&mut self, slot: Slot) {
        self.last = self.last.max(slot.entry_id);
        self.bytes += slot.bytes();
        self.due.push_back(slot);
    }

    /// Names the last entry accepted.
    pub(super) fn last(&self) -> EntryId {
        self.last
    }

    /// Forgets ids accepted before a time, Unix milliseconds.
    pub(super) fn forget_ids(&mut self, before_ms: u64) {
        let Self { seen, log, .. } = self;
        seen.forget_before(before_ms, |at_ms, id| log.note(|lane| rows::delete_seen(lane, at_ms, id)));
    }

    /// Remembers an id. Returns how many others had to be forgotten.
    pub(super) fn remember(&mut self, id: &MessageId, now_ms: u64, bound: u64) -> u64 {
        let Self { seen, log, .. } = self;
        seen.remember(id, now_ms, bound, |at_ms, id| log.note(|lane| rows::delete_seen(lane, at_ms, id)))
    }

    /// Takes up entries as a store had them, in their order. Those that were read and not settled come again, each with
    /// one more attempt; so does what was put aside, because nobody knows any more who is held back behind it. They are read
    /// first: until they are, nobody may take them for settled.
    pub(super) fn restore(&mut self, kept: impl IntoIterator<Item = KeptSlot>, read: EntryId) {
        for KeptSlot { mut slot, due_ms, .. } in kept {
            let due_ms = due_ms.filter(|_| !slot.aside);
            let was_tried = slot.aside || (slot.entry_id <= read && due_ms.is_none());
            if slot.aside {
                slot.aside = false;
            } else if slot.entry_id <= read && due_ms.is_none() {
                slot.attempts += 1;
                self.log.note(|lane| rows::put_entry(lane, &slot, None));
            }
            match was_tried {
                true => self.push_tried(slot),
                false => self.push(slot, due_ms),
            }
        }
        self.last = self.last.max(read);
    }

    /// Takes up a dead letter as a store had it.
    pub(super) fn restore_letter(&mut self, letter: Letter) {
        self.dead.add(letter);
    }

    /// Reads entries in order. They stay until they are settled.
    pub(super) fn read(&mut self, room: Room, now_ms: u64) -> Vec<Slot> {
        self.wake(now_ms);
        let mut slots = Vec::with_capacity(room.entries.min(self.due.len() + self.fresh.len()));
        let mut bytes = 0;
        while slots.len() < room.entries {
            let queue = if self.due.is_empty() { &mut self.fresh } else { &mut self.due };
            let Some(size) = queue.front().map(|slot| slot.packed.len()) else { break };
            bytes += size;
            if bytes > room.bytes && !slots.is_empty() {
                break;
            }
            if let Some(slot) = queue.pop_front() {
                self.pending.insert(slot.entry_id, slot.clone());
                slots.push(slot);
            }
        }
        let highest = slots.iter().map(|slot| slot.entry_id).max();
        self.log.note_read(highest);
        shrink(&mut self.fresh);
        shrink(&mut self.due);
        slots
    }

    /// Tells when the next entry's time comes, Unix milliseconds.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.later.keys().next().map(|(due_ms, _)| *due_ms)
    }

    /// Settles entries. Returns how many dead letters had to go, and whether an entry was put aside.
    pub(super) fn settle(
        &mut self,
        batch: &[(EntryId, Settlement)],
        now_ms: u64,
        section: &QueueSection,
    ) -> (u64, bool) {
        let mut dropped = 0;
        let mut put_aside = false;
        for (entry_id, settlement) in batch {
            let Some(mut slot) = self.pending.remove(entry_id) else { continue };
            match settlement {
                Settlement::Ack => {
                    self.settled += 1;
                    self.bytes -= slot.bytes();
                    self.log.note(|lane| rows::delete_entry(lane, *entry_id));
                }
                Settlement::Later { due_ms, attempts, rest } => {
                    slot.attempts = *attempts;
                    slot.rest = rest.clone().map(Box::new);
                    slot.aside = true;
                    self.log.note(|lane| rows::put_entry(lane, &slot, Some(*due_ms)));
                    // Above the bound, too: it was accepted, and only enqueue may refuse.
                    self.later.insert((*due_ms, *entry_id), slot);
                    put_aside = true;
                }
                Settlement::Dead(death) => {
                    self.settled += 1;
                    self.bytes -= slot.bytes();
                    let (gone, letter) = self.dead.bury(slot, death, now_ms, section);
                    dropped += gone.len() as u64;
                    self.log.note(|lane| rows::delete_entry(lane, *entry_id));
                    letter.into_iter().for_each(|letter| self.log.note(|lane| rows::put_letter(lane, letter)));
                    gone.into_iter().for_each(|id| self.log.note(|lane| rows::delete_letter(lane, id)));
                }
            }
        }
        (dropped, put_aside)
    }

    /// Makes what was read and not settled come again, before everything else.
    pub(super) fn rewind(&mut self) -> usize {
        let mut again = std::mem::take(&mut self.pending);
        again.values_mut().for_each(|slot| slot.attempts += 1);
        // Nobody knows any more who is held back behind what was put aside, so it comes with the others, in its place.
        let (aside, due): (VecDeque<Slot>, _) = std::mem::take(&mut self.due).into_iter().partition(|slot| slot.aside);
        self.due = due;
        let later = self.later.extract_if(.., |_, slot| slot.aside).map(|(_, slot)| slot);
        again.extend(aside.into_iter().chain(later).map(|slot| (slot.entry_id, slot)));
        let count = again.len();
        for slot in again.into_values().rev() {
            self.due.push_front(Slot { aside: false, ..slot });
        }
        count
    }

    /// Puts dead letters back, as many as there is room for.
    pub(super) fn redrive(
        &mut self,
        which: &Selection,
        section: &QueueSection,
        now_ms: u64,
    ) -> Result<u64, QueueError> {
        let room = section.entries.saturating_sub(self.unread());
        if room == 0 {
            return Err(full(None, "entries"));
        }
        let bytes = section.bytes.as_u64().saturating_sub(self.bytes);
        let letters = self.dead.take(which, usize::try_from(room).unwrap_or(usize::MAX), bytes);
        if letters.is_empty() && self.dead.holds(which) {
            return Err(full(None, "bytes"));
        }
        let count = letters.len() as u64;
        for letter in letters {
            let slot = Slot { since_ms: now_ms, attempts: 0, aside: false, ..letter.slot };
            self.log.note(|lane| rows::delete_letter(lane, letter.id));
            self.log.note(|lane| rows::put_entry(lane, &slot, None));
            self.bytes += slot.bytes();
            self.fresh.push_back(slot);
        }
        Ok(count)
    }

    /// Deletes dead letters. Returns how many.
    pub(super) fn purge(&mut self, which: &Selection) -> u64 {
        let letters = self.dead.take(which, usize::MAX, u64::MAX);
        letters.iter().for_each(|letter| self.log.note(|lane| rows::delete_letter(lane, letter.id)));
        letters.len() as u64
    }

    pub(super) fn backlog(&mut self, now_ms: u64) -> Backlog {
        self.wake(now_ms);
        Backlog { unread: self.unread(), scheduled: self.waiting() }
    }

    pub(super) fn stats(&mut self, lane: u16, now_ms: u64) -> LaneStats {
        self.wake(now_ms);
        let unread = self.due.front().into_iter().chain(self.fresh.front());
        let oldest = self.pending.values().chain(unread).map(|slot| slot.since_ms).min();
        LaneStats {
            lane,
            lag: self.unread(),
            pending: self.pending.len() as u64,
            later: self.waiting(),
            dead: self.dead.len(),
            oldest_pending_ms: oldest.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
            settled: self.settled,
        }
    }

    fn wake(&mut self, now_ms: u64) {
        while self.next_due().is_some_and(|due_ms| due_ms <= now_ms) {
            let Some((_, slot)) = self.later.pop_first() else { return };
            self.due.push_back(slot);
        }
    }
}

/// The error of a bound that is reached.
pub(super) fn full(index: Option<usize>, bound: &'static str) -> QueueError {
    let detail = match bound {
        "later" => "too many scheduled messages wait in this lane",
        "bytes" => "too many bytes wait in this lane",
        "store" => "too much waits to be written to disk",
        _ => "too many messages wait in this lane",
    };
    QueueError { kind: QueueErrorKind::Full, index, field: None, detail: detail.into() }
}

// What a burst needed is given back once it is over.
fn shrink(queue: &mut VecDeque<Slot>) {
    if queue.capacity() > 4_096 && queue.len() < queue.capacity() / 8 {
        queue.shrink_to(queue.len() * 2);
    }
}
