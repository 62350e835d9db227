//! What has to be put right later: entries that should not be in Redis any more, and nobody else knows.
//!
//! Owns two bounded lists that the sweep works off: ownerships of sessions that are gone, because a claim had no answer
//! or a release could not be made, and names of incarnations in the index of groups that seem dead. What does not fit is
//! dropped: an ownership then ends with its node, a name is found again by the next message to the group.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gim_proto::{Incarnation, SessionId, Tgid, Uid};
use tokio::time::Instant;

/// Ownerships remembered; about 100 B each.
const OWNED: usize = 100_000;
/// Names remembered; about 100 B each.
const NAMED: usize = 20_000;

/// See the module.
#[derive(Default)]
pub(super) struct Leftovers(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    owned: HashMap<SessionId, Owned>,
    named: HashSet<(Tgid, Incarnation)>,
}

/// An ownership of a session that is gone.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) uid: Uid,
    pub(super) session: SessionId,
    /// How long its groups are kept.
    pub(super) grace: Duration,
    /// Until then the call that made it so may still take effect.
    pub(super) after: Instant,
}

/// A call that leaves an ownership behind unless it is known to have gone well: also if it is given up half way.
pub(super) struct Doubt<'a> {
    leftovers: &'a Leftovers,
    owned: Option<Owned>,
}

impl Doubt<'_> {
    pub(super) fn settled(mut self) {
        self.owned = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(owned) = self.owned.take() {
            self.leftovers.owned(owned);
        }
    }
}

impl Leftovers {
    pub(super) fn doubt(&self, owned: Owned) -> Doubt<'_> {
        Doubt { leftovers: self, owned: Some(owned) }
    }

    /// The session is gone and may own the uid still. No other session ever has its id.
    pub(super) fn owned(&self, owned: Owned) {
        let mut lists = self.lists();
        if lists.owned.len() < OWNED {
            lists.owned.insert(owned.session, owned);
        } else {
            tracing::warn!(uid = %owned.uid, "too many releases wait for redis; this record ends with its node");
        }
    }

    /// The incarnation holds members of the group, it says, and seems dead.
    pub(super) fn named(&self, tgid: &Tgid, incarnation: Incarnation) {
        let mut lists = self.lists();
        if lists.named.len() < NAMED {
            lists.named.insert((tgid.clone(), incarnation));
        }
    }

    /// Takes some ownerships whose time has come. What is not put right has to be given back.
    pub(super) fn take_owned(&self, most: usize, now: Instant) -> Vec<Owned> {
        let owned = &mut self.lists().owned;
        let ready: Vec<Owned> = owned.values().filter(|owned| owned.after <= now).take(most).cloned().collect();
        ready.iter().for_each(|ready| {
            owned.remove(&ready.session);
        });
        ready
    }

    /// Takes some names. What cannot be judged yet has to be given back.
    pub(super) fn take_named(&self, most: usize) -> Vec<(Tgid, Incarnation)> {
        let named = &mut self.lists().named;
        let some: Vec<_> = named.iter().take(most).cloned().collect();
        some.iter().for_each(|name| {
            named.remove(name);
        });
        some
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
