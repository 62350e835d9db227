//! What is checked: a small case, and the rules of the protocol, each of which can be left out.

use std::time::Duration;

use gim_msg_queue::backoff::Backoff;
use gim_msg_queue::settle::Persistence;

use super::state::{ENTRIES, Faults};

/// A rule of the protocol. Without any one of them something promised breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A term is higher than any before, also after the lease expired or Redis lost its data.
    TermOutlivesLease,
    /// A settle script compares the term first.
    SettleComparesTerm,
    /// So do the scripts that register a reader, recall and hand out.
    ReadComparesTerm,
    /// A node refuses a term below the highest it has seen.
    NodeComparesTerm,
    /// A new owner ends the reader before it.
    KillPrevious,
    /// Which reader that is, is known also after the lease expired.
    ReaderOutlivesLease,
    /// A reader is registered before it reads.
    Register,
    /// The reader before is ended before the new one takes its place in the lease.
    KillBeforeRegister,
    /// An owner that reconnects ends its own connection before, too: the server may not know that it is broken.
    KillOnReconnect,
    /// A group that has to be made anew begins at the start of the stream.
    GroupFromStart,
    /// A new owner reads all that was put aside before it reads on, whatever its due time.
    RecallBeforeDrain,
    /// It reads that in the order of the entries: of due times only those of one owner are in order.
    RecallByEntry,
    /// A new owner reads what is pending before it reads on.
    DrainBeforeFresh,
    /// An owner that reads again what is pending passes over what it held when it asked.
    SkipHeld,
    /// What comes up from `later` while its settlement is on its way, because an answer was lost, is not handed out.
    PassOverHeld,
    /// It is taken back once it is settled.
    TakeBack,
    /// So is what a recall passes over, because it is held.
    NotePassedOver,
    /// What waits behind a message put aside goes with it.
    TakeAlong,
    /// What is read later of its target follows.
    Follow,
    /// Nothing is settled before it has an outcome.
    DeliverBeforeSettle,
    /// Trimming ends at the lowest pending entry.
    TrimKeepsPending,
}

impl Rule {
    pub(super) const ALL: [Self; 21] = [
        Self::TermOutlivesLease,
        Self::SettleComparesTerm,
        Self::ReadComparesTerm,
        Self::NodeComparesTerm,
        Self::KillPrevious,
        Self::ReaderOutlivesLease,
        Self::Register,
        Self::KillBeforeRegister,
        Self::KillOnReconnect,
        Self::GroupFromStart,
        Self::RecallBeforeDrain,
        Self::RecallByEntry,
        Self::DrainBeforeFresh,
        Self::SkipHeld,
        Self::PassOverHeld,
        Self::TakeBack,
        Self::NotePassedOver,
        Self::TakeAlong,
        Self::Follow,
        Self::DeliverBeforeSettle,
        Self::TrimKeepsPending,
    ];
}

/// A case small enough to go through all that can happen in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// The target of each entry.
    pub(super) targets: &'static [usize],
    /// How many of them are there at the start; the others are accepted at any time.
    pub(super) preloaded: u8,
    /// Entries read at once.
    pub(super) page: usize,
    /// Attempts, the first included.
    pub(super) attempts: u32,
    /// A failed message waits for its next attempt in `later`, not in the window.
    pub(super) long_waits: bool,
    pub(super) faults: Faults,
    /// What has to be found at least. Fewer means that the model has lost a limb.
    pub(super) states: usize,
    /// What has to happen in some of them.
    pub(super) happens: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    pub(super) case: Case,
    pub(super) without: Option<Rule>,
}

impl Protocol {
    pub(super) fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    pub(super) fn target(&self, entry: u8) -> usize {
        self.case.targets.get(usize::from(entry)).copied().unwrap_or(0)
    }

    pub(super) fn entries(&self) -> u8 {
        self.case.targets.len().min(ENTRIES) as u8
    }

    pub(super) fn persistence(&self) -> Persistence {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_mins(1) };
        Persistence { attempts: self.case.attempts, backoff }
    }
}
