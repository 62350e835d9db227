//! The ledger of a service that is one process: in memory, lost with it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gim_proto::{EntryId, MessageId};

use super::{Hop, Ledger, LedgerBounds, LedgerError, Log, Noted, Presence, Receipt};

/// See the module.
pub struct LocalLedger {
    bounds: LedgerBounds,
    state: Mutex<State>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    receipts: VecDeque<Noted>,
    presence: VecDeque<Noted>,
    journeys: HashMap<MessageId, Vec<Hop>>,
    last: EntryId,
}

impl LocalLedger {
    /// Makes an empty ledger.
    #[must_use]
    pub fn new(bounds: LedgerBounds) -> Self {
        Self { bounds, state: Mutex::default(), dropped: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for LocalLedger {
    async fn receipts(&self, receipts: &[Receipt]) -> Result<(), LedgerError> {
        let mut state = self.lock();
        for receipt in receipts {
            let mut fields = vec![
                ("id".into(), receipt.id.as_str().into()),
                ("target".into(), receipt.target.clone()),
                ("state".into(), receipt.state.as_str().into()),
            ];
            fields.extend(receipt.reason.clone().map(|reason| ("reason".into(), reason)));
            fields.push(("node".into(), receipt.node.clone()));
            fields.push(("at_ms".into(), receipt.at_ms.to_string().into()));
            state.last.seq += 1;
            let id = state.last;
            state.receipts.push_back(Noted { id, fields });
            if state.receipts.len() as u64 > self.bounds.receipts {
                state.receipts.pop_front();
            }
        }
        Ok(())
    }

    fn note(&self, hops: Vec<Hop>) {
        let mut state = self.lock();
        for hop in hops {
            let journey = state.journeys.entry(hop.id.clone()).or_default();
            if journey.len() < self.bounds.hops {
                journey.push(hop);
            } else {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    async fn presence(&self, _news: &[Presence]) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn journey(&self, id: &MessageId) -> Result<Vec<Hop>, LedgerError> {
        Ok(self.lock().journeys.get(id).cloned().unwrap_or_default())
    }

    async fn read(&self, log: Log, after: Option<EntryId>, limit: usize) -> Result<Vec<Noted>, LedgerError> {
        let state = self.lock();
        let noted = match log {
            Log::Receipts => &state.receipts,
            Log::Presence => &state.presence,
        };
        Ok(noted.iter().filter(|noted| after.is_none_or(|after| noted.id > after)).take(limit).cloned().collect())
    }
}
