//! What is to be settled and what is being settled.
//!
//! One batch is on its way; what comes in the meantime goes together in the next one.

use gim_proto::EntryId;

use crate::source::Settlement;

pub(super) type Settled = Vec<(EntryId, Settlement)>;

#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: Settled,
    /// The lowest of those that wait.
    lowest: Option<EntryId>,
    under_way: usize,
    lowest_under_way: Option<EntryId>,
}

impl Settling {
    pub(super) fn add(&mut self, settlements: Settled) {
        let lowest = settlements.iter().map(|(entry_id, _)| *entry_id).min();
        self.lowest = self.lowest.into_iter().chain(lowest).min();
        if self.waiting.is_empty() {
            self.waiting = settlements;
        } else {
            self.waiting.extend(settlements);
        }
    }

    /// Takes the next batch, if none is on its way and something waits.
    pub(super) fn begin(&mut self) -> Option<Settled> {
        if self.under_way > 0 || self.waiting.is_empty() {
            return None;
        }
        self.under_way = self.waiting.len();
        self.lowest_under_way = self.lowest.take();
        Some(std::mem::take(&mut self.waiting))
    }

    /// The batch on its way is settled.
    pub(super) fn end(&mut self) {
        self.under_way = 0;
        self.lowest_under_way = None;
    }

    /// The batch on its way goes again, before what waits.
    pub(super) fn fail(&mut self, mut batch: Settled) {
        self.end();
        batch.append(&mut self.waiting);
        self.lowest = None;
        self.add(batch);
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
        assert_eq!((settling.begin(), settling.lowest()), (None, None));
        settling.add(acks(&[3, 2, 4]));
        let first = settling.begin().unwrap();
        settling.add(acks(&[7, 6]));
        assert_eq!((settling.begin(), seq(settling.lowest()), settling.len()), (None, Some(2), 5));
        settling.fail(first);
        assert_eq!(seq(settling.lowest()), Some(2));
        assert_eq!(settling.begin(), Some(acks(&[3, 2, 4, 7, 6])), "in order");
        settling.add(acks(&[9]));
        settling.end();
        assert_eq!((seq(settling.lowest()), settling.len()), (Some(9), 1));
        settling.begin();
        settling.end();
        assert!(settling.is_empty());
    }
}
