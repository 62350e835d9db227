//! Which nodes hold members of a group.

use std::collections::HashMap;
use std::sync::Arc;

use gim_proto::Tgid;

use super::NodeRef;
use crate::few::Few;

#[derive(Default)]
pub(super) struct Groups {
    holders: HashMap<Tgid, Few<Arc<NodeRef>>>,
}

impl Groups {
    pub(super) fn len(&self) -> u64 {
        self.holders.len() as u64
    }

    pub(super) fn add(&mut self, tgid: &Tgid, node: Arc<NodeRef>) {
        let nodes = self.holders.entry(tgid.clone()).or_default();
        if !nodes.as_slice().contains(&node) {
            nodes.push(node);
        }
    }

    pub(super) fn remove(&mut self, tgid: &Tgid, node: &NodeRef) {
        let Some(nodes) = self.holders.get_mut(tgid) else { return };
        nodes.retain(|other| **other != *node);
        if nodes.as_slice().is_empty() {
            self.holders.remove(tgid);
        }
    }

    pub(super) fn holders(&self, tgid: &Tgid) -> &[Arc<NodeRef>] {
        self.holders.get(tgid).map_or(&[], Few::as_slice)
    }
}
