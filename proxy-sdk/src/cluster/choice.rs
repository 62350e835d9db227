//! Which node the next call goes to.
//!
//! Owns one connection per registered node, made when it is first chosen, and gone with the node's registration.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gim_proto::NodeId;
use tokio::time::Instant;

use crate::etcd::Snapshot;
use crate::{ClientOptions, NodeClient};

/// How long a node that could not be reached is chosen last.
const AVOIDED: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Default)]
pub(super) struct Choice(Mutex<State>);

#[derive(Default)]
struct State {
    turn: usize,
    known: HashMap<NodeId, Known>,
}

struct Known {
    rpc: String,
    client: NodeClient,
    avoid_until: Option<Instant>,
}

impl Choice {
    /// Chooses a node that was not tried, each in turn.
    pub(super) fn next(
        &self,
        snapshot: &Snapshot,
        tried: &[NodeId],
        options: &ClientOptions,
    ) -> Option<(NodeId, NodeClient)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let State { turn, known } = &mut *state;
        known.retain(|id, known| snapshot.node(id).is_some_and(|node| node.rpc == known.rpc));
        let mut candidates: Vec<&NodeId> = snapshot.nodes().keys().filter(|id| !tried.contains(id)).collect();
        let count = candidates.len();
        candidates.rotate_left(turn.checked_rem(count).unwrap_or(0));
        *turn = turn.wrapping_add(1);
        // Stable: those in good standing keep their turn.
        candidates
            .sort_by_key(|id| known.get(*id).and_then(|known| known.avoid_until).is_some_and(|until| until > now));
        candidates.into_iter().find_map(|id| {
            let rpc = &snapshot.node(id)?.rpc;
            let known = match known.get(id) {
                Some(known) => known,
                None => {
                    // An address that is none is its node's mistake, and nobody else's.
                    let client = NodeClient::lazy(rpc, options.clone()).ok()?;
                    known.entry(id.clone()).or_insert(Known { rpc: rpc.clone(), client, avoid_until: None })
                }
            };
            Some((id.clone(), known.client.clone()))
        })
    }

    /// Has a node chosen last for a while.
    pub(super) fn avoid(&self, node: &NodeId) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.known.get_mut(node) {
            known.avoid_until = Some(Instant::now() + AVOIDED);
        }
    }
}
