//! What is promised, and what has to happen somewhere in a case for the promise to mean something.

use stateright::{Model, Property};

use super::protocol::Protocol;
use super::state::{Ask, Phase, Record, Set, State, Wire};

/// A promise that is broken by a step, not by a state: noted in the record when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    TermsRise = 1,
    SettledOnce = 2,
    OutcomeBeforeSettlement = 4,
    OldOwnerSettlesNothing = 8,
    OldOwnerDeliversNothing = 16,
    SettlementTakesEffect = 32,
    SettledIsNotDelivered = 64,
    FirstDeliveriesInOrder = 128,
}

impl Record {
    pub(super) fn breaks(&mut self, promise: Broken) {
        self.broken |= promise as u8;
    }

    pub(super) fn keeps(&self, promise: Broken) -> bool {
        self.broken & promise as u8 == 0
    }
}

pub(super) const TERMS: &str = "terms rise";
pub(super) const ONCE: &str = "an entry is settled once";
pub(super) const OUTCOME: &str = "an entry is acknowledged after it was delivered";
pub(super) const OLD_SETTLES: &str = "who lost the lane settles nothing";
pub(super) const OLD_DELIVERS: &str = "a node that has seen the new owner takes nothing from the old one";
pub(super) const EFFECT: &str = "what its owner settles is settled";
pub(super) const AGAIN: &str = "what is acknowledged is not delivered again";
pub(super) const ORDER: &str = "no entry is delivered for the first time before an earlier one of its target";
pub(super) const LOST: &str = "nothing is lost";
pub(super) const TRIMMED: &str = "a pending entry is not trimmed";
pub(super) const ENDS: &str = "when nothing more can happen, everything is settled";

pub(super) const PUT_ASIDE: &str = "put aside";
pub(super) const DIED: &str = "dead letter";
pub(super) const LATE_BATCH: &str = "the old owner's batch reaches the node after the new one's";
pub(super) const LATE_SETTLEMENT: &str = "the old owner's settlement reaches Redis after the new one took the lane";
pub(super) const LATE_READ: &str = "the old owner's read is on its way while the new one takes the lane";
pub(super) const TWO_OWNERS: &str = "two workers think they own the lane";

/// What has to happen somewhere in a case.
pub(super) fn events() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes(PUT_ASIDE, |_, state: &State| state.redis.later.iter().any(Option::is_some)),
        Property::sometimes(DIED, |_, state: &State| !state.record.dead.is_empty()),
        Property::sometimes(LATE_BATCH, |_, state: &State| {
            state.workers.iter().filter_map(|worker| worker.batch).any(|batch| batch.term < state.node_term)
        }),
        Property::sometimes(LATE_SETTLEMENT, |_, state: &State| {
            let terms = state.workers.iter().filter_map(|worker| worker.settling).map(|request| request.term);
            terms.into_iter().any(|term| term < state.record.highest_term)
        }),
        Property::sometimes(LATE_READ, |_, state: &State| {
            state.workers.iter().filter(|worker| worker.phase == Phase::Kill).filter_map(|worker| worker.previous).any(
                |reader| matches!(state.redis.readers[usize::from(reader)].wire, Wire::Asked { what: Ask::Fresh, .. }),
            )
        }),
        Property::sometimes(TWO_OWNERS, |_, state: &State| {
            state.workers.iter().filter(|worker| worker.phase >= Phase::Read).count() > 1
        }),
    ]
}

pub(super) fn promises() -> Vec<Property<Protocol>> {
    vec![
        Property::always(TERMS, |_, state: &State| state.record.keeps(Broken::TermsRise)),
        Property::always(ONCE, |_, state: &State| state.record.keeps(Broken::SettledOnce)),
        Property::always(OUTCOME, |_, state: &State| state.record.keeps(Broken::OutcomeBeforeSettlement)),
        Property::always(OLD_SETTLES, |_, state: &State| state.record.keeps(Broken::OldOwnerSettlesNothing)),
        Property::always(OLD_DELIVERS, |_, state: &State| state.record.keeps(Broken::OldOwnerDeliversNothing)),
        Property::always(EFFECT, |_, state: &State| state.record.keeps(Broken::SettlementTakesEffect)),
        Property::always(AGAIN, |_, state: &State| state.record.keeps(Broken::SettledIsNotDelivered)),
        Property::always(ORDER, |_, state: &State| state.record.keeps(Broken::FirstDeliveriesInOrder)),
        Property::always(LOST, |_, state: &State| state.redis.missing(&state.record).is_empty()),
        Property::always(TRIMMED, |_, state: &State| state.redis.pending.without(state.redis.stream).is_empty()),
        Property::always(ENDS, |protocol: &Protocol, state: &State| is_settled(state) || !is_over(protocol, state)),
    ]
}

fn is_settled(state: &State) -> bool {
    let accepted = Set::below(state.redis.appended);
    accepted.without(state.record.settled()).without(state.record.wiped).is_empty()
}

fn is_over(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    actions.into_iter().all(|action| protocol.next_state(state, action).is_none())
}
