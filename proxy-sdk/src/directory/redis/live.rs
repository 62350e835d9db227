//! Which runs of nodes live, as somebody else knows it.
//!
//! Owns the last view it was given. Never asks anybody: who holds the truth (leases in Redis, or etcd) sets it, and an
//! outage of that leaves the last view standing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use gim_proto::Incarnation;

use crate::directory::NodeRef;

/// Which runs of nodes live. Cheap to clone and to read; clones share one view.
#[derive(Clone, Debug, Default)]
pub struct LiveNodes(Arc<RwLock<Arc<View>>>);

/// One view, as it was at one moment.
#[derive(Debug, Default)]
pub(super) struct View {
    nodes: Arc<[NodeRef]>,
    by_incarnation: HashMap<Incarnation, usize>,
    /// Somebody has said who lives. Before that, nobody is known to be dead either.
    known: bool,
}

impl LiveNodes {
    /// Makes a view that nobody has set yet. Until then the directory calls nobody dead and answers nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of who lives now, all of them.
    pub fn set(&self, nodes: Vec<NodeRef>) {
        let by_incarnation = nodes.iter().enumerate().map(|(at, node)| (node.incarnation, at)).collect();
        let view = Arc::new(View { nodes: nodes.into(), by_incarnation, known: true });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// Names those that live.
    #[must_use]
    pub fn snapshot(&self) -> Arc<[NodeRef]> {
        Arc::clone(&self.view().nodes)
    }

    /// Tells whether a run lives.
    #[must_use]
    pub fn is_live(&self, incarnation: &Incarnation) -> bool {
        self.view().find(incarnation).is_some()
    }

    /// Finds the node of a run that lives.
    #[must_use]
    pub fn find(&self, incarnation: &Incarnation) -> Option<NodeRef> {
        self.view().find(incarnation).cloned()
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl View {
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    pub(super) fn nodes(&self) -> &[NodeRef] {
        &self.nodes
    }

    pub(super) fn find(&self, incarnation: &Incarnation) -> Option<&NodeRef> {
        self.by_incarnation.get(incarnation).and_then(|at| self.nodes.get(*at))
    }
}
