//! The rows of a lane: how entries, dead letters and ids are kept in the store.
//!
//! Owns their keys and values. Keys begin with the lane and sort as the entries came. Never decides what is kept.

use bytes::Bytes;
use gim_proto::{DeadReason, EntryId, Incarnation, MessageId, Uid};
use gim_proxy_sdk::journal::{BadRow, Change, RowReader, RowWriter, Table};

use super::dead::Letter;
use super::lane::Slot;
use crate::source::{Death, Rest};

const REASONS: [DeadReason; 4] =
    [DeadReason::Malformed, DeadReason::TooLarge, DeadReason::Attempts, DeadReason::Unsupported];
const LANES: &[u8] = b"lanes";

/// An entry as it was kept, and the lane it is of.
pub(super) struct KeptSlot {
    pub(super) lane: u16,
    pub(super) slot: Slot,
    /// It waits for this time, Unix milliseconds.
    pub(super) due_ms: Option<u64>,
}

/// An entry that is not settled.
pub(super) fn put_entry(lane: u16, slot: &Slot, due_ms: Option<u64>) -> Change {
    let row = RowWriter::with_room(64 + slot.packed.len()).number(slot.since_ms).number(due_ms.unwrap_or(0));
    let row = row.number(slot.attempts.into()).byte(slot.aside.into());
    let value = rest(row, slot.rest.as_deref()).rest(&slot.packed);
    Change::put(Table::Entries, key(lane, slot.entry_id), value)
}

pub(super) fn delete_entry(lane: u16, entry_id: EntryId) -> Change {
    Change::delete(Table::Entries, key(lane, entry_id))
}

pub(super) fn entry((key, value): &(Bytes, Bytes)) -> Result<KeptSlot, BadRow> {
    let (lane, entry_id) = read_key(key)?;
    let mut row = RowReader::of(value);
    let (since_ms, due_ms) = (row.number()?, row.number()?);
    let attempts = attempts(&mut row)?;
    let aside = row.byte()? != 0;
    let rest = read_rest(&mut row)?.map(Box::new);
    let slot = Slot { entry_id, packed: row.rest(), since_ms, attempts, rest, aside };
    Ok(KeptSlot { lane, slot, due_ms: (due_ms > 0).then_some(due_ms) })
}

pub(super) fn put_letter(lane: u16, letter: &Letter) -> Change {
    let Letter { id, at_ms, death, slot } = letter;
    let row = RowWriter::with_room(128 + slot.packed.len()).number(*at_ms);
    let row = row.number(slot.entry_id.ms).number(slot.entry_id.seq).number(slot.since_ms);
    let row = row.text(death.reason.as_str()).number(death.attempts.into()).text(&death.error);
    let row = row.list(&death.failed_targets, |row, name| row.text(name));
    let value = rest(row, death.rest.as_ref()).rest(&slot.packed);
    Change::put(Table::Dead, key(lane, *id), value)
}

pub(super) fn delete_letter(lane: u16, id: EntryId) -> Change {
    Change::delete(Table::Dead, key(lane, id))
}

pub(super) fn letter((key, value): &(Bytes, Bytes)) -> Result<(u16, Letter), BadRow> {
    let (lane, id) = read_key(key)?;
    let mut row = RowReader::of(value);
    let at_ms = row.number()?;
    let entry_id = EntryId { ms: row.number()?, seq: row.number()? };
    let since_ms = row.number()?;
    let word = row.text()?;
    let reason = REASONS.into_iter().find(|reason| reason.as_str() == word).ok_or(BadRow)?;
    let attempts = attempts(&mut row)?;
    let error = row.text()?.into();
    let failed_targets = row.list(|row| row.text().map(Into::into))?;
    let rest = read_rest(&mut row)?;
    let death = Death { reason, attempts, error, failed_targets, rest: rest.clone() };
    let slot = Slot { entry_id, packed: row.rest(), since_ms, attempts: 0, rest: rest.map(Box::new), aside: false };
    Ok((lane, Letter { id, at_ms, death, slot }))
}

pub(super) fn put_seen(lane: u16, at_ms: u64, id: &MessageId) -> Change {
    Change::put(Table::Seen, seen_key(lane, at_ms, id), Bytes::new())
}

pub(super) fn delete_seen(lane: u16, at_ms: u64, id: &MessageId) -> Change {
    Change::delete(Table::Seen, seen_key(lane, at_ms, id))
}

pub(super) fn seen((key, _): &(Bytes, Bytes)) -> Result<(u16, u64, MessageId), BadRow> {
    let mut row = RowReader::of(key);
    let (lane, at_ms) = (row.short()?, row.number()?);
    let id = MessageId::parse(&row.text()?).map_err(|_| BadRow)?;
    Ok((lane, at_ms, id))
}

/// The highest entry that was read.
pub(super) fn put_read(lane: u16, entry_id: EntryId) -> Change {
    Change::put(Table::Meta, read_row(lane), RowWriter::default().number(entry_id.ms).number(entry_id.seq).end())
}

pub(super) fn put_lanes(lanes: u16) -> Change {
    Change::put(Table::Meta, LANES.into(), RowWriter::default().short(lanes).end())
}

/// What the table `Meta` says of lanes.
pub(super) enum Meta {
    Lanes(u16),
    Read(u16, EntryId),
    /// It is somebody else's.
    Other,
}

pub(super) fn meta((key, value): &(Bytes, Bytes)) -> Result<Meta, BadRow> {
    let mut row = RowReader::of(value);
    if key.as_ref() == LANES {
        return Ok(Meta::Lanes(row.short()?));
    }
    let Some(lane) = key.strip_prefix(b"read-") else { return Ok(Meta::Other) };
    let lane = RowReader::of(&key.slice_ref(lane)).short()?;
    Ok(Meta::Read(lane, EntryId { ms: row.number()?, seq: row.number()? }))
}

fn read_row(lane: u16) -> Bytes {
    let mut key = b"read-".to_vec();
    key.extend_from_slice(&lane.to_be_bytes());
    key.into()
}

fn key(lane: u16, entry_id: EntryId) -> Bytes {
    RowWriter::with_room(18).short(lane).number(entry_id.ms).number(entry_id.seq).end()
}

fn read_key(key: &Bytes) -> Result<(u16, EntryId), BadRow> {
    let mut row = RowReader::of(key);
    let (lane, entry_id) = (row.short()?, EntryId { ms: row.number()?, seq: row.number()? });
    row.end()?;
    Ok((lane, entry_id))
}

fn seen_key(lane: u16, at_ms: u64, id: &MessageId) -> Bytes {
    RowWriter::with_room(18 + id.as_str().len()).short(lane).number(at_ms).text(id.as_str()).end()
}

fn attempts(row: &mut RowReader) -> Result<u32, BadRow> {
    u32::try_from(row.number()?).map_err(|_| BadRow)
}

fn rest(row: RowWriter, rest: Option<&Rest>) -> RowWriter {
    match rest {
        None => row.byte(0),
        Some(Rest::Users(users)) => row.byte(1).list(users, |row, uid| row.text(uid.as_str())),
        Some(Rest::NodesBut(nodes)) => row.byte(2).list(nodes, |row, node| row.text(&node.to_string())),
    }
}

fn read_rest(row: &mut RowReader) -> Result<Option<Rest>, BadRow> {
    let uid = |row: &mut RowReader| Uid::parse(&row.text()?).map_err(|_| BadRow);
    let node = |row: &mut RowReader| Incarnation::parse(&row.text()?).map_err(|_| BadRow);
    match row.byte()? {
        0 => Ok(None),
        1 => Ok(Some(Rest::Users(row.list(uid)?))),
        2 => Ok(Some(Rest::NodesBut(row.list(node)?))),
        _ => Err(BadRow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(rest: Option<Rest>) -> Slot {
        let entry_id = EntryId { ms: 7, seq: 8 };
        Slot {
            entry_id,
            packed: Bytes::from_static(b"packed"),
            since_ms: 9,
            attempts: 3,
            rest: rest.map(Box::new),
            aside: true,
        }
    }

    fn row(change: Change) -> (Bytes, Bytes) {
        (change.key, change.value.unwrap())
    }

    #[test]
    fn an_entry_comes_out_as_it_went_in() {
        let users = Rest::Users(vec![Uid::parse("a").unwrap(), Uid::parse("b").unwrap()]);
        for rest in [None, Some(users), Some(Rest::NodesBut(vec![Incarnation::mint()]))] {
            let slot = slot(rest);
            for due_ms in [None, Some(4)] {
                let kept = entry(&row(put_entry(5, &slot, due_ms))).unwrap();
                assert_eq!((kept.lane, kept.due_ms, kept.slot), (5, due_ms, slot.clone()));
            }
        }
    }

    #[test]
    fn a_dead_letter_comes_out_as_it_went_in() {
        let rest = Some(Rest::Users(vec![Uid::parse("a").unwrap()]));
        let death = Death {
            reason: DeadReason::Attempts,
            attempts: 30,
            error: "unreachable".into(),
            failed_targets: vec!["a".into()],
            rest: rest.clone(),
        };
        let slot = Slot { attempts: 0, aside: false, ..slot(rest) };
        let letter = Letter { id: EntryId { ms: 1, seq: 2 }, at_ms: 1, death, slot };
        assert_eq!(super::letter(&row(put_letter(63, &letter))), Ok((63, letter)));
    }

    #[test]
    fn keys_sort_as_the_entries_came() {
        let ids = [(0, 5, 1), (0, 5, 2), (0, 300, 0), (1, 1, 0)];
        let keys = ids.map(|(lane, ms, seq)| key(lane, EntryId { ms, seq }));
        assert!(keys.is_sorted());
    }

    #[test]
    fn an_id_comes_out_as_it_went_in() {
        let id = MessageId::parse("order-1").unwrap();
        assert_eq!(seen(&row(put_seen(3, 44, &id))), Ok((3, 44, id)));
    }

    #[test]
    fn what_lanes_note_is_told_from_what_others_do() {
        let at = EntryId { ms: 3, seq: 4 };
        assert!(matches!(meta(&row(put_read(9, at))), Ok(Meta::Read(9, found)) if found == at));
        assert!(matches!(meta(&row(put_lanes(4))), Ok(Meta::Lanes(4))));
        assert!(matches!(meta(&(Bytes::from_static(b"schema"), Bytes::from_static(b"1"))), Ok(Meta::Other)));
    }
}
