//! What is to be settled and what is being settled.
//!
//! One batch is on its way; what comes in the meantime goes together in the next one. Receipts go with the settlements that
//! they tell of, and are written first; many of them go alone, where nothing is settled.

use gim_proto::EntryId;
use gim_proxy_sdk::ledger::{Ledger, LedgerError, Receipt};

use crate::source::{Settlement, Source, SourceError};

pub(super) type Settled = Vec<(EntryId, Settlement)>;

/// Receipts written at once, at most.
const PAGE: usize = 1_000;
/// With so many of them waiting nothing is routed that might add to them.
const MOST_RECEIPTS: usize = 10_000;

/// What goes together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) settled: Settled,
    /// What is to be written before. Empty: it is written.
    pub(super) receipts: Vec<Receipt>,
}

/// Why a batch is not settled.
#[derive(Debug)]
pub(super) enum Unsettled {
    Ledger(LedgerError),
    Source(SourceError),
}

impl Batch {
    /// Writes the receipts, then settles. What was done need not be done again.
    /// `run`: the run of the store under which some of it was stored.
    pub(super) async fn carry_out(
        &mut self,
        ledger: &dyn Ledger,
        source: &dyn Source,
        run: Option<u64>,
    ) -> Result<(), Unsettled> {
        while !self.receipts.is_empty() {
            let page = self.receipts.len().min(PAGE);
            let (now, _) = self.receipts.split_at(page);
            ledger.receipts(now).await.map_err(Unsettled::Ledger)?;
            self.receipts.drain(..page);
        }
        let settled = match run {
            None => source.settle(&self.settled).await,
            Some(run) => source.settle_in(run, &self.settled).await,
        };
        settled.map_err(Unsettled::Source)
    }
}

#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: Settled,
    receipts: Vec<Receipt>,
    /// The lowest of those that wait.
    lowest: Option<EntryId>,
    under_way: usize,
    /// Also of receipts alone.
    is_under_way: bool,
    lowest_under_way: Option<EntryId>,
}

impl Settling {
    pub(super) fn add(&mut self, settlements: Settled, receipts: Vec<Receipt>) {
        self.receipts.extend(receipts);
        let lowest = settlements.iter().map(|(entry_id, _)| *entry_id).min();
        self.lowest = self.lowest.into_iter().chain(lowest).min();
        if self.waiting.is_empty() {
            self.waiting = settlements;
        } else {
            self.waiting.extend(settlements);
        }
    }

    /// Tells whether so many receipts wait that no more should be made.
    pub(super) fn is_full(&self) -> bool {
        self.receipts.len() >= MOST_RECEIPTS
    }

    /// Takes the next batch, if none is on its way and something waits: a settlement, or a page of receipts.
    pub(super) fn begin(&mut self) -> Option<Batch> {
        if self.is_under_way || (self.waiting.is_empty() && self.receipts.len() < PAGE) {
            return None;
        }
        self.is_under_way = true;
        self.under_way = self.waiting.len();
        self.lowest_under_way = self.lowest.take();
        let (settled, receipts) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.receipts));
        Some(Batch { settled, receipts })
    }

    /// The batch on its way is settled.
    pub(super) fn end(&mut self) {
        self.under_way = 0;
        self.is_under_way = false;
        self.lowest_under_way = None;
    }

    /// The batch on its way goes again, before what waits.
    pub(super) fn fail(&mut self, batch: Batch) {
        self.end();
        let Batch { mut settled, mut receipts } = batch;
        settled.append(&mut self.waiting);
        receipts.append(&mut self.receipts);
        self.lowest = None;
        self.add(settled, receipts);
    }

    /// Gives up settlements that wait. Their receipts are true all the same.
    pub(super) fn give_up(&mut self, which: impl Fn(EntryId) -> bool) {
        self.waiting.retain(|(entry_id, _)| !which(*entry_id));
        self.lowest = self.waiting.iter().map(|(entry_id, _)| *entry_id).min();
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Names the lowest entry of all.
    pub(super) fn lowest(&self) -> Option<EntryId> {
        self.lowest.into_iter().chain(self.lowest_under_way).min()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.under_way
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(seqs: &[u64]) -> Settled {
        seqs.iter().map(|seq| (EntryId { ms: 0, seq: *seq }, Settlement::Ack)).collect()
    }

    fn seq(entry_id: Option<EntryId>) -> Option<u64> {
        entry_id.map(|entry_id| entry_id.seq)
    }

    #[test]
    fn the_lowest_counts_until_it_is_settled() {
        let mut settling = Settling::default();
        assert_eq!((settling.begin().is_none(), settling.lowest()), (true, None));
        settling.add(acks(&[3, 2, 4]), Vec::new());
        let first = settling.begin().unwrap();
        settling.add(acks(&[7, 6]), Vec::new());
        assert!(settling.begin().is_none());
        assert_eq!((seq(settling.lowest()), settling.len()), (Some(2), 5));
        settling.fail(first);
        assert_eq!(seq(settling.lowest()), Some(2));
        assert_eq!(settling.begin().unwrap().settled, acks(&[3, 2, 4, 7, 6]), "in order");
        settling.add(acks(&[9]), Vec::new());
        settling.end();
        assert_eq!((seq(settling.lowest()), settling.len()), (Some(9), 1));
        settling.begin();
        settling.end();
        assert!(settling.is_empty());
    }

    #[test]
    fn a_page_of_receipts_goes_without_a_settlement_and_too_many_are_known() {
        let receipts = |count: usize| -> Vec<Receipt> {
            let receipt = Receipt {
                id: gim_proto::MessageId::parse("m").unwrap(),
                target: "a".into(),
                state: gim_proxy_sdk::ledger::ReceiptState::Trimmed,
                reason: None,
                node: "n".into(),
                at_ms: 0,
            };
            vec![receipt; count]
        };
        let mut settling = Settling::default();
        settling.add(Vec::new(), receipts(PAGE - 1));
        assert!(settling.begin().is_none(), "few wait for what they go with");
        settling.add(Vec::new(), receipts(1));
        let alone = settling.begin().unwrap();
        assert_eq!((alone.receipts.len(), alone.settled.len(), settling.is_empty()), (PAGE, 0, true));
        settling.add(acks(&[1]), Vec::new());
        assert!(settling.begin().is_none(), "one is on its way");
        settling.fail(alone);
        let both = settling.begin().unwrap();
        assert_eq!((both.receipts.len(), both.settled.len()), (PAGE, 1));
        settling.end();
        settling.add(Vec::new(), receipts(MOST_RECEIPTS - 1));
        assert!(!settling.is_full());
        settling.add(Vec::new(), receipts(1));
        assert!(settling.is_full());
        settling.begin();
        assert!(!settling.is_full());
    }
}
