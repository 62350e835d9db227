//! The producer's side: checks entries, splits them by lane, and accepts all of a call or nothing.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU16;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gim_proto::{Entry, Fields, MAX_ENTRY_BYTES, Malformed, MalformedKind, MessageId, Target, Uid, lane_of};
use gim_proxy_sdk::queue::{QueueError, QueueErrorKind};

use super::lane::{LaneState, full};
use super::packed::pack;
use super::{LaneCell, LocalQueue};
use crate::lane::unsupported;
use crate::observe::Event;

/// What of one entry goes to one lane.
struct Part {
    /// Which entry of the call.
    index: usize,
    lane: u16,
    id: Option<MessageId>,
    due_ms: Option<u64>,
    packed: Bytes,
    /// Its id was accepted before.
    repeat: bool,
}

impl LocalQueue {
    /// Accepts all entries or none.
    pub(super) fn accept(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueError> {
        let now_ms = self.clock.unix_ms();
        let count = entries.len();
        let mut parts = Vec::with_capacity(count);
        for (index, fields) in entries.into_iter().enumerate() {
            self.check_in(index, fields, now_ms, &mut parts)?;
        }
        let mut lanes = self.lock_all(&parts);
        if self.closed.load(Ordering::Acquire) {
            return Err(stopping());
        }
        let window_ms = u64::try_from(self.section.idempotency_window.as_millis()).unwrap_or(u64::MAX);
        mark_repeats(&mut parts, &mut lanes, now_ms.saturating_sub(window_ms));
        if let Err((lane, bound, error)) = self.check_room(&parts, &lanes) {
            drop(lanes);
            self.observer.record(lane, &Event::Refused { bound });
            return Err(error);
        }
        let touched: Vec<u16> = lanes.keys().copied().collect();
        let (ids, forgotten) = self.put(parts, &mut lanes, now_ms);
        drop(lanes);
        touched.iter().filter_map(|lane| self.lanes.get(usize::from(*lane))).for_each(|cell| cell.bell.notify_one());
        for (lane, ids) in forgotten {
            self.observer.record(lane, &Event::IdsForgotten { ids });
        }
        debug_assert_eq!(ids.len(), count);
        Ok(ids)
    }

    fn check_in(&self, index: usize, fields: Fields, now_ms: u64, parts: &mut Vec<Part>) -> Result<(), QueueError> {
        let entry = Entry::decode(&fields).map_err(|malformed| refused(index, &malformed))?;
        if let Some(field) = unsupported(&entry) {
            return Err(QueueError {
                kind: QueueErrorKind::Unsupported,
                index: Some(index),
                field: Some(field.into()),
                detail: "is not supported in this mode".into(),
            });
        }
        let due_ms = entry.deliver_at_ms.filter(|due_ms| *due_ms > now_ms);
        let ahead = due_ms.map_or(0, |due_ms| due_ms - now_ms);
        if u128::from(ahead) > self.section.schedule_ahead.as_millis() {
            return Err(QueueError {
                kind: QueueErrorKind::Malformed,
                index: Some(index),
                field: Some("deliver_at_ms".into()),
                detail: "is too far ahead".into(),
            });
        }
        let part = |lane, id, packed| Part { index, lane, id, due_ms, packed, repeat: false };
        match by_lane(&entry.target, self.section.lanes) {
            Split::One(lane) => parts.push(part(lane, entry.id, pack(&fields))),
            Split::Several(lanes) => {
                let id = entry.id.unwrap_or_else(MessageId::mint);
                let base = plain(fields).map_err(|malformed| refused(index, &malformed))?;
                for (lane, uids) in lanes {
                    let fields = share(&base, &id, &uids);
                    if fields.bytes() > MAX_ENTRY_BYTES {
                        return Err(too_large(index));
                    }
                    parts.push(part(lane, Some(id.clone()), pack(&fields)));
                }
            }
        }
        Ok(())
    }

    // In ascending order, as everybody does who takes several.
    fn lock_all(&self, parts: &[Part]) -> BTreeMap<u16, MutexGuard<'_, LaneState>> {
        let wanted: HashSet<u16> = parts.iter().map(|part| part.lane).collect();
        let cells = self.lanes.iter().filter(|cell| wanted.contains(&cell.lane));
        cells.map(|cell: &_| (cell.lane, LaneCell::lock(cell))).collect()
    }

    fn check_room(
        &self,
        parts: &[Part],
        lanes: &BTreeMap<u16, MutexGuard<'_, LaneState>>,
    ) -> Result<(), (u16, &'static str, QueueError)> {
        let mut counts: BTreeMap<(u16, bool), u64> = BTreeMap::new();
        let mut bytes: BTreeMap<u16, u64> = BTreeMap::new();
        for part in parts.iter().filter(|part| !part.repeat) {
            let Some(lane) = lanes.get(&part.lane) else { continue };
            let scheduled = part.due_ms.is_some();
            let (bound, held, name) = match scheduled {
                true => (self.section.later, lane.waiting(), "later"),
                false => (self.section.entries, lane.unread(), "entries"),
            };
            let refused = |name| Err((part.lane, name, full(Some(part.index), name)));
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
    fn put(
        &self,
        parts: Vec<Part>,
        lanes: &mut BTreeMap<u16, MutexGuard<'_, LaneState>>,
        now_ms: u64,
    ) -> (Vec<MessageId>, Vec<(u16, u64)>) {
        let mut ids: Vec<MessageId> = Vec::with_capacity(parts.len());
        let mut forgotten = Vec::new();
        for part in parts {
            let Some(lane) = lanes.get_mut(&part.lane) else { continue };
            let entry_id = (!part.repeat).then(|| lane.push(part.packed, part.due_ms, now_ms));
            if let Some(id) = part.id.as_ref().filter(|_| !part.repeat) {
                let surplus = lane.seen.remember(id, now_ms, self.section.idempotency_ids);
                forgotten.extend((surplus > 0).then_some((part.lane, surplus)));
            }
            // Later parts of a split entry have the id of the first.
            if ids.len() == part.index {
                let minted = entry_id.map(|entry_id| MessageId::of_entry(part.lane, entry_id));
                ids.extend(part.id.or(minted));
            }
        }
        (ids, forgotten)
    }
}

fn mark_repeats(parts: &mut [Part], lanes: &mut BTreeMap<u16, MutexGuard<'_, LaneState>>, forget_before_ms: u64) {
    lanes.values_mut().for_each(|lane| lane.seen.forget_before(forget_before_ms));
    let mut in_this_call: HashSet<(u16, MessageId)> = HashSet::new();
    for part in parts {
        let Some(id) = &part.id else { continue };
        let seen = lanes.get(&part.lane).is_some_and(|lane| lane.seen.contains(id));
        part.repeat = seen || !in_this_call.insert((part.lane, id.clone()));
    }
}

enum Split<'a> {
    One(u16),
    Several(BTreeMap<u16, Vec<&'a Uid>>),
}

fn by_lane(target: &Target, lanes: NonZeroU16) -> Split<'_> {
    let Target::Users(uids) = target else { return Split::One(lane_of(target, lanes)) };
    let mut split: BTreeMap<u16, Vec<&Uid>> = BTreeMap::new();
    for uid in uids {
        split.entry(lane_of(&Target::User(uid.clone()), lanes)).or_default().push(uid);
    }
    match split.keys().next().copied() {
        Some(lane) if split.len() == 1 => Split::One(lane),
        _ => Split::Several(split),
    }
}

// The fields themselves, also where they came as `msg`.
fn plain(fields: Fields) -> Result<Fields, Malformed> {
    match fields.get("msg") {
        Some(msg) => Fields::from_json(msg),
        None => Ok(fields),
    }
}

fn share(base: &Fields, id: &MessageId, uids: &[&Uid]) -> Fields {
    let mut fields = base.clone();
    fields.set("id", id.to_string());
    fields.set("to_uids", serde_json::Value::from(uids.iter().map(|uid| uid.as_str()).collect::<Vec<_>>()).to_string());
    fields
}

fn refused(index: usize, malformed: &Malformed) -> QueueError {
    let kind = match malformed.kind {
        MalformedKind::TooLarge => QueueErrorKind::TooLarge,
        _ => QueueErrorKind::Malformed,
    };
    let detail = malformed.detail.clone();
    QueueError { kind, index: Some(index), field: Some(malformed.field.clone()), detail }
}

fn too_large(index: usize) -> QueueError {
    QueueError {
        kind: QueueErrorKind::TooLarge,
        index: Some(index),
        field: None,
        detail: "the entry is too large".into(),
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
