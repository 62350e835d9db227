//! A message to groups or to all, from its look-up to the answers of the nodes it goes to.
//!
//! Owns its legs, one per node. Looks nothing up: it is told.

use gim_proto::{EntryId, Incarnation};
use gim_proxy_sdk::Outcome;

use super::complete::Step;
use super::pending::{LEG_BYTES, Leg, LegState, Pending};
use super::{Answer, Lane, LegId, Now, Verdict};

impl Lane {
    /// Takes note to which nodes a message goes that was taken. None of them: for the nodes it was taken for, it is
    /// finished. Returns those it does not go to yet, because something earlier has to go there first.
    #[must_use = "what is held back must not be sent"]
    pub fn fan_out(&mut self, entry_id: EntryId, nodes: &[Incarnation], now: Now) -> Vec<Incarnation> {
        let Some(pending) = self.window.get_mut(entry_id) else { return nodes.to_vec() };
        let (gone, set_out) = set_out(pending, nodes);
        let is_first = pending.legs.first().is_some_and(|leg| leg.state == LegState::Routing);
        let new: Vec<Incarnation> = nodes.iter().filter(|node| !pending.covers(**node)).copied().collect();
        self.let_earlier_go_first(entry_id, nodes, is_first);
        self.add_legs(entry_id, &new);
        let left = nodes.iter().copied().filter(|node| !set_out.contains(node));
        let held = left.filter(|node| !self.fly_to(entry_id, *node)).collect();
        // Only now: with its last leg it would be finished.
        for leg in gone.into_iter().chain(is_first.then_some(0)) {
            self.step(LegId { entry_id, leg }, Step::Finished(LegState::Done), now);
        }
        held
    }

    /// Takes note that a durable message is in the mailbox of a member of its groups.
    pub fn members_have(&mut self, entry_id: EntryId) {
        if let Some(pending) = self.window.get_mut(entry_id) {
            pending.fan.stored = true;
        }
    }

    /// Takes a node's answer for a message to groups or to all.
    pub fn answered(&mut self, entry_id: EntryId, node: Incarnation, answer: Answer, now: Now) {
        let Some(pending) = self.window.get_mut(entry_id) else { return };
        let Some(at) = pending.leg_at(node) else { return };
        if pending.legs.get(at).is_none_or(|leg| leg.state != LegState::Flying) {
            return;
        }
        let verdict = match answer {
            Answer::Count { offered, slow } => {
                pending.fan.done.push(node);
                // Nodes count the mailboxes that have it.
                let is_durable = pending.is_durable();
                pending.fan.stored |= is_durable && offered > 0;
                pending.fan.offered |= !is_durable && offered > 0;
                pending.fan.slow |= slow > 0;
                Verdict::Done(Outcome::Offered)
            }
            Answer::Failed(failure) => Verdict::Failed(failure),
            Answer::Postponed { wait } => Verdict::Postponed { wait },
        };
        if let Ok(leg) = u32::try_from(at) {
            self.complete(LegId { entry_id, leg }, verdict, now);
        }
    }

    /// Sees to it that no message goes to a node after a later one of the same group: earlier ones that are not finished
    /// go to every node that this one goes to, and those earlier than them that share a group with them.
    fn let_earlier_go_first(&mut self, entry_id: EntryId, nodes: &[Incarnation], is_first: bool) {
        let mut new_to = vec![(entry_id, nodes.to_vec())];
        while let Some((entry_id, nodes)) = new_to.pop() {
            for earlier in self.behind(entry_id, &nodes) {
                let Some(pending) = self.window.get(earlier) else { continue };
                let new: Vec<Incarnation> = nodes.iter().filter(|node| !pending.covers(**node)).copied().collect();
                if !new.is_empty() {
                    self.add_legs(earlier, &new);
                    self.candidates.insert(earlier);
                    new_to.push((earlier, new));
                }
            }
        }
        if let Some(pending) = self.window.get(entry_id).filter(|_| is_first) {
            pending.keys_of(0).for_each(|target| self.spread.goes_to(&target, entry_id, nodes));
        }
    }

    fn behind(&mut self, entry_id: EntryId, nodes: &[Incarnation]) -> Vec<EntryId> {
        let Self { window, spread, .. } = self;
        let Some(pending) = window.get(entry_id) else { return Vec::new() };
        pending.keys_of(0).flat_map(|target| spread.behind(&target, entry_id, nodes)).collect()
    }

    fn add_legs(&mut self, entry_id: EntryId, nodes: &[Incarnation]) {
        let Some(pending) = self.window.get_mut(entry_id) else { return };
        for node in nodes {
            pending.legs.push(Leg::new(pending.attempts, Some(*node)));
            pending.open += 1;
            pending.size += LEG_BYTES;
            self.bytes += LEG_BYTES;
            for key in pending.keys_of(pending.legs.len() - 1) {
                self.keys.push(key, entry_id);
            }
        }
    }

    /// Sends a leg out that waits, if its turn is now.
    fn fly_to(&mut self, entry_id: EntryId, node: Incarnation) -> bool {
        let Self { window, keys, candidates, round, .. } = self;
        let Some(pending) = window.get_mut(entry_id) else { return false };
        let Some(at) = pending.leg_at(node) else { return false };
        let waits = pending.legs.get(at).is_some_and(|leg| leg.state == LegState::Waiting);
        if !waits || !pending.keys_of(at).all(|key| keys.may_fly(&key, entry_id, *round)) {
            return false;
        }
        candidates.extend(pending.keys_of(at).filter_map(|key| keys.fly(&key, *round)));
        if let Some(leg) = pending.legs.get_mut(at) {
            leg.state = LegState::Flying;
        }
        true
    }
}

/// Sends out the legs that were taken. Returns those whose node is not among those to go to any more, and the nodes of the
/// others.
fn set_out(pending: &mut Pending, nodes: &[Incarnation]) -> (Vec<u32>, Vec<Incarnation>) {
    let (mut gone, mut set_out) = (Vec::new(), Vec::new());
    for (at, leg) in (0..).zip(&mut pending.legs).filter(|(_, leg)| leg.state == LegState::Routing) {
        match leg.node {
            Some(node) if nodes.contains(&node) => {
                leg.state = LegState::Flying;
                set_out.push(node);
            }
            Some(_) => gone.push(at),
            None => {}
        }
    }
    (gone, set_out)
}
