//! Sessions that lost their uid to a newcomer here, on nodes that could not be told at that moment.
//!
//! Owns the list, and tells again until each node has answered. A node whose lease has ended is told nothing: it closes by
//! itself what it lost. At the bound the list takes no more, and such a session ends with its client or its node.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use gim_proto::{Incarnation, Uid};
use gim_proxy_sdk::directory::Owner;
use gim_proxy_sdk::peers::{Peers, Stop};
use tokio::time::Instant;

use super::holder::HOLDER_PROBE;
use crate::core::Core;

/// Sessions remembered; about 200 B each.
const MOST: usize = 100_000;
/// Calls to one node at once.
const SIDE_BY_SIDE: usize = 64;
/// A run that is not in the view may have begun just now. After a lease it is none of the living.
const LEASE: Duration = Duration::from_secs(12);

/// See the module.
#[derive(Default)]
pub(crate) struct Superseded(Mutex<HashMap<Incarnation, Vec<Untold>>>);

struct Untold {
    uid: Uid,
    owner: Owner,
    since: Instant,
}

impl Superseded {
    pub(super) fn note(&self, uid: &Uid, owner: &Owner) {
        let mut runs = self.runs();
        if runs.values().map(Vec::len).sum::<usize>() >= MOST {
            tracing::warn!(%uid, node = %owner.node.id, "too many superseded sessions wait for silent nodes");
            return;
        }
        let untold = Untold { uid: uid.clone(), owner: owner.clone(), since: Instant::now() };
        runs.entry(owner.node.incarnation).or_default().push(untold);
    }

    fn take(&self) -> HashMap<Incarnation, Vec<Untold>> {
        std::mem::take(&mut *self.runs())
    }

    fn give_back(&self, run: Incarnation, left: Vec<Untold>) {
        if !left.is_empty() {
            self.runs().entry(run).or_default().extend(left);
        }
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<Incarnation, Vec<Untold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells each node again. Of one that is still silent only the first session is asked for.
pub(crate) async fn tell_again(core: &Core) {
    let (Some(peers), Some(live)) = (&core.peers, &core.live) else { return };
    for (run, mut untold) in core.superseded.take() {
        if !live.is_live(&run) {
            untold.retain(|untold| untold.since.elapsed() < LEASE || look_again(core, untold));
        }
        let Some(first) = untold.pop() else { continue };
        match tell(core, peers, first).await {
            Some(first) => untold.push(first),
            None => {
                let rest = stream::iter(untold).map(|untold| tell(core, peers, untold)).buffer_unordered(SIDE_BY_SIDE);
                untold = rest.filter_map(std::future::ready).collect().await;
            }
        }
        core.superseded.give_back(run, untold);
    }
}

/// Has the newcomer look into its mailbox: until now the session before it was told of what came. Returns false, because
/// nothing is left to be told.
fn look_again(core: &Core, untold: &Untold) -> bool {
    if let Some(newcomer) = core.hub.users.active(&untold.uid) {
        newcomer.doubt_mailbox();
    }
    false
}

/// Gives back what the node did not answer.
async fn tell(core: &Core, peers: &Peers, untold: Untold) -> Option<Untold> {
    match peers.stop(&untold.uid, &untold.owner, Stop::Replaced, HOLDER_PROBE).await {
        Ok(_held) => {
            look_again(core, &untold);
            None
        }
        Err(error) => {
            tracing::debug!(uid = %untold.uid, node = %untold.owner.node.id, error = %error, "still silent");
            Some(untold)
        }
    }
}
