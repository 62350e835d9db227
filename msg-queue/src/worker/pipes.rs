//! What is on its way to each node and what waits to go there next.
//!
//! One batch per node is on its way; what comes in the meantime goes together in the next one. A node that does not
//! answer therefore holds up nobody but itself.

use std::collections::HashMap;

use gim_proxy_sdk::directory::NodeRef;

use crate::route::Parcel;

/// Deliveries in one batch, at most.
const BATCH: usize = 1_000;
/// Beyond this number, nodes nothing is sent to are forgotten.
const REMEMBERED: usize = 256;

#[derive(Debug, Default)]
struct Pipe {
    waiting: Vec<Parcel>,
    busy: bool,
}

/// The pipes to all nodes known to this lane.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    nodes: HashMap<NodeRef, Pipe>,
}

impl Pipes {
    /// Tells whether any node could be sent something at once. While all are busy it is better to let messages gather
    /// in the lane, where priority counts.
    pub(super) fn may_flow(&self) -> bool {
        self.nodes.is_empty() || self.nodes.values().any(|pipe| !pipe.busy)
    }

    /// Tells whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.nodes.values().all(|pipe| !pipe.busy && pipe.waiting.is_empty())
    }

    /// Appends what a node gets. Returns the next batch, if it may go now.
    pub(super) fn push(&mut self, node: &NodeRef, parcels: Vec<Parcel>) -> Option<Vec<Parcel>> {
        let pipe = match self.nodes.get_mut(node) {
            Some(pipe) => pipe,
            None => {
                self.forget_idle();
                self.nodes.entry(node.clone()).or_default()
            }
        };
        if pipe.waiting.is_empty() {
            pipe.waiting = parcels;
        } else {
            pipe.waiting.extend(parcels);
        }
        pipe.next()
    }

    /// Takes note that a node's batch has ended. Returns the next one, if something waits.
    pub(super) fn ended(&mut self, node: &NodeRef) -> Option<Vec<Parcel>> {
        let pipe = self.nodes.get_mut(node)?;
        pipe.busy = false;
        pipe.next()
    }

    fn forget_idle(&mut self) {
        if self.nodes.len() >= REMEMBERED {
            self.nodes.retain(|_, pipe| pipe.busy || !pipe.waiting.is_empty());
        }
    }
}

impl Pipe {
    fn next(&mut self) -> Option<Vec<Parcel>> {
        if self.busy || self.waiting.is_empty() {
            return None;
        }
        self.busy = true;
        if self.waiting.len() <= BATCH {
            return Some(std::mem::take(&mut self.waiting));
        }
        let rest = self.waiting.split_off(BATCH);
        Some(std::mem::replace(&mut self.waiting, rest))
    }
}
