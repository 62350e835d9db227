//! Entries that wait beside the stream: schedules, long retries and what waits behind them, redriven dead letters.
//!
//! The score of each says its due time and its band: handed out (T), put aside by a worker (R), scheduled (S).

use std::sync::Arc;

use ::redis::Value;
use gim_proto::EntryId;
use tokio::time::Instant;

use super::decode::Read;
use super::fetch::Reader;
use super::reply;
use super::scripts::{Args, DUE, GATHER, RECALL};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::source::Room;

/// What lies between two bands.
const BAND_MS: i64 = 1_000_000_000_000_000;
/// Below it is band T, between it and 0 band R.
const BORDER: i64 = -BAND_MS;
/// No due time is later. Still in its band.
const LAST_MS: u64 = 900_000_000_000_000;
/// Members dealt with at once.
const PAGE: usize = 1_000;

/// The score of an entry put aside by a worker.
pub(super) fn score_aside(due_ms: u64) -> i64 {
    score_planned(due_ms) - BAND_MS
}

/// The score of a schedule.
pub(super) fn score_planned(due_ms: u64) -> i64 {
    i64::try_from(due_ms.min(LAST_MS)).unwrap_or(0)
}

/// The name of an entry beside the stream: sorts as its id does.
pub(super) fn member(entry_id: EntryId) -> String {
    format!("{:016x}-{:016x}", entry_id.ms, entry_id.seq)
}

fn entry_id_of(member: &str) -> Option<EntryId> {
    let (ms, seq) = member.split_once('-')?;
    Some(EntryId { ms: u64::from_str_radix(ms, 16).ok()?, seq: u64::from_str_radix(seq, 16).ok()? })
}

impl Reader {
    /// Takes back what is handed out and not outstanding, if there may be some.
    pub(super) async fn recall(&mut self, shared: &Arc<Shared>) -> Result<(), Trouble> {
        if self.chores.recall {
            recall(shared, self.chores.counts).await?;
            self.chores.recall = false;
            self.chores.counts = false;
            // It may be due at once.
            self.looked = None;
        }
        if self.chores.all {
            gather(shared).await?;
            self.chores.all = false;
            self.all = true;
        }
        Ok(())
    }

    /// Reads what was put aside before the lane was taken, whatever its time.
    pub(super) async fn all(&mut self, shared: &Arc<Shared>, room: Room) -> Result<Vec<Read>, Trouble> {
        if !self.all {
            return Ok(Vec::new());
        }
        let read = self.take(shared, room, &score_aside(0).to_string()).await?;
        self.all = !read.is_empty();
        Ok(read)
    }

    /// Reads what was put aside and is due.
    pub(super) async fn due(&mut self, shared: &Arc<Shared>, room: Room) -> Result<Vec<Read>, Trouble> {
        // Forgotten first: if it fails, the next look has to be soon.
        self.looked = None;
        let read = self.take(shared, room, "").await?;
        self.looked = Some(Instant::now());
        Ok(read)
    }

    async fn take(&mut self, shared: &Shared, room: Room, all_to: &str) -> Result<Vec<Read>, Trouble> {
        const WHAT: &str = "entries that are due";
        shared.wake.forget_due();
        let args = Args::default().with(room.entries.min(PAGE)).with(room.bytes);
        let args = args.with(shared.clock.unix_ms()).with(all_to);
        // An answer that is lost leaves entries handed out to nobody.
        self.chores.recall = true;
        let [next_due, waiting, gone, out] = reply::exactly(shared.fenced(&DUE, &args).await?, WHAT)?;
        self.chores.recall = false;
        if let Ok(due_ms) = reply::number(&next_due, WHAT) {
            shared.wake.is_due_at(due_ms);
        }
        shared.set_scheduled(reply::number(&waiting, WHAT)?);
        shared.tell_gone(reply::list(gone, WHAT)?.len() as u64, false, None);
        let mut out = reply::list(out, WHAT)?.into_iter();
        let mut read = Vec::new();
        while let (Some(member), Some(body)) = (out.next(), out.next()) {
            // Written by nobody of us: it stays handed out, and stops nobody.
            let Some(entry_id) = entry_id_of(&reply::text(member, WHAT)?) else { continue };
            read.push(Read::of_body(shared, entry_id, reply::bytes(body, WHAT)?));
        }
        Ok(read)
    }
}

async fn recall(shared: &Shared, counts: bool) -> Result<(), Trouble> {
    let mut passed_over = 0;
    loop {
        let page = handed_out(shared, passed_over).await?;
        let is_last = page.len() < PAGE;
        let mut args = Args::default().with(u8::from(counts));
        let none = args.len();
        for member in page {
            match entry_id_of(&member).is_some_and(|entry_id| shared.outstanding().pass_over(entry_id)) {
                true => passed_over += 1,
                false => args.push(member),
            }
        }
        if args.len() > none {
            shared.fenced::<Value>(&RECALL, &args).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

async fn handed_out(shared: &Shared, from: usize) -> Result<Vec<String>, Trouble> {
    let mut list = ::redis::cmd("ZRANGEBYSCORE");
    list.arg(&shared.names.later).arg("-inf").arg(format!("({BORDER}")).arg("LIMIT").arg(from).arg(PAGE);
    Ok(shared.link.query(&list).await?)
}

/// Makes all that was put aside due at once, in the order of its entries.
async fn gather(shared: &Shared) -> Result<(), Trouble> {
    let args = Args::default().with(PAGE);
    while shared.fenced::<usize>(&GATHER, &args).await? == PAGE {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_sort_as_their_entries_and_name_them() {
        let ids = [(1, 9), (1, 10), (2, 0), (255, 1), (256, 0), (u64::MAX, u64::MAX)];
        let ids = ids.map(|(ms, seq)| EntryId { ms, seq });
        assert!(ids.map(member).is_sorted());
        assert_eq!(ids.map(|entry_id| entry_id_of(&member(entry_id))), ids.map(Some));
        assert_eq!(entry_id_of("x"), None);
    }

    #[test]
    fn bands_do_not_meet() {
        for due_ms in [0, 1, 1_763_000_000_000, LAST_MS, u64::MAX] {
            assert!(score_planned(due_ms) >= 0);
            assert!((BORDER..0).contains(&score_aside(due_ms)));
            assert!(score_aside(due_ms) - BAND_MS < BORDER);
        }
        assert_eq!(score_aside(0), BORDER, "as gather.lua has it");
    }
}
