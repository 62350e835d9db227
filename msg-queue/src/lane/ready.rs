//! Which messages go out now, and in which order.
//!
//! Priority decides between targets and never within one: a message is at least as urgent as any later one that shares
//! a key with it.

use std::collections::HashMap;

use gim_proto::{EntryId, Priority};
use gim_proxy_sdk::Outcome;

use super::keys::Key;
use super::pending::{LegState, Pending, To};
use super::{Aim, Job, Lane, Now};
use crate::observe::Event;

impl Lane {
    /// Takes up to `max` messages whose turn it is, in the order they are to be delivered. What has expired while it
    /// waited is settled instead.
    pub fn take_ready(&mut self, now: Now, max: usize) -> Vec<Job> {
        self.round += 1;
        let candidates = &mut self.candidates;
        self.keys.release_due(now.steady_ms, |entry_id| {
            candidates.insert(entry_id);
        });
        let mut jobs = Vec::new();
        if self.prioritised == 0 {
            while jobs.len() < max
                && let Some(entry_id) = self.candidates.pop_first()
            {
                jobs.extend(self.start(entry_id, now));
            }
        } else {
            let order = self.by_priority();
            let mut order = order.into_iter();
            while jobs.len() < max
                && let Some(entry_id) = order.next()
            {
                self.candidates.remove(&entry_id);
                jobs.extend(self.start(entry_id, now));
            }
        }
        jobs
    }

    fn start(&mut self, entry_id: EntryId, now: Now) -> Option<Job> {
        if self.window.get(&entry_id)?.is_expired(now.unix_ms) {
            self.expire(entry_id, now);
            return None;
        }
        let round = self.round;
        let Self { window, keys, candidates, .. } = self;
        let pending = window.get_mut(&entry_id)?;
        let mut taken = Vec::new();
        for leg in 0..pending.legs.len() {
            let waits = pending.legs.get(leg).is_some_and(|leg| leg.state == LegState::Waiting);
            if waits && pending.keys_of(leg).all(|key| keys.may_fly(&key, entry_id, round)) {
                pending.keys_of(leg).for_each(|key| keys.fly(&key, round));
                taken.push(leg);
            }
        }
        for leg in &taken {
            if let Some(leg) = pending.legs.get_mut(*leg) {
                leg.state = LegState::Flying;
            }
        }
        let aim = aim(pending, &taken)?;
        if let To::Groups(tgids) = &pending.to
            && tgids.len() > 1
        {
            // Others may have waited behind it while another of its groups was not free.
            pending.keys_of(0).for_each(|key| candidates.extend(keys.legs(&key).filter(|other| *other > entry_id)));
        }
        Some(Job { entry_id, message: pending.message.clone(), aim })
    }

    /// Gives every leg that waits the outcome `expired`. Legs in flight get their own.
    fn expire(&mut self, entry_id: EntryId, now: Now) {
        let Some(pending) = self.window.get_mut(&entry_id) else { return };
        let mut withdrawn: Vec<Key> = Vec::new();
        let mut expired = 0;
        for at in 0..pending.legs.len() {
            let keys: Vec<Key> = pending.keys_of(at).collect();
            let Some(leg) = pending.legs.get_mut(at).filter(|leg| leg.state == LegState::Waiting) else { continue };
            leg.state = LegState::Done;
            pending.open -= 1;
            expired += 1;
            withdrawn.extend(keys);
        }
        if expired > 0 {
            self.events.push(Event::Outcome {
                message_id: pending.message.id.clone(),
                outcome: Outcome::Expired,
                targets: expired,
                age_ms: now.unix_ms.saturating_sub(pending.since_ms),
            });
        }
        for key in withdrawn {
            if self.keys.withdraw(&key, entry_id) {
                self.candidates.extend(self.keys.legs(&key));
            }
        }
        self.settle_if_finished(entry_id);
    }

    fn by_priority(&self) -> Vec<EntryId> {
        let mut urgency: HashMap<Key, Priority> = HashMap::new();
        let mut order: Vec<(EntryId, Priority)> = Vec::with_capacity(self.candidates.len());
        for entry_id in self.candidates.iter().rev() {
            let Some(pending) = self.window.get(entry_id) else { continue };
            order.push((*entry_id, inherit(pending, &mut urgency)));
        }
        order.reverse();
        order.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        order.into_iter().map(|(entry_id, _)| entry_id).collect()
    }
}

// Called from the last message to the first: `urgency` is that of the later ones.
fn inherit(pending: &Pending, urgency: &mut HashMap<Key, Priority>) -> Priority {
    let later = pending.open_keys().filter_map(|key| urgency.get(&key).copied()).max();
    let priority = later.map_or(pending.priority, |later| later.max(pending.priority));
    urgency.extend(pending.open_keys().map(|key| (key, priority)));
    priority
}

fn aim(pending: &Pending, taken: &[usize]) -> Option<Aim> {
    if taken.is_empty() {
        return None;
    }
    Some(match &pending.to {
        To::Users { uids, of } => {
            let legs = taken.iter().filter_map(|leg| Some((u32::try_from(*leg).ok()?, uids.get(*leg)?.clone())));
            Aim::Users { legs: legs.collect(), of: of.clone() }
        }
        To::Groups(tgids) => Aim::Groups { tgids: tgids.clone(), done: pending.fan.done.clone() },
        To::All => Aim::All { done: pending.fan.done.clone() },
    })
}
