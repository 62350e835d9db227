//! Runs that are known to be dead.
//!
//! Owns a bounded number of them, the newest: whoever meets one of them again need not ask. One that does not fit any
//! more costs a look when it is met again.

use std::collections::{HashSet, VecDeque};

use gim_proto::Incarnation;

/// Runs remembered.
const MOST: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Dead {
    known: HashSet<Incarnation>,
    order: VecDeque<Incarnation>,
}

impl Dead {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn contains(&self, incarnation: &Incarnation) -> bool {
        self.known.contains(incarnation)
    }

    pub(super) fn add(&mut self, incarnation: Incarnation) {
        if !self.known.insert(incarnation) {
            return;
        }
        self.order.push_back(incarnation);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Takes back a verdict that Redis contradicts.
    pub(super) fn revive(&mut self, incarnation: &Incarnation) {
        if self.known.remove(incarnation) {
            tracing::error!(%incarnation, "a run that was taken for dead lives");
            self.order.retain(|dead| dead != incarnation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut dead = Dead::default();
        let runs: Vec<Incarnation> = (0..=MOST).map(|_| Incarnation::mint()).collect();
        runs.iter().chain(&runs).take(MOST).for_each(|run| dead.add(*run));
        assert!(dead.contains(&runs[0]) && dead.len() == MOST);
        dead.add(runs[MOST]);
        assert!(!dead.contains(&runs[0]) && dead.contains(&runs[MOST]) && dead.len() == MOST);
        dead.revive(&runs[1]);
        assert!(!dead.contains(&runs[1]) && dead.len() == MOST - 1);
    }
}
