//! What leads to the master that holds a lane.
//!
//! Owns one thing for all lanes where there is one master, and one for each lane on a cluster.

use super::MAX_LANES;
use crate::store::{Store, Topology};

#[derive(Clone, Debug)]
pub(crate) struct PerLane<T>(Box<[T]>);

impl<T> PerLane<T> {
    /// Makes what is needed. `make` opens nothing until it is used.
    pub(crate) fn new(store: &Store, make: impl FnMut(u16) -> T) -> Self {
        let many = match store.options().topology() {
            Topology::Cluster { .. } => MAX_LANES,
            Topology::Standalone { .. } | Topology::Sentinel { .. } => 1,
        };
        Self((0..many).map(make).collect())
    }

    /// Finds that of a lane. None: there is no such lane.
    pub(crate) fn of(&self, lane: u16) -> Option<&T> {
        match &*self.0 {
            [one] => Some(one),
            many => many.get(usize::from(lane)),
        }
    }
}
