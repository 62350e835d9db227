//! What is checked: a small case, and the rules of the protocol, each of which can be left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::properties::Event;
use super::state::Faults;

/// A rule of the protocol. Without any one of them something promised breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// An id is remembered until its entry lies below the lane's low water, also when the message was acknowledged.
    RememberIds,
    /// Who lost the lane appends nothing: it looks at its lease immediately before, and the store refuses what is late.
    AppendAsOwner,
    /// An entry is settled after its append.
    AppendBeforeSettle,
    /// Owners are looked up after the append.
    AppendBeforeLookUp,
    /// A session opens its mailbox after it has claimed the uid.
    ClaimBeforeOpen,
    /// A hint is written only where it follows what was handed out last.
    HintAtCursor,
    /// What was not handed out is not acknowledged.
    AckWithinCursor,
    /// Who was superseded acknowledges nothing.
    AckComparesFence,
    /// The epoch rises when somebody has seen more than there is.
    EpochRises,
    /// A session asks whether the mailbox still has what it saw when the store comes back as another run.
    AskAfterRun,
    /// A worker begins its round anew when the store comes back as another run: what it appended may be gone. The store
    /// compares the run when it settles; that nothing is appended before the worker has heard of it is assumed, not built.
    BeginAnewAfterRun,
    /// An acknowledgement names the epoch: one on its way while that rises would count for what it is not about.
    AckNamesEpoch,
    /// Assumed, not built: after a loss, who has seen more asks before anything is appended.
    AskBeforeAppend,
}

impl Rule {
    pub(super) const ALL: [Self; 13] = [
        Self::RememberIds,
        Self::AppendAsOwner,
        Self::AppendBeforeSettle,
        Self::AppendBeforeLookUp,
        Self::ClaimBeforeOpen,
        Self::HintAtCursor,
        Self::AckWithinCursor,
        Self::AckComparesFence,
        Self::EpochRises,
        Self::AskAfterRun,
        Self::BeginAnewAfterRun,
        Self::AckNamesEpoch,
        Self::AskBeforeAppend,
    ];
}

/// A case small enough to go through all that can happen in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// Messages.
    pub(super) entries: u8,
    /// Messages of a page.
    pub(super) page: usize,
    pub(super) faults: Faults,
    /// What has to be found at least. Fewer means that the model has lost a limb.
    pub(super) states: usize,
    /// What has to happen in some of them.
    pub(super) happens: &'static [Event],
}

#[derive(Clone, Debug)]
pub(super) struct Protocol {
    pub(super) case: Case,
    pub(super) without: Option<Rule>,
    /// What happened anywhere. Beside the states: whether it did makes no difference to what comes.
    happened: Arc<AtomicU16>,
}

impl Protocol {
    pub(super) fn new(case: Case, without: Option<Rule>) -> Self {
        Self { case, without, happened: Arc::default() }
    }

    pub(super) fn note(&self, event: Event) {
        self.happened.fetch_or(event as u16, Ordering::Relaxed);
    }

    pub(super) fn has_happened(&self, event: Event) -> bool {
        self.happened.load(Ordering::Relaxed) & event as u16 != 0
    }

    pub(super) fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}
