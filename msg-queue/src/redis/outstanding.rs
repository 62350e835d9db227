//! What was handed out and is not settled: the entries a lane's worker knows of.

use gim_proto::EntryId;

use crate::by_entry::ByEntry;

/// Where an entry is kept while it is outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// On the stream, pending.
    Stream,
    /// Beside it, among what was put aside.
    Later,
}

/// What has to be known of an entry to settle it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) origin: Origin,
    /// When its producer wants it delivered, Unix milliseconds, if it was never tried.
    pub(super) planned_ms: Option<u64>,
    pub(super) size: usize,
    /// It came up again while its settlement was on its way.
    pub(super) again: bool,
}

/// Bounded by the worker's window: what is not settled is not read on.
#[derive(Debug, Default)]
pub(super) struct Outstanding(ByEntry<Held>);

impl Outstanding {
    pub(super) fn contains(&self, entry_id: EntryId) -> bool {
        self.0.contains(entry_id)
    }

    /// Tells whether an entry that came up is outstanding. If so, it is looked for again once that is settled: an answer
    /// that was lost may have handed it out to nobody meanwhile.
    pub(super) fn pass_over(&mut self, entry_id: EntryId) -> bool {
        match self.0.get_mut(entry_id) {
            Some(held) => {
                held.again = true;
                true
            }
            None => false,
        }
    }

    pub(super) fn find(&self, entry_id: EntryId) -> Option<Held> {
        self.0.get(entry_id).copied()
    }

    /// Takes up an entry that is handed out. False: it is outstanding already, and must not be.
    pub(super) fn hold(&mut self, entry_id: EntryId, held: Held) -> bool {
        match self.0.insert(entry_id, held) {
            Ok(()) => true,
            Err(before) => {
                before.again = true;
                false
            }
        }
    }

    /// Forgets entries that are settled. True: one of them came up again meanwhile and was not handed out.
    pub(super) fn settled(&mut self, entries: impl IntoIterator<Item = EntryId>) -> bool {
        let mut again = false;
        for entry_id in entries {
            again |= self.0.remove(entry_id).is_some_and(|held| held.again);
        }
        again
    }

    /// Forgets everything. Returns how many there were.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }

    /// Counts what is pending on the stream, and names the lowest of it.
    pub(super) fn pending(&self) -> (u64, Option<EntryId>) {
        let mut pending = self.0.iter().filter(|(_, held)| held.origin == Origin::Stream).map(|(entry_id, _)| entry_id);
        let lowest = pending.next();
        (u64::from(lowest.is_some()) + pending.count() as u64, lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> EntryId {
        EntryId { ms: 1, seq }
    }

    fn held(origin: Origin) -> Held {
        Held { origin, planned_ms: None, size: 1, again: false }
    }

    #[test]
    fn what_is_outstanding_is_not_handed_out_twice() {
        let mut outstanding = Outstanding::default();
        assert!(outstanding.hold(id(1), held(Origin::Later)));
        assert!(!outstanding.hold(id(1), held(Origin::Later)));
        assert!(outstanding.settled([id(1)]), "whoever took it off has to be told");
        assert!(outstanding.hold(id(1), held(Origin::Later)));
        assert!(!outstanding.settled([id(1), id(2)]));
    }

    #[test]
    fn pending_counts_what_is_on_the_stream() {
        let mut outstanding = Outstanding::default();
        assert_eq!(outstanding.pending(), (0, None));
        for (seq, origin) in [(1, Origin::Later), (2, Origin::Stream), (3, Origin::Later), (4, Origin::Stream)] {
            outstanding.hold(id(seq), held(origin));
        }
        assert_eq!(outstanding.pending(), (2, Some(id(2))));
        assert_eq!(outstanding.clear(), 4);
    }
}
