//! Messages to look at: those of which a leg has become the next of its key, or may go at last, since the last look.
//!
//! Whoever brings that about puts the message here, and it alone: looking is the lane's whole work. What turns out not
//! to be free is taken out, and put back when that changes.

use gim_proto::EntryId;

use crate::by_entry::ByEntry;

#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    entries: ByEntry<()>,
    /// How often one was put here.
    #[cfg(test)]
    pub(super) inserts: usize,
}

impl Candidates {
    pub(super) fn insert(&mut self, entry_id: EntryId) {
        // There already is as good.
        let _ = self.entries.insert(entry_id, ());
        #[cfg(test)]
        {
            self.inserts += 1;
        }
    }

    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = EntryId>) {
        entries.into_iter().for_each(|entry_id| self.insert(entry_id));
    }

    pub(super) fn remove(&mut self, entry_id: EntryId) {
        self.entries.remove(entry_id);
    }

    pub(super) fn first(&self) -> Option<EntryId> {
        self.entries.first()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Goes through them in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = EntryId> {
        self.entries.iter().map(|(entry_id, ())| entry_id)
    }
}
