//! What attempts come to: outcomes, retries, and the settlement of a message once all its legs are finished.

use gim_proto::{EntryId, Incarnation, Priority};

use super::keys::{Key, Landed};
use super::pending::{LegState, Pending};
use super::{Answer, Lane, LegId, Now, Verdict};
use crate::observe::Event;
use crate::settle::{Attempt, Decision, decide};
use crate::source::{Death, Settlement};

/// What a verdict makes of a leg.
enum Step {
    Finished(LegState),
    Again { retry_at: Option<u64> },
}

impl Lane {
    /// Takes the verdict on a leg that was taken. Anything else is ignored.
    pub fn complete(&mut self, at: LegId, verdict: Verdict, now: Now) {
        let Some(step) = self.judge(at, verdict, now) else { return };
        let Some(pending) = self.window.get_mut(&at.entry_id) else { return };
        let leg = at.leg as usize;
        let keys: Vec<Key> = pending.keys_of(leg).collect();
        if let Some(leg) = pending.legs.get_mut(leg) {
            leg.state = match step {
                Step::Finished(state) => state,
                Step::Again { .. } => LegState::Waiting,
            };
        }
        pending.open -= usize::from(matches!(step, Step::Finished(_)));
        self.settle_if_finished(at.entry_id);
        for key in &keys {
            let landed = match step {
                Step::Finished(_) => self.keys.finish(key, at.entry_id),
                Step::Again { retry_at } => self.keys.fail(key, retry_at),
            };
            self.land(key, landed, now);
        }
    }

    /// Tells to how many nodes a message to groups or to all is sent. None: it is finished.
    pub fn fan_out(&mut self, entry_id: EntryId, nodes: usize, now: Now) {
        let Some(pending) = self.window.get_mut(&entry_id) else { return };
        pending.fan.awaited = nodes;
        pending.fan.failure = None;
        pending.fan.postponed = false;
        self.conclude_fan(entry_id, now);
    }

    /// Takes a node's answer for a message to groups or to all.
    pub fn answered(&mut self, entry_id: EntryId, node: Incarnation, answer: Answer, now: Now) {
        let Some(pending) = self.window.get_mut(&entry_id) else { return };
        let fan = &mut pending.fan;
        fan.awaited = fan.awaited.saturating_sub(1);
        match answer {
            Answer::Count { offered, slow } => {
                fan.done.push(node);
                fan.offered |= offered > 0;
                fan.slow |= slow > 0;
            }
            Answer::Failed(failure) => fan.failure = Some(failure),
            Answer::Postponed => fan.postponed = true,
        }
        self.conclude_fan(entry_id, now);
    }

    fn conclude_fan(&mut self, entry_id: EntryId, now: Now) {
        let Some(Pending { fan, .. }) = self.window.get(&entry_id) else { return };
        if fan.awaited == 0 {
            let verdict = match fan.failure {
                Some(failure) => Verdict::Failed(failure),
                None if fan.postponed => Verdict::Postponed,
                None => Verdict::Done(fan.outcome()),
            };
            self.complete(LegId { entry_id, leg: 0 }, verdict, now);
        }
    }

    fn judge(&mut self, at: LegId, verdict: Verdict, now: Now) -> Option<Step> {
        let pending = self.window.get_mut(&at.entry_id)?;
        let leg = pending.legs.get_mut(at.leg as usize).filter(|leg| leg.state == LegState::Flying)?;
        let (attempt, failure) = match verdict {
            Verdict::Done(outcome) => (Attempt::Reached(outcome), None),
            Verdict::Failed(failure) => (Attempt::Failed, Some(failure)),
            Verdict::Postponed => return Some(Step::Again { retry_at: None }),
        };
        leg.attempts += 1;
        pending.last_failure = failure.or(pending.last_failure);
        let message_id = pending.message.id.clone();
        let attempts = leg.attempts;
        match (decide(attempt, attempts, &self.limits.persistence, &mut self.jitter), verdict) {
            (Decision::Retry { after }, Verdict::Failed(failure)) => {
                self.events.push(Event::Retry { message_id, failure, attempts, after });
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                Some(Step::Again { retry_at: Some(now.steady_ms.saturating_add(after_ms)) })
            }
            (Decision::DeadLetter { .. }, _) => Some(Step::Finished(LegState::Dead)),
            (_, Verdict::Done(outcome)) => {
                let age_ms = now.unix_ms.saturating_sub(pending.since_ms);
                self.events.push(Event::Outcome { message_id, outcome, targets: 1, age_ms });
                Some(Step::Finished(LegState::Done))
            }
            _ => Some(Step::Again { retry_at: None }),
        }
    }

    fn land(&mut self, key: &Key, landed: Landed, now: Now) {
        match landed {
            Landed::NotYet => {}
            Landed::Free => self.candidates.extend(self.keys.next(key)),
            Landed::Retry(at) => {
                if !self.park(key, at, now) {
                    self.keys.hold(key, at);
                }
            }
        }
    }

    pub(super) fn settle_if_finished(&mut self, entry_id: EntryId) {
        if self.window.get(&entry_id).is_none_or(|pending| pending.open > 0) {
            return;
        }
        let Some(pending) = self.forget(entry_id) else { return };
        let dead = pending.legs.iter().filter(|leg| leg.state == LegState::Dead);
        match dead.map(|leg| leg.attempts).max() {
            None => self.settlements.push((entry_id, Settlement::Ack)),
            Some(attempts) => self.settle_dead(entry_id, pending.message.id.clone(), death(&pending, attempts)),
        }
    }

    pub(super) fn forget(&mut self, entry_id: EntryId) -> Option<Pending> {
        let pending = self.window.remove(&entry_id)?;
        self.bytes -= pending.size;
        self.prioritised -= usize::from(pending.priority != Priority::Normal);
        self.candidates.remove(entry_id);
        Some(pending)
    }
}

fn death(pending: &Pending, attempts: u32) -> Death {
    Death {
        reason: gim_proto::DeadReason::Attempts,
        attempts,
        error: pending.last_failure.map_or("failed", crate::deliver::Failure::as_str).into(),
        failed_targets: pending.failed_targets(),
        rest: pending.rest(),
    }
}
