//! Which messages go out now, and in which order.
//!
//! Priority decides between targets and never within one: a message is at least as urgent as any later one that shares
//! a key with it.

use std::collections::{BTreeSet, HashMap};

use gim_proto::{EntryId, Incarnation, Priority};
use gim_proxy_sdk::Outcome;
use smallvec::SmallVec;

use super::candidates::Candidates;
use super::keys::{Key, Keys};
use super::pending::{LegState, Pending, To};
use super::{Aim, Job, Lane, Now};
use crate::observe::Event;

/// Among so many legs that wait, an urgent one is found.
const LOOK_AHEAD: usize = 20_000;

impl Lane {
    /// Takes the messages whose turn it is, in the order they are to be delivered, until they have `targets` targets or
    /// more. What has expired while it waited is settled instead.
    pub fn take_ready(&mut self, now: Now, targets: usize) -> Vec<Job> {
        self.round += 1;
        let candidates = &mut self.candidates;
        self.keys.release_due(now.steady_ms, |entry_id| {
            candidates.insert(entry_id);
        });
        let mut jobs = Vec::with_capacity(self.candidates.len().min(targets));
        let mut left = targets;
        let mut by_priority = (self.prioritised > 0).then(|| self.by_priority().into_iter());
        while left > 0 {
            let next = match &mut by_priority {
                Some(order) => order.next(),
                None => self.candidates.first(),
            };
            let Some(entry_id) = next else { break };
            self.candidates.remove(entry_id);
            if let Some(job) = self.start(entry_id, now) {
                left = left.saturating_sub(job.targets());
                jobs.push(job);
            }
        }
        jobs
    }

    fn start(&mut self, entry_id: EntryId, now: Now) -> Option<Job> {
        let pending = self.window.get_mut(entry_id)?;
        if pending.is_expired(now.unix_ms) {
            self.expire(entry_id, now);
            return None;
        }
        let (round, keys, candidates) = (self.round, &mut self.keys, &mut self.candidates);
        let mut taken: SmallVec<[usize; 4]> = SmallVec::new();
        for leg in 0..pending.legs.len() {
            let waits = pending.legs.get(leg).is_some_and(|leg| leg.state == LegState::Waiting);
            if waits && fly(pending, leg, entry_id, round, keys, candidates) {
                taken.push(leg);
            }
        }
        let state = if pending.is_fan() { LegState::Routing } else { LegState::Flying };
        let mut tried = false;
        for leg in &taken {
            if let Some(leg) = pending.legs.get_mut(*leg) {
                leg.state = state;
                tried |= leg.tried;
            }
        }
        let aim = aim(pending, &taken)?;
        Some(Job { entry_id, message: pending.message.clone(), aim, tried })
    }

    /// Gives every leg that waits the outcome `expired`. Legs in flight get their own.
    fn expire(&mut self, entry_id: EntryId, now: Now) {
        let Some(pending) = self.window.get_mut(entry_id) else { return };
        let mut withdrawn: Vec<Key> = Vec::new();
        let (mut expired, mut stored) = (0, 0);
        for at in 0..pending.legs.len() {
            let keys: Vec<Key> = pending.keys_of(at).collect();
            let Some(leg) = pending.legs.get_mut(at).filter(|leg| leg.state == LegState::Waiting) else { continue };
            leg.state = LegState::Done;
            leg.outcome = Some(if leg.stored { Outcome::Stored } else { Outcome::Expired });
            pending.open -= 1;
            *(if leg.stored { &mut stored } else { &mut expired }) += 1;
            withdrawn.extend(keys);
        }
        pending.fan.expired |= expired > 0;
        // A message to groups has its outcome once all nodes have answered.
        if !pending.is_fan() {
            let age_ms = now.unix_ms.saturating_sub(pending.since_ms);
            for (outcome, targets) in [(Outcome::Expired, expired), (Outcome::Stored, stored)] {
                if targets > 0 {
                    let message_id = pending.message.id.clone();
                    self.events.push(Event::Outcome { message_id, outcome, targets, age_ms });
                }
            }
        }
        for key in withdrawn {
            self.candidates.extend(self.keys.withdraw(&key, entry_id));
        }
        self.settle_if_finished(entry_id, now);
    }

    /// Finds what may leave in this round, as far as it looks: the candidates and those behind them.
    fn ahead(&self) -> BTreeSet<EntryId> {
        let mut ahead = BTreeSet::new();
        let mut left = LOOK_AHEAD;
        for entry_id in self.candidates.iter() {
            let Some(pending) = self.window.get(entry_id) else { continue };
            ahead.insert(entry_id);
            for key in pending.open_keys().filter(|key| self.keys.next(key) == Some(entry_id)) {
                for behind in self.keys.legs(&key).filter(|other| *other >= entry_id) {
                    ahead.insert(behind);
                    left -= 1;
                    if left == 0 {
                        return ahead;
                    }
                }
            }
        }
        ahead
    }

    fn by_priority(&self) -> Vec<EntryId> {
        let mut urgency: HashMap<Key, Priority> = HashMap::new();
        let ahead = self.ahead();
        let pending = ahead.iter().rev().filter_map(|entry_id| Some((*entry_id, self.window.get(*entry_id)?)));
        let mut order: Vec<(EntryId, Priority)> =
            pending.map(|(entry_id, pending)| (entry_id, inherit(pending, &mut urgency))).collect();
        order.reverse();
        order.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        order.into_iter().map(|(entry_id, _)| entry_id).collect()
    }
}

/// Takes a leg into the flights of all its keys, or of none.
fn fly(
    pending: &Pending,
    leg: usize,
    entry_id: EntryId,
    round: u64,
    keys: &mut Keys,
    candidates: &mut Candidates,
) -> bool {
    if let Some(key) = pending.only_key_of(leg) {
        let Some(behind) = keys.fly_if_it_may(&key, entry_id, round) else { return false };
        candidates.extend(behind);
        return true;
    }
    if !pending.keys_of(leg).all(|key| keys.may_fly(&key, entry_id, round)) {
        return false;
    }
    candidates.extend(pending.keys_of(leg).filter_map(|key| keys.fly(&key, round)));
    true
}

// Called from the last message to the first: `urgency` is that of the later ones.
fn inherit(pending: &Pending, urgency: &mut HashMap<Key, Priority>) -> Priority {
    let later = pending.open_targets().filter_map(|key| urgency.get(&key).copied()).max();
    let priority = later.map_or(pending.priority, |later| later.max(pending.priority));
    urgency.extend(pending.open_targets().map(|key| (key, priority)));
    priority
}

impl Job {
    /// Counts its legs.
    fn targets(&self) -> usize {
        match &self.aim {
            Aim::Users { legs, .. } => legs.len(),
            Aim::Groups { .. } | Aim::All { .. } => 1,
        }
    }
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
        To::Groups(tgids) => {
            Aim::Groups { tgids: tgids.clone(), is_first: taken.contains(&0), but: settled_elsewhere(pending) }
        }
        To::All => Aim::All { but: settled_elsewhere(pending) },
    })
}

/// Names the nodes that a look-up is not about.
fn settled_elsewhere(pending: &Pending) -> Vec<Incarnation> {
    let legs = pending.legs.iter().filter(|leg| leg.state != LegState::Routing).filter_map(|leg| leg.node);
    let before = pending.fan.done.iter().copied().filter(|node| pending.leg_at(*node).is_none());
    legs.chain(before).collect()
}
