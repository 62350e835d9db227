//! Who is registered, as it was at one revision.

use std::collections::BTreeMap;

use gim_proto::NodeId;

use super::registration::Registration;
use crate::membership::Names;

/// Who was registered at one revision. It stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision of etcd at which this became so. 0: nothing is known yet.
    pub revision: i64,
    nodes: BTreeMap<NodeId, Registration>,
}

impl Snapshot {
    pub(crate) const fn new(revision: i64, nodes: BTreeMap<NodeId, Registration>) -> Self {
        Self { revision, nodes }
    }

    /// Whether etcd has been heard at all.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.revision > 0
    }

    /// Names all that are registered, by id.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeId, Registration> {
        &self.nodes
    }

    /// Finds what a node says of itself.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Registration> {
        self.nodes.get(id)
    }
}

impl Names for Snapshot {
    fn names(&self) -> Vec<NodeId> {
        self.nodes.keys().cloned().collect()
    }

    fn are_known(&self) -> bool {
        self.is_known()
    }
}
