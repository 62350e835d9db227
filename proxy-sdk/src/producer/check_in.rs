//! What every entry goes through before it is accepted, wherever it is kept then.
//!
//! Owns the checks that need no store, and which part of an entry belongs to which lane. Pure: the time is passed in,
//! nothing is counted, nothing is remembered.

use std::num::NonZeroU16;
use std::time::Duration;

use gim_proto::{Entry, Fields, MAX_ENTRY_BYTES, Malformed, MalformedKind, MessageId};

use super::split::{Split, by_lane, plain, share};
use crate::queue::{QueueError, QueueErrorKind};

/// Fields of one entry, at most: as many as a dead letter keeps.
pub const MAX_FIELDS: usize = 3_000;

/// What entries are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckIn {
    /// Number of lanes.
    pub lanes: NonZeroU16,
    /// How far ahead an entry may be scheduled.
    pub schedule_ahead: Duration,
    /// What time it is, Unix milliseconds.
    pub now_ms: u64,
}

/// What of one entry goes to one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which entry of the call, counted from 0. Parts come in this order.
    pub index: usize,
    /// The lane, counted from 0.
    pub lane: u16,
    /// The producer's id, or the one minted for an entry that was split. None: the entry's place becomes its id.
    pub id: Option<MessageId>,
    /// Its time, if that has not come yet, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// What is put on the queue.
    pub fields: Fields,
}

/// Checks the entries of one call and splits them by lane.
///
/// # Errors
/// Names the first entry and field that is not acceptable.
pub fn check_in(entries: Vec<Fields>, against: &CheckIn) -> Result<Vec<Part>, QueueError> {
    let mut parts = Vec::with_capacity(entries.len());
    for (index, fields) in entries.into_iter().enumerate() {
        check_one(index, fields, against, &mut parts)?;
    }
    Ok(parts)
}

fn check_one(index: usize, fields: Fields, against: &CheckIn, parts: &mut Vec<Part>) -> Result<(), QueueError> {
    if fields.len() > MAX_FIELDS {
        return Err(refusal(QueueErrorKind::Malformed, index, "entry", "has more than 3,000 fields"));
    }
    let entry = Entry::decode(&fields).map_err(|malformed| refused(index, malformed))?;
    let due_ms = entry.deliver_at_ms.filter(|due_ms| *due_ms > against.now_ms);
    let ahead = due_ms.map_or(0, |due_ms| due_ms - against.now_ms);
    if u128::from(ahead) > against.schedule_ahead.as_millis() {
        return Err(refusal(QueueErrorKind::Malformed, index, "deliver_at_ms", "is too far ahead"));
    }
    let part = |lane, id, fields| Part { index, lane, id, due_ms, fields };
    match by_lane(&entry.target, against.lanes) {
        Split::One(lane) => parts.push(part(lane, entry.id, fields)),
        Split::Several(lanes) => {
            let id = entry.id.unwrap_or_else(MessageId::mint);
            let base = plain(fields).map_err(|malformed| refused(index, malformed))?;
            for (lane, uids) in lanes {
                let fields = share(&base, &id, &uids);
                if fields.bytes() > MAX_ENTRY_BYTES {
                    return Err(too_large(index));
                }
                parts.push(part(lane, Some(id.clone()), fields));
            }
        }
    }
    Ok(())
}

fn refused(index: usize, malformed: Malformed) -> QueueError {
    let kind = match malformed.kind {
        MalformedKind::TooLarge => QueueErrorKind::TooLarge,
        _ => QueueErrorKind::Malformed,
    };
    QueueError { kind, index: Some(index), field: Some(malformed.field), detail: malformed.detail }
}

fn refusal(kind: QueueErrorKind, index: usize, field: &str, detail: &str) -> QueueError {
    QueueError { kind, index: Some(index), field: Some(field.into()), detail: detail.into() }
}

fn too_large(index: usize) -> QueueError {
    let detail = "the entry is too large".into();
    QueueError { kind: QueueErrorKind::TooLarge, index: Some(index), field: None, detail }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gim_proto::{Target, Uid, lane_of};

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn against(lanes: u16) -> CheckIn {
        let lanes = NonZeroU16::new(lanes).unwrap();
        CheckIn { lanes, schedule_ahead: Duration::from_secs(1), now_ms: NOW_MS }
    }

    fn entry(pairs: &[(&'static str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| (name, (*value).to_owned())).chain([(&"data", "{}".to_owned())]).collect()
    }

    fn refuses(fields: Fields) -> (QueueErrorKind, Option<usize>, Option<Box<str>>) {
        let error = check_in(vec![entry(&[("to_uid", "1")]), fields], &against(1)).unwrap_err();
        (error.kind, error.index, error.field)
    }

    #[test]
    fn what_is_not_acceptable_is_named_by_entry_and_field() {
        use QueueErrorKind::{Malformed, TooLarge};
        let far = (NOW_MS + 1_001).to_string();
        let many = (0..3_000).map(|n| (format!("x{n}"), "")).chain([("to_uid".to_owned(), "1")]).collect();
        let large = entry(&[("to_uid", "1"), ("x", &"x".repeat(MAX_ENTRY_BYTES))]);
        let of = |field: &str| (Some(1), Some(Box::from(field)));
        let named = |kind, field: &str| (kind, of(field).0, of(field).1);
        assert_eq!(refuses(entry(&[])), named(Malformed, "to_uid"));
        assert_eq!(refuses(entry(&[("all", "1"), ("class", "durable")])), named(Malformed, "class"));
        assert_eq!(refuses(entry(&[("to_uid", "1"), ("deliver_at_ms", &far)])), named(Malformed, "deliver_at_ms"));
        assert_eq!(refuses(many), named(Malformed, "entry"));
        assert_eq!(refuses(large), named(TooLarge, "entry"));
    }

    #[test]
    fn every_class_and_receipts_are_accepted() {
        let table: [&[_]; 3] =
            [&[("class", "durable")], &[("class", "latest"), ("key", "k")], &[("class", "durable"), ("receipt", "1")]];
        for fields in table {
            for target in [("to_uid", "1"), ("tgid", "g"), ("to_uids", r#"["1","2"]"#)] {
                let fields: Vec<_> = fields.iter().copied().chain([target]).collect();
                assert_eq!(check_in(vec![entry(&fields)], &against(1)).unwrap().len(), 1, "{fields:?}");
            }
        }
    }

    #[test]
    fn only_a_time_to_come_is_a_schedule() {
        let at = |ms: u64| entry(&[("to_uid", "1"), ("deliver_at_ms", &ms.to_string())]);
        let parts = check_in(vec![at(NOW_MS), at(NOW_MS + 1)], &against(1)).unwrap();
        assert_eq!(parts.iter().map(|part| part.due_ms).collect::<Vec<_>>(), [None, Some(NOW_MS + 1)]);
    }

    #[test]
    fn users_are_split_by_lane_under_one_id_and_each_comes_once() {
        let uids: Vec<String> = (0..100).map(|n| format!("user-{n}")).collect();
        let list = serde_json::to_string(&uids).unwrap();
        let parts = check_in(vec![entry(&[("to_uids", &list)])], &against(4)).unwrap();
        assert_eq!(parts.iter().map(|part| part.lane).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(parts.iter().map(|part| part.id.clone().unwrap()).collect::<BTreeSet<_>>().len(), 1);
        let mut seen = Vec::new();
        for part in &parts {
            let Target::Users(mine) = Entry::decode(&part.fields).unwrap().target else { panic!("no list") };
            let lane = |uid: &Uid| lane_of(&Target::User(uid.clone()), against(4).lanes);
            assert!(mine.iter().all(|uid| lane(uid) == part.lane));
            seen.extend(mine.iter().map(ToString::to_string));
        }
        seen.sort();
        let mut uids = uids;
        uids.sort();
        assert_eq!(seen, uids);
    }

    #[test]
    fn what_need_not_be_split_is_left_as_it_was() {
        let fields = entry(&[("to_uids", r#"["1", "2"]"#), ("own", "kept")]);
        let parts = check_in(vec![fields.clone()], &against(1)).unwrap();
        assert_eq!(parts, [Part { index: 0, lane: 0, id: None, due_ms: None, fields }]);
    }
}
