//! What becomes of an entry when it is read: settled at once, put aside, or taken into the window.

use gim_proto::{DeadReason, EntryId, MessageId, Priority};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::ledger::ReceiptState;

use super::pending::Pending;
use super::tell::state_of;
use super::{Lane, Now};
use crate::observe::Event;
use crate::settle::{Attempt, Decision, decide};
use crate::source::{Death, Fetched, Rest, Settlement};

/// What is known of an entry beside its message.
pub(super) struct Read {
    pub(super) entry_id: EntryId,
    pub(super) size: usize,
    pub(super) attempts: u32,
    pub(super) rest: Option<Rest>,
    duplicate: bool,
}

impl Lane {
    /// Takes an entry that was read. What needs no delivery is settled at once.
    pub fn admit(&mut self, fetched: Fetched, now: Now) {
        if self.window.contains(fetched.entry_id) {
            return;
        }
        let Fetched { entry_id, message_id, size, attempts, rest, duplicate, body } = fetched;
        let fetched = Read { entry_id, size, attempts, rest, duplicate };
        let entry = match body {
            Ok(entry) => entry,
            Err(malformed) => {
                return self.bury(&fetched, message_id, None, malformed.kind.into(), 1, malformed.to_string());
            }
        };
        let deliver_at_ms = entry.deliver_at_ms;
        let pending = Box::new(Pending::new(&fetched, message_id, entry));
        let from = pending.message.traced.then(|| fetched.entry_id.to_string().into());
        self.mark(&pending.message, "read", None, from);
        // Whoever brought down the lane each time it was read is not read for ever.
        if fetched.attempts >= self.limits.persistence.attempts {
            let error = "gave no outcome on any attempt".to_owned();
            let (id, reason) = (pending.message.id.clone(), DeadReason::Attempts);
            return self.bury(&fetched, id, Some(&pending), reason, fetched.attempts, error);
        }
        if fetched.duplicate {
            return self.settle_at_once(&fetched, &pending, Outcome::Duplicate, now);
        }
        if let Some(due_ms) = deliver_at_ms.filter(|due_ms| *due_ms > now.unix_ms) {
            return self.put_aside(fetched.entry_id, &pending.message, due_ms, fetched.attempts, fetched.rest);
        }
        if pending.is_expired(now.unix_ms) {
            return self.settle_at_once(&fetched, &pending, Outcome::Expired, now);
        }
        self.take_up(fetched, pending);
    }

    fn take_up(&mut self, fetched: Read, pending: Box<Pending>) {
        let entry_id = fetched.entry_id;
        if pending.open == 0 {
            self.mark(&pending.message, "settled", None, None);
            return self.settlements.push((entry_id, Settlement::Ack));
        }
        self.unpark_behind(entry_id, &pending);
        if let Some(due_ms) = self.parked_before(entry_id, &pending) {
            return self.put_aside(entry_id, &pending.message, due_ms, fetched.attempts, fetched.rest);
        }
        // Not a loop: it would keep its place among legs and keys between any two.
        pending.open_keys().for_each(|key| {
            if self.keys.push(key, entry_id) {
                self.candidates.insert(entry_id);
            }
        });
        self.bytes += pending.size;
        self.prioritised += usize::from(pending.priority != Priority::Normal);
        // It is not there: that was looked at first of all.
        let _ = self.window.insert(entry_id, pending);
    }

    fn settle_at_once(&mut self, fetched: &Read, pending: &Pending, outcome: Outcome, now: Now) {
        self.unpark_behind(fetched.entry_id, pending);
        if let Some(state) = state_of(outcome) {
            self.tell_all(pending, state, None);
        }
        self.mark(&pending.message, "settled", None, None);
        self.settlements.push((fetched.entry_id, Settlement::Ack));
        self.events.push(Event::Outcome {
            message_id: pending.message.id.clone(),
            outcome,
            targets: pending.open as u64,
            age_ms: now.unix_ms.saturating_sub(pending.since_ms),
        });
    }

    fn bury(
        &mut self,
        fetched: &Read,
        message_id: MessageId,
        pending: Option<&Pending>,
        reason: DeadReason,
        attempts: u32,
        error: String,
    ) {
        let decision = decide(Attempt::Hopeless(reason), attempts, &self.limits.persistence, &mut self.jitter);
        debug_assert_eq!(decision, Decision::DeadLetter { reason });
        if let Some(pending) = pending {
            self.tell_all(pending, ReceiptState::Dead, Some(reason));
            self.mark(&pending.message, "dead", None, Some(error.as_str().into()));
        }
        let failed_targets = pending.map(Pending::failed_targets).unwrap_or_default();
        let death = Death { reason, attempts, error: error.into(), failed_targets, rest: fetched.rest.clone() };
        self.settle_dead(fetched.entry_id, message_id, death);
    }

    pub(super) fn settle_dead(&mut self, entry_id: EntryId, message_id: MessageId, death: Death) {
        let Death { reason, attempts, error, .. } = &death;
        self.events.push(Event::Dead { message_id, reason: *reason, attempts: *attempts, error: error.clone() });
        self.settlements.push((entry_id, Settlement::Dead(Box::new(death))));
    }

    pub(super) fn put_aside(
        &mut self,
        entry_id: EntryId,
        message: &Message,
        due_ms: u64,
        attempts: u32,
        rest: Option<Rest>,
    ) {
        self.mark(message, "later", None, Some(format!("until {due_ms}").into()));
        self.events.push(Event::Later { message_id: message.id.clone(), due_ms });
        self.settlements.push((entry_id, Settlement::Later { due_ms, attempts, rest }));
    }
}
