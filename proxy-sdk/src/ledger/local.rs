//! The ledger of a service that is one process: in memory, lost with it.
//!
//! Owns the bounds on that memory: entries per log, journeys altogether, hops of each, and the time they are kept. Each
//! log has a lock of its own that is held for a few insertions.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use gim_proto::{EntryId, MessageId};
use tokio::time::Instant;

use super::counts::{Counts, Written, add};
use super::fields::Flat;
use super::{Hop, Ledger, LedgerBounds, LedgerError, Log, Noted, Presence, Receipt};

/// Journeys kept at once. The one that began first goes first.
const JOURNEYS: usize = 10_000;

/// See the module.
pub struct LocalLedger {
    bounds: LedgerBounds,
    receipts: Mutex<Entries>,
    presence: Mutex<Entries>,
    journeys: Mutex<Journeys>,
    counts: Counts,
}

#[derive(Default)]
struct Entries {
    kept: VecDeque<Noted>,
    last: EntryId,
}

#[derive(Default)]
struct Journeys {
    kept: HashMap<MessageId, Journey>,
    /// In the order in which they began. The number tells a journey from a later one of the same name.
    begun: VecDeque<(MessageId, u64)>,
    number: u64,
}

struct Journey {
    number: u64,
    hops: Vec<Hop>,
    last: Instant,
}

impl LocalLedger {
    /// Makes an empty ledger.
    #[must_use]
    pub fn new(bounds: LedgerBounds) -> Self {
        Self {
            bounds,
            receipts: Mutex::default(),
            presence: Mutex::default(),
            journeys: Mutex::default(),
            counts: Counts::default(),
        }
    }

    fn append(&self, log: Log, entries: impl ExactSizeIterator<Item = Flat>) {
        let (most, written) = match log {
            Log::Receipts => (self.bounds.receipts, &self.counts.receipts),
            Log::Presence => (self.bounds.presence, &self.counts.presence),
        };
        add(written, entries.len());
        let mut log = self.log(log);
        entries.for_each(|fields| log.append(fields, most));
    }

    fn log(&self, log: Log) -> MutexGuard<'_, Entries> {
        let log = match log {
            Log::Receipts => &self.receipts,
            Log::Presence => &self.presence,
        };
        log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journeys(&self) -> MutexGuard<'_, Journeys> {
        self.journeys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn append(&mut self, fields: Flat, most: u64) {
        self.last = after(self.last, unix_ms());
        self.kept.push_back(Noted { id: self.last, fields });
        if self.kept.len() as u64 > most {
            self.kept.pop_front();
        }
    }

    fn read(&self, after: Option<EntryId>, limit: usize) -> Vec<Noted> {
        let first = after.map_or(0, |after| self.kept.partition_point(|noted| noted.id <= after));
        self.kept.iter().skip(first).take(limit).cloned().collect()
    }
}

/// Numbers the entry that follows another one, as Redis does: by the time, and higher than all before in any case.
fn after(last: EntryId, now_ms: u64) -> EntryId {
    if now_ms > last.ms { EntryId { ms: now_ms, seq: 0 } } else { EntryId { seq: last.seq + 1, ..last } }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl Journeys {
    /// Takes a step down. False: the journey has as many as it may have.
    fn note(&mut self, hop: Hop, bounds: LedgerBounds) -> bool {
        let now = Instant::now();
        self.forget(now, bounds);
        if !self.kept.contains_key(&hop.id) {
            self.begin(&hop.id, now);
        }
        let Some(journey) = self.kept.get_mut(&hop.id).filter(|journey| journey.hops.len() < bounds.hops) else {
            return false;
        };
        journey.hops.push(hop);
        journey.last = now;
        true
    }

    fn begin(&mut self, id: &MessageId, now: Instant) {
        if self.kept.len() >= JOURNEYS
            && let Some((oldest, number)) = self.begun.pop_front()
        {
            self.remove(&oldest, number);
        }
        self.number += 1;
        self.kept.insert(id.clone(), Journey { number: self.number, hops: Vec::new(), last: now });
        self.begun.push_back((id.clone(), self.number));
    }

    /// Forgets the oldest while their time has passed. One that goes on keeps those that began after it a little longer.
    fn forget(&mut self, now: Instant, bounds: LedgerBounds) {
        while let Some((id, number)) = self.begun.front() {
            let known = self.kept.get(id).filter(|journey| journey.number == *number);
            if known.is_some_and(|journey| now.duration_since(journey.last) < bounds.journey) {
                break;
            }
            let (id, number) = (id.clone(), *number);
            self.begun.pop_front();
            self.remove(&id, number);
        }
    }

    fn remove(&mut self, id: &MessageId, number: u64) {
        if self.kept.get(id).is_some_and(|journey| journey.number == number) {
            self.kept.remove(id);
        }
    }

    fn read(&self, id: &MessageId, bounds: LedgerBounds) -> Vec<Hop> {
        let journey = self.kept.get(id).filter(|journey| journey.last.elapsed() < bounds.journey);
        let mut hops = journey.map(|journey| journey.hops.clone()).unwrap_or_default();
        hops.sort_by_key(|hop| hop.at_us);
        hops
    }
}

#[async_trait]
impl Ledger for LocalLedger {
    async fn receipts(&self, receipts: &[Receipt]) -> Result<(), LedgerError> {
        self.append(Log::Receipts, receipts.iter().map(Receipt::fields));
        Ok(())
    }

    fn note(&self, hops: Vec<Hop>) {
        let all = hops.len();
        let mut journeys = self.journeys();
        let written = hops.into_iter().filter_map(|hop| journeys.note(hop, self.bounds).then_some(())).count();
        drop(journeys);
        add(&self.counts.hops, written);
        add(&self.counts.dropped, all - written);
    }

    fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    fn written(&self) -> Written {
        self.counts.written()
    }

    async fn presence(&self, news: &[Presence]) -> Result<(), LedgerError> {
        self.append(Log::Presence, news.iter().map(Presence::fields));
        Ok(())
    }

    async fn journey(&self, id: &MessageId) -> Result<Vec<Hop>, LedgerError> {
        Ok(self.journeys().read(id, self.bounds))
    }

    async fn read(&self, log: Log, after: Option<EntryId>, limit: usize) -> Result<Vec<Noted>, LedgerError> {
        Ok(self.log(log).read(after, limit))
    }
}

#[cfg(test)]
mod tests;
