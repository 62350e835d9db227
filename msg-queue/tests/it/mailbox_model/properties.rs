//! What is promised, and what has to happen somewhere in a case for the promise to mean something.

use stateright::{Model, Property};

use super::protocol::Protocol;
use super::state::{Record, Set, State};

/// A promise that is broken by a step, not by a state: noted in the record when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Once = 1,
    Order = 2,
    AppendFirst = 4,
    WithinCursor = 8,
}

impl Record {
    pub(super) fn breaks(&mut self, promise: Broken) {
        self.broken |= promise as u8;
    }

    fn keeps(&self, promise: Broken) -> bool {
        self.broken & promise as u8 == 0
    }
}

pub(super) const LOST: &str = "when nothing more can happen, the application has seen everything";
pub(super) const KEPT: &str = "what is settled is in the mailbox or was seen by the application";
pub(super) const TWICE: &str = "an application that keeps its offset sees nothing twice, but after a reset";
pub(super) const ORDER: &str = "offsets are in order, without a gap that was not announced";
pub(super) const APPEND_FIRST: &str = "an entry is settled after its append";
pub(super) const WITHIN: &str = "nothing is acknowledged that was not handed out";

/// Something that has to happen somewhere in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A hint is written at once.
    WrittenAtOnce = 1,
    /// A session reads its mailbox.
    Replayed = 2,
    /// An entry is appended again.
    Redelivered = 4,
    /// Who lost the lane appends.
    LateAppend = 8,
    /// Who was superseded acknowledges.
    LateAck = 16,
    /// The client is told of a reset.
    Reset = 32,
    /// A hint comes that says nothing new.
    OldHint = 64,
    /// An acknowledgement is refused.
    AckRefused = 128,
}

pub(super) fn promises() -> Vec<Property<Protocol>> {
    vec![
        Property::always(TWICE, |_, state: &State| state.record.keeps(Broken::Once)),
        Property::always(ORDER, |_, state: &State| state.record.keeps(Broken::Order)),
        Property::always(APPEND_FIRST, |_, state: &State| state.record.keeps(Broken::AppendFirst)),
        Property::always(WITHIN, |_, state: &State| state.record.keeps(Broken::WithinCursor)),
        Property::always(KEPT, |_, state: &State| {
            let safe = state.store.shelf.entries().and(state.record.got);
            state.record.is_wild || state.store.settled.without(state.store.wiped).without(safe).is_empty()
        }),
        Property::always(LOST, |protocol: &Protocol, state: &State| {
            state.record.is_wild || missing(state).is_empty() || !is_over(protocol, state)
        }),
    ]
}

fn missing(state: &State) -> Set {
    Set::below(state.store.accepted).without(state.store.wiped).without(state.record.got)
}

fn is_over(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    actions.into_iter().all(|action| protocol.next_state(state, action).is_none())
}
