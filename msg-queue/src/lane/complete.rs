//! What attempts come to: outcomes, retries, and the settlement of a message once all its legs are finished.

use gim_proto::{EntryId, Priority};
use gim_proxy_sdk::Outcome;
use smallvec::{SmallVec, smallvec};

use super::keys::{Key, Landed};
use super::pending::{LegState, Pending};
use super::{Aim, Job, Lane, LegId, Now, Verdict};
use crate::observe::Event;
use crate::settle::{Attempt, Decision, decide};
use crate::source::{Death, Settlement};

/// What becomes of a leg.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Finished(LegState),
    Again { retry_at: Option<u64> },
}

impl Lane {
    /// Takes the verdict on a leg that was taken. Anything else is ignored.
    pub fn complete(&mut self, at: LegId, verdict: Verdict, now: Now) {
        if let Some(step) = self.judge(at, verdict, now) {
            self.step(at, step, now);
        }
    }

    /// Takes back a message that could not be looked up. It is taken again at the next opportunity.
    pub fn not_routed(&mut self, job: &Job, now: Now) {
        let Some(pending) = self.window.get(job.entry_id) else { return };
        let is_of_the_job = |leg: u32| match &job.aim {
            Aim::Users { legs, .. } => legs.iter().any(|(taken, _)| *taken == leg),
            Aim::Groups { .. } | Aim::All { .. } => false,
        };
        let legs = (0_u32..).zip(&pending.legs);
        let legs = legs.filter(|(at, leg)| leg.state == LegState::Routing || is_of_the_job(*at));
        let legs: Vec<u32> = legs.filter(|(_, leg)| !leg.is_finished()).map(|(at, _)| at).collect();
        for leg in legs {
            self.step(LegId { entry_id: job.entry_id, leg }, Step::Again { retry_at: None }, now);
        }
    }

    pub(super) fn step(&mut self, at: LegId, step: Step, now: Now) {
        let Some(pending) = self.window.get_mut(at.entry_id) else { return };
        let leg = at.leg as usize;
        let keys: SmallVec<[Key; 1]> = match pending.only_key_of(leg) {
            Some(key) => smallvec![key],
            None => pending.keys_of(leg).collect(),
        };
        if let Some(leg) = pending.legs.get_mut(leg) {
            leg.state = match step {
                Step::Finished(state) => state,
                Step::Again { .. } => LegState::Waiting,
            };
        }
        pending.open -= usize::from(matches!(step, Step::Finished(_)));
        self.settle_if_finished(at.entry_id, now);
        for key in &keys {
            let (landed, next) = match step {
                Step::Finished(_) => self.keys.finish(key, at.entry_id),
                Step::Again { retry_at } => self.keys.fail(key, retry_at),
            };
            self.land(key, landed, next, now);
        }
    }

    fn judge(&mut self, at: LegId, verdict: Verdict, now: Now) -> Option<Step> {
        let pending = self.window.get_mut(at.entry_id)?;
        let is_fan = pending.is_fan();
        // It was appended before it was looked up: for each user, or for those who are durable members.
        let is_stored = pending.is_durable() && (!is_fan || pending.fan.stored);
        let leg = pending.legs.get_mut(at.leg as usize).filter(|leg| leg.state == LegState::Flying)?;
        leg.tried = true;
        leg.stored |= is_stored && !is_fan;
        let (attempt, failure) = match verdict {
            Verdict::Done(outcome) => (Attempt::Reached(outcome), None),
            Verdict::Failed(failure) => (Attempt::Failed, Some(failure)),
            Verdict::Postponed { wait } => {
                let retry_at = Some(wait).filter(|wait| !wait.is_zero()).map(|wait| now.after(wait));
                return Some(Step::Again { retry_at });
            }
        };
        leg.attempts += 1;
        pending.last_failure = failure.or(pending.last_failure);
        let message_id = pending.message.id.clone();
        let attempts = leg.attempts;
        let decision = decide(attempt, attempts, &self.limits.persistence, &mut self.jitter);
        // Sessions are told in vain, and find it in their mailboxes all the same. Were it given up as a dead letter, its redrive
        // would store it once more for those who have had it for long.
        let given_up = is_stored && matches!(decision, Decision::DeadLetter { .. });
        let (decision, verdict) = match given_up {
            true => (Decision::Ack, Verdict::Done(Outcome::Stored)),
            false => (decision, verdict),
        };
        if let Verdict::Done(outcome) = verdict {
            leg.outcome = Some(outcome);
        }
        match (decision, verdict) {
            (Decision::Retry { after }, Verdict::Failed(failure)) => {
                let after = if is_fan { after.min(self.limits.longest_wait) } else { after };
                self.mark_retry(at, failure, after);
                self.events.push(Event::Retry { message_id, failure, attempts, after });
                Some(Step::Again { retry_at: Some(now.after(after)) })
            }
            (Decision::DeadLetter { .. }, _) => Some(Step::Finished(LegState::Dead)),
            (_, Verdict::Done(outcome)) => {
                if !is_fan {
                    let age_ms = now.unix_ms.saturating_sub(pending.since_ms);
                    self.events.push(Event::Outcome { message_id, outcome, targets: 1, age_ms });
                }
                Some(Step::Finished(LegState::Done))
            }
            _ => Some(Step::Again { retry_at: None }),
        }
    }

    fn land(&mut self, key: &Key, landed: Landed, next: Option<EntryId>, now: Now) {
        match landed {
            Landed::NotYet => {}
            Landed::Free => self.candidates.extend(next),
            Landed::Retry(at) => {
                if !self.park(key, at, now) {
                    self.keys.hold(key, at);
                }
            }
        }
    }

    pub(super) fn settle_if_finished(&mut self, entry_id: EntryId, now: Now) {
        if self.window.get(entry_id).is_none_or(|pending| pending.open > 0) {
            return;
        }
        let Some(pending) = self.forget(entry_id) else { return };
        self.tell(&pending);
        let dead = pending.legs.iter().filter(|leg| leg.state == LegState::Dead);
        if let Some(attempts) = dead.map(|leg| leg.attempts).max() {
            let death = death(&pending, attempts);
            self.mark(&pending.message, "dead", None, Some(death.error.clone()));
            return self.settle_dead(entry_id, pending.message.id.clone(), death);
        }
        if let Some(outcome) = pending.fan_outcome() {
            let age_ms = now.unix_ms.saturating_sub(pending.since_ms);
            let message_id = pending.message.id.clone();
            self.events.push(Event::Outcome { message_id, outcome, targets: 1, age_ms });
        }
        self.mark(&pending.message, "settled", None, None);
        self.settlements.push((entry_id, Settlement::Ack));
    }

    /// Takes a message out that has no outcome, to be admitted anew. What waits behind it goes on; what is on its way of it
    /// is not waited for.
    pub fn abandon(&mut self, entry_id: EntryId, now: Now) {
        let Some(pending) = self.forget(entry_id) else { return };
        for (at, leg) in pending.legs.iter().enumerate() {
            for key in pending.keys_of(at) {
                match leg.state {
                    LegState::Waiting => self.candidates.extend(self.keys.withdraw(&key, entry_id)),
                    LegState::Routing | LegState::Flying => {
                        let (landed, next) = self.keys.finish(&key, entry_id);
                        self.land(&key, landed, next, now);
                    }
                    LegState::Done | LegState::Dead => {}
                }
            }
        }
    }

    pub(super) fn forget(&mut self, entry_id: EntryId) -> Option<Box<Pending>> {
        let pending = self.window.remove(entry_id)?;
        self.bytes -= pending.size;
        self.prioritised -= usize::from(pending.priority != Priority::Normal);
        self.candidates.remove(entry_id);
        if pending.is_fan() {
            pending.keys_of(0).for_each(|key| self.spread.forget(&key, entry_id));
        }
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
