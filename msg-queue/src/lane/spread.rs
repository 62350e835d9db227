//! To which nodes a group's messages go, as long as some of them are unfinished.
//!
//! A node that comes up while an earlier message waits for another node gets that message first: should the other be gone
//! when it is looked up again, because its users are connected elsewhere by now, the earlier message still goes there,
//! and must not come behind later ones.

use std::collections::{BTreeSet, HashMap};

use gim_proto::{EntryId, Incarnation};

use super::keys::Key;

/// All groups with messages that were looked up and are unfinished.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    routes: HashMap<Key, Routes>,
}

#[derive(Clone, Debug, Default)]
struct Routes {
    unfinished: BTreeSet<EntryId>,
    /// Nodes that every one of them goes to, went to, or did not have to go to.
    covered: Vec<Incarnation>,
    /// Nodes that those up to one go to: many that are tried again together are looked through once.
    lately: Option<(EntryId, Vec<Incarnation>)>,
}

impl Spread {
    /// Takes note to which nodes a message goes that was looked up for the first time.
    pub(super) fn goes_to(&mut self, target: &Key, entry_id: EntryId, nodes: &[Incarnation]) {
        let routes = match self.routes.get_mut(target) {
            Some(routes) => routes,
            None => self.routes.entry(target.clone()).or_default(),
        };
        // One that comes late says nothing about those before it, nor they about it.
        let comes_late = routes.unfinished.last().is_some_and(|last| *last > entry_id);
        routes.unfinished.insert(entry_id);
        if comes_late {
            routes.lately = None;
            routes.covered.retain(|node| nodes.contains(node));
        } else if routes.covered != nodes {
            routes.covered = nodes.to_vec();
        }
    }

    /// Names earlier messages that may not go to all of these nodes. Whoever asks sees to it that they do.
    pub(super) fn behind(&mut self, target: &Key, entry_id: EntryId, nodes: &[Incarnation]) -> Vec<EntryId> {
        let Some(Routes { unfinished, covered, lately }) = self.routes.get_mut(target) else { return Vec::new() };
        if are_within(nodes, covered) {
            return Vec::new();
        }
        let from = match lately {
            Some((to, known)) if are_within(nodes, known) => *to,
            _ => EntryId::default(),
        };
        if from >= entry_id {
            return Vec::new();
        }
        *lately = Some((entry_id, nodes.to_vec()));
        unfinished.range(from..entry_id).copied().collect()
    }

    pub(super) fn forget(&mut self, target: &Key, entry_id: EntryId) {
        let Some(routes) = self.routes.get_mut(target) else { return };
        routes.unfinished.remove(&entry_id);
        if routes.unfinished.is_empty() {
            self.routes.remove(target);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

fn are_within(nodes: &[Incarnation], others: &[Incarnation]) -> bool {
    nodes == others || nodes.iter().all(|node| others.contains(node))
}
