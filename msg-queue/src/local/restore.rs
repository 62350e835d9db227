//! How a queue begins with what a store has kept.

use std::collections::HashMap;
use std::sync::Arc;

use gim_proto::EntryId;
use gim_proxy_sdk::journal::{BadRow, Journal, Table};

use super::LocalQueue;
use super::lane::LaneState;
use super::log::LaneLog;
use super::rows::{self, Meta};
use super::store::{Row, Rows, StoreError, StoreErrorKind};
use crate::clock::Clock;
use crate::config::QueueSection;
use crate::observe::Observer;

impl LocalQueue {
    /// Makes a queue of what a store has kept, and has everything kept there from now on.
    ///
    /// # Errors
    /// What is there is of another number of lanes, or not what this version writes.
    pub fn restored(
        section: QueueSection,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        journal: Arc<dyn Journal>,
        rows: &Rows,
    ) -> Result<Arc<Self>, StoreError> {
        let count = section.lanes.get();
        let mut lanes = Lanes((0..count).map(|_| LaneState::default()).collect());
        let read = watermarks(rows, count)?;
        for (lane, state) in (0_u16..).zip(&mut lanes.0) {
            let read = read.get(&lane).copied().unwrap_or_default();
            state.log = LaneLog::of(lane, Arc::clone(&journal), read);
        }
        lanes.take_up(rows, &read)?;
        let entries: u64 = lanes.0.iter().map(|lane| lane.unread() + lane.waiting()).sum();
        if entries > 0 {
            tracing::info!(entries, "the queue goes on with what was kept");
        }
        // The first rows of the next change.
        for state in &mut lanes.0 {
            state.log.submit().map_err(|_| rows.refuse(StoreErrorKind::Disk, "it takes nothing"))?;
        }
        let noted = journal.take(vec![rows::put_lanes(count)]);
        drop(noted.map_err(|_| rows.refuse(StoreErrorKind::Disk, "it takes nothing"))?);
        Ok(Self::of(lanes.0, Some(journal), section, clock, observer))
    }
}

struct Lanes(Vec<LaneState>);

impl Lanes {
    fn take_up(&mut self, kept: &Rows, read: &HashMap<u16, EntryId>) -> Result<(), StoreError> {
        each_of(kept, Table::Seen, kept.of(Table::Seen)?.iter().rev(), |row| {
            let (lane, at_ms, id) = rows::seen(row)?;
            // An empty queue may have got another number of lanes.
            if let Ok(state) = self.of(lane)
                && state.seen.restore(&id, at_ms)
            {
                state.log.note(|lane| rows::delete_seen(lane, at_ms, &id));
            }
            Ok(())
        })?;
        each(kept, Table::Entries, |row| {
            let slot = rows::entry(row)?;
            let read = read.get(&slot.lane).copied().unwrap_or_default();
            self.of(slot.lane)?.restore([slot], read);
            Ok(())
        })?;
        each(kept, Table::Dead, |row| {
            let (lane, letter) = rows::letter(row)?;
            self.of(lane)?.restore_letter(letter);
            Ok(())
        })?;
        // Ids go on from there, also if the clock has fallen back.
        for (lane, read) in read {
            self.of(*lane).into_iter().for_each(|state| state.restore([], *read));
        }
        Ok(())
    }

    fn of(&mut self, lane: u16) -> Result<&mut LaneState, BadRow> {
        self.0.get_mut(usize::from(lane)).ok_or(BadRow)
    }
}

/// How far each lane was read.
fn watermarks(rows: &Rows, lanes: u16) -> Result<HashMap<u16, EntryId>, StoreError> {
    let mut read = HashMap::new();
    let mut kept_lanes = lanes;
    each(rows, Table::Meta, |row| {
        match rows::meta(row)? {
            Meta::Lanes(count) => kept_lanes = count,
            Meta::Read(lane, entry_id) => drop(read.insert(lane, entry_id)),
            Meta::Other => {}
        }
        Ok(())
    })?;
    let is_empty = || Ok(rows.of(Table::Entries)?.is_empty() && rows.of(Table::Dead)?.is_empty());
    if kept_lanes != lanes && !is_empty()? {
        let what = format!("what waits there is of {kept_lanes} lanes, and queue.lanes is {lanes}");
        return Err(rows.refuse(StoreErrorKind::Lanes, what));
    }
    Ok(read)
}

fn each(rows: &Rows, table: Table, take: impl FnMut(&Row) -> Result<(), BadRow>) -> Result<(), StoreError> {
    each_of(rows, table, rows.of(table)?.iter(), take)
}

fn each_of<'a>(
    rows: &Rows,
    table: Table,
    mut found: impl Iterator<Item = &'a Row>,
    take: impl FnMut(&Row) -> Result<(), BadRow>,
) -> Result<(), StoreError> {
    let bad = format!("a row of the table {} is not what was written", table.as_str());
    found.try_for_each(take).map_err(|_| rows.refuse(StoreErrorKind::Corrupt, bad))
}
