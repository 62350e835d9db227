//! The producer's side: accepts all entries of a call or none.
//!
//! With a store, the store takes the rows of a call before anything changes here, and the producer is answered when it has
//! kept them.

use std::collections::{BTreeMap, HashSet};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gim_proto::{EntryId, Fields, MessageId};
use gim_proxy_sdk::journal::{Change, JournalErrorKind, Kept};
use gim_proxy_sdk::producer::{self, CheckIn, check_in};
use gim_proxy_sdk::queue::{QueueError, QueueErrorKind};

use super::lane::{LaneState, Slot, full, next_id};
use super::packed::pack;
use super::{LaneCell, LocalQueue, rows};
use crate::observe::Event;

/// What of one entry goes to one lane, in the form it is kept in.
struct Part {
    /// Which entry of the call.
    index: usize,
    lane: u16,
    id: Option<MessageId>,
    due_ms: Option<u64>,
    packed: Bytes,
    /// Its id was accepted before.
    repeat: bool,
    /// Its place in the lane, once it is known that there is room.
    entry_id: EntryId,
}

/// The lanes of a call, held.
type Held<'a> = BTreeMap<u16, MutexGuard<'a, LaneState>>;

/// What a call came to, and when it counts.
pub(super) struct Accepted {
    pub(super) ids: Vec<MessageId>,
    pub(super) kept: Option<Kept>,
}

/// Why nothing of a call is accepted.
struct Refusal {
    /// The lane and the bound that was reached.
    bound: Option<(u16, &'static str)>,
    error: QueueError,
}

impl From<producer::Part> for Part {
    fn from(part: producer::Part) -> Self {
        let producer::Part { index, lane, id, due_ms, fields } = part;
        Self { index, lane, id, due_ms, packed: pack(&fields), repeat: false, entry_id: EntryId::default() }
    }
}

impl LocalQueue {
    /// Accepts all entries or none.
    pub(super) fn accept(&self, entries: Vec<Fields>) -> Result<Accepted, QueueError> {
        let now_ms = self.clock.unix_ms();
        let count = entries.len();
        let against = CheckIn { lanes: self.section.lanes, schedule_ahead: self.section.schedule_ahead, now_ms };
        let mut parts: Vec<Part> = check_in(entries, &against)?.into_iter().map(Part::from).collect();
        let mut lanes = self.lock_all(&parts);
        let kept = match self.admit(&mut parts, &mut lanes, now_ms) {
            Ok(kept) => kept,
            Err(refusal) => {
                drop(lanes);
                return Err(self.tell(refusal));
            }
        };
        let touched: Vec<u16> = lanes.keys().copied().collect();
        let (ids, forgotten) = self.put(parts, &mut lanes, now_ms);
        drop(lanes);
        touched.iter().filter_map(|lane| self.lanes.get(usize::from(*lane))).for_each(|cell| cell.bell.notify_one());
        for (lane, ids) in forgotten {
            self.observer.record(lane, &Event::IdsForgotten { ids });
        }
        debug_assert_eq!(ids.len(), count);
        Ok(Accepted { ids, kept })
    }

    /// Makes sure that there is room for all of it, here and in the store, which has taken it then.
    fn admit(&self, parts: &mut [Part], lanes: &mut Held<'_>, now_ms: u64) -> Result<Option<Kept>, Refusal> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Refusal { bound: None, error: stopping() });
        }
        let window_ms = u64::try_from(self.section.idempotency_window.as_millis()).unwrap_or(u64::MAX);
        mark_repeats(parts, lanes, now_ms.saturating_sub(window_ms));
        self.check_room(parts, lanes)?;
        number(parts, lanes, now_ms);
        let Some(journal) = &self.journal else { return Ok(None) };
        journal.take(rows_of(parts, now_ms)).map(Some).map_err(|error| match error.kind {
            JournalErrorKind::Full => {
                let lane = parts.first().map_or(0, |part| part.lane);
                Refusal { bound: Some((lane, "store")), error: full(None, "store") }
            }
            JournalErrorKind::Failed => Refusal { bound: None, error: failed(QueueErrorKind::Unavailable) },
        })
    }

    fn tell(&self, Refusal { bound, error }: Refusal) -> QueueError {
        if let Some((lane, bound)) = bound {
            self.observer.record(lane, &Event::Refused { bound });
        }
        error
    }

    // In ascending order, as everybody does who takes several.
    fn lock_all(&self, parts: &[Part]) -> Held<'_> {
        let wanted: HashSet<u16> = parts.iter().map(|part| part.lane).collect();
        let cells = self.lanes.iter().filter(|cell| wanted.contains(&cell.lane));
        cells.map(|cell: &_| (cell.lane, LaneCell::lock(cell))).collect()
    }

    fn check_room(&self, parts: &[Part], lanes: &Held<'_>) -> Result<(), Refusal> {
        let mut counts: BTreeMap<(u16, bool), u64> = BTreeMap::new();
        let mut bytes: BTreeMap<u16, u64> = BTreeMap::new();
        for part in parts.iter().filter(|part| !part.repeat) {
            let Some(lane) = lanes.get(&part.lane) else { continue };
            let scheduled = part.due_ms.is_some();
            let (bound, held, name) = match scheduled {
                true => (self.section.later, lane.waiting(), "later"),
                false => (self.section.entries, lane.unread(), "entries"),
            };
            let refused = |name| Err(Refusal { bound: Some((part.lane, name)), error: full(Some(part.index), name) });
            let count = counts.entry((part.lane, scheduled)).or_insert(held);
            *count += 1;
            if *count > bound {
                return refused(name);
            }
            let bytes = bytes.entry(part.lane).or_insert(lane.bytes());
            *bytes += part.packed.len() as u64;
            if *bytes > self.section.bytes.as_u64() {
                return refused("bytes");
            }
        }
        Ok(())
    }

    /// Returns the message ids in order, and how many ids each lane had to forget.
    fn put(&self, parts: Vec<Part>, lanes: &mut Held<'_>, now_ms: u64) -> (Vec<MessageId>, Vec<(u16, u64)>) {
        let mut ids: Vec<MessageId> = Vec::with_capacity(parts.len());
        let mut forgotten = Vec::new();
        for part in parts {
            let Some(lane) = lanes.get_mut(&part.lane) else { continue };
            if !part.repeat {
                lane.push(part.slot(now_ms), part.due_ms);
            }
            if let Some(id) = part.id.as_ref().filter(|_| !part.repeat) {
                let surplus = lane.remember(id, now_ms, self.section.idempotency_ids);
                forgotten.extend((surplus > 0).then_some((part.lane, surplus)));
            }
            // Later parts of a split entry have the id of the first.
            if ids.len() == part.index {
                ids.push(part.id.unwrap_or_else(|| MessageId::of_entry(part.lane, part.entry_id)));
            }
        }
        (ids, forgotten)
    }
}

impl Part {
    /// Its entry as it is kept.
    fn slot(&self, now_ms: u64) -> Slot {
        let since_ms = self.due_ms.unwrap_or(now_ms);
        let (entry_id, packed) = (self.entry_id, self.packed.clone());
        Slot { entry_id, packed, since_ms, attempts: 0, rest: None, aside: false }
    }
}

/// Gives each new entry its place.
fn number(parts: &mut [Part], lanes: &Held<'_>, now_ms: u64) {
    let mut last: BTreeMap<u16, EntryId> = lanes.iter().map(|(lane, state)| (*lane, state.last())).collect();
    for part in parts.iter_mut().filter(|part| !part.repeat) {
        let last = last.entry(part.lane).or_default();
        *last = next_id(*last, now_ms);
        part.entry_id = *last;
    }
}

/// What a store keeps of a call. Of repeats nothing: whoever repeats waits until the first is kept.
fn rows_of(parts: &[Part], now_ms: u64) -> Vec<Change> {
    let mut changes = Vec::with_capacity(2 * parts.len());
    for part in parts.iter().filter(|part| !part.repeat) {
        changes.push(rows::put_entry(part.lane, &part.slot(now_ms), part.due_ms));
        changes.extend(part.id.as_ref().map(|id| rows::put_seen(part.lane, now_ms, id)));
    }
    changes
}

fn mark_repeats(parts: &mut [Part], lanes: &mut Held<'_>, forget_before_ms: u64) {
    lanes.values_mut().for_each(|lane| lane.forget_ids(forget_before_ms));
    let mut in_this_call: HashSet<(u16, MessageId)> = HashSet::new();
    for part in parts {
        let Some(id) = &part.id else { continue };
        let seen = lanes.get(&part.lane).is_some_and(|lane| lane.seen.contains(id));
        part.repeat = seen || !in_this_call.insert((part.lane, id.clone()));
    }
}

pub(super) fn stopping() -> QueueError {
    QueueError {
        kind: QueueErrorKind::Unavailable,
        index: None,
        field: None,
        detail: "the queue is shutting down".into(),
    }
}

/// The error of a store that keeps nothing any more.
pub(super) fn failed(kind: QueueErrorKind) -> QueueError {
    QueueError { kind, index: None, field: None, detail: "the disk does not take what has to be kept".into() }
}
