//! Which node the next call goes to.
//!
//! Owns one connection per run of a registered node, made when it is first chosen, and gone with the registration. Never
//! waits: whether a node answers is found out by whoever calls it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gim_proto::{Incarnation, NodeId};
use tokio::time::Instant;

use crate::etcd::{Registration, Snapshot};
use crate::{ClientOptions, NodeClient};

/// How long a node that could not be reached, or did not answer, is chosen last.
const AVOIDED: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Default)]
pub(super) struct Choice(Mutex<State>);

/// A node, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) id: NodeId,
    pub(super) client: NodeClient,
    incarnation: Incarnation,
}

#[derive(Default)]
struct State {
    turn: usize,
    known: HashMap<NodeId, Known>,
}

struct Known {
    incarnation: Incarnation,
    rpc: String,
    client: NodeClient,
    avoid_until: Option<Instant>,
}

impl Choice {
    /// Begins with any of the nodes, so that many services that start do not all begin with the first.
    pub(super) fn anywhere() -> Self {
        // Every RandomState has keys of its own.
        let turn = usize::try_from(RandomState::new().build_hasher().finish() >> 33).unwrap_or(0);
        Self(Mutex::new(State { turn, known: HashMap::new() }))
    }

    /// Chooses a node that was not tried: each in turn, those to be avoided last.
    pub(super) fn next(&self, snapshot: &Snapshot, tried: &[NodeId], options: &ClientOptions) -> Option<Chosen> {
        let mut state = self.lock();
        state.follow(snapshot);
        let mut candidates: Vec<_> = snapshot.nodes().iter().filter(|(id, _)| !tried.contains(id)).collect();
        let count = candidates.len();
        candidates.rotate_left(state.turn.checked_rem(count).unwrap_or(0));
        state.turn = state.turn.wrapping_add(1);
        let now = Instant::now();
        // Stable: those in good standing keep their turn.
        candidates.sort_by_key(|(id, _)| state.is_avoided(id, now));
        // An address that is none is its node's mistake, and nobody else's.
        candidates.into_iter().find_map(|(id, node)| state.way_to(id, node, options))
    }

    /// Chooses the node of this name. None: it is not registered, or its address is none.
    pub(super) fn named(&self, snapshot: &Snapshot, id: &NodeId, options: &ClientOptions) -> Option<Chosen> {
        let mut state = self.lock();
        state.follow(snapshot);
        state.way_to(id, snapshot.node(id)?, options)
    }

    /// Has a node chosen last for a while, and greeted again before it is used.
    pub(super) fn avoid(&self, chosen: &Chosen) {
        let mut state = self.lock();
        let known = state.known.get_mut(&chosen.id);
        if let Some(known) = known.filter(|known| known.incarnation == chosen.incarnation) {
            known.avoid_until = Some(Instant::now() + AVOIDED);
            known.client.doubt();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets who is gone, or is another run or elsewhere now.
    fn follow(&mut self, snapshot: &Snapshot) {
        let is_current =
            |known: &Known, node: &Registration| node.incarnation == known.incarnation && node.rpc == known.rpc;
        self.known.retain(|id, known| snapshot.node(id).is_some_and(|node| is_current(known, node)));
    }

    fn is_avoided(&self, id: &NodeId, now: Instant) -> bool {
        self.known.get(id).and_then(|known| known.avoid_until).is_some_and(|until| until > now)
    }

    fn way_to(&mut self, id: &NodeId, node: &Registration, options: &ClientOptions) -> Option<Chosen> {
        if !self.known.contains_key(id) {
            let client = NodeClient::lazy(&node.rpc, options.clone()).ok()?;
            let (incarnation, rpc) = (node.incarnation, node.rpc.clone());
            self.known.insert(id.clone(), Known { incarnation, rpc, client, avoid_until: None });
        }
        let known = self.known.get(id)?;
        Some(Chosen { id: id.clone(), client: known.client.clone(), incarnation: known.incarnation })
    }
}

#[cfg(test)]
mod tests;
