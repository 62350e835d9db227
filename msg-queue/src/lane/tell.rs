//! What is told of messages that ask for it: outcomes for the receipts, steps for the journey.
//!
//! Owns both until they are taken. An outcome is told with the settlement that follows from it, so that whoever writes it
//! down first and settles then has written all of them. Of messages that ask for nothing nothing is kept.

use std::time::Duration;

use gim_proto::{DeadReason, MessageId};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::ledger::ReceiptState;

use super::pending::{LegState, Pending, To};
use super::{Lane, LegId};
use crate::deliver::Failure;

/// What became of a message for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The message.
    pub id: MessageId,
    /// A uid, a tgid, or `all`.
    pub target: Box<str>,
    /// What became of it.
    pub state: ReceiptState,
    /// Of a dead letter: why, in one word.
    pub reason: Option<&'static str>,
}

/// A step of a message's journey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The message.
    pub id: MessageId,
    /// What happened, in one word.
    pub hop: &'static str,
    /// To whom, where it is about one target.
    pub target: Option<Box<str>>,
    /// More about it, for people.
    pub detail: Option<Box<str>>,
}

impl Lane {
    /// Hands over the outcomes since the last call. Each is to be written down before the settlements of the same moment,
    /// [`take_settlements`](Self::take_settlements), take effect.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Hands over the steps since the last call.
    pub fn take_marks(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.marks)
    }

    /// Tells what has become of the targets of a message that leaves the window.
    pub(super) fn tell(&mut self, pending: &Pending) {
        if pending.message.receipt || pending.message.traced {
            for (target, state, reason) in outcomes(pending) {
                self.tell_one(&pending.message, target, state, reason);
            }
        }
    }

    /// Tells that all of a message's targets have come to the same.
    pub(super) fn tell_all(&mut self, pending: &Pending, state: ReceiptState, reason: Option<DeadReason>) {
        if pending.message.receipt || pending.message.traced {
            for target in pending.failed_targets() {
                self.tell_one(&pending.message, target, state, reason);
            }
        }
    }

    fn tell_one(&mut self, message: &Message, target: Box<str>, state: ReceiptState, reason: Option<DeadReason>) {
        let reason = reason.map(DeadReason::as_str);
        // That it is stored is marked as it happens, with its number.
        if message.traced && !matches!(state, ReceiptState::Stored | ReceiptState::Dead) {
            self.mark(message, state.as_str(), Some(target.clone()), None);
        }
        if message.receipt {
            self.told.push(Told { id: message.id.clone(), target, state, reason });
        }
    }

    /// Marks a step, if the message is followed.
    pub(super) fn mark(
        &mut self,
        message: &Message,
        hop: &'static str,
        target: Option<Box<str>>,
        detail: Option<Box<str>>,
    ) {
        if message.traced {
            self.marks.push(Mark { id: message.id.clone(), hop, target, detail });
        }
    }

    pub(super) fn mark_retry(&mut self, at: LegId, failure: Failure, after: Duration) {
        let Some(pending) = self.window.get(at.entry_id).filter(|pending| pending.message.traced) else { return };
        let target = match &pending.to {
            To::Users { uids, .. } => uids.get(at.leg as usize).map(|uid| uid.as_str().into()),
            To::Groups(_) | To::All => None,
        };
        let message = pending.message.clone();
        self.mark(&message, "retry", target, Some(format!("{} after {after:?}", failure.as_str()).into()));
    }
}

/// Names the targets that have come to something that is told. What was offered is told by whoever wrote it.
fn outcomes(pending: &Pending) -> Vec<(Box<str>, ReceiptState, Option<DeadReason>)> {
    let dead = (ReceiptState::Dead, Some(DeadReason::Attempts));
    if let To::Users { uids, .. } = &pending.to {
        let legs = pending.legs.iter().zip(uids);
        let told = legs.filter_map(|(leg, uid)| {
            let (state, reason) = match leg.state {
                LegState::Dead => dead,
                _ => (state_of(leg.outcome?)?, None),
            };
            Some((uid.as_str().into(), state, reason))
        });
        return told.collect();
    }
    let is_dead = pending.legs.iter().any(|leg| leg.state == LegState::Dead);
    let told = match is_dead {
        true => Some(dead),
        false => pending.fan_outcome().and_then(state_of).map(|state| (state, None)),
    };
    let Some((state, reason)) = told else { return Vec::new() };
    pending.failed_targets().into_iter().map(|target| (target, state, reason)).collect()
}

pub(super) const fn state_of(outcome: Outcome) -> Option<ReceiptState> {
    match outcome {
        Outcome::Offered => None,
        Outcome::Offline => Some(ReceiptState::Offline),
        Outcome::NotMember => Some(ReceiptState::NotMember),
        Outcome::Expired => Some(ReceiptState::Expired),
        Outcome::Duplicate => Some(ReceiptState::Duplicate),
        Outcome::Slow => Some(ReceiptState::Slow),
        Outcome::Stored => Some(ReceiptState::Stored),
    }
}
