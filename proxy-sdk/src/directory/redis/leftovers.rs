//! What has to be put right later: entries that should not be in Redis any more, and nobody else knows.
//!
//! Owns three bounded lists that the sweep works off: ownerships of sessions that are gone, because a claim had no answer
//! or a release could not be made, names of incarnations in the index of groups that seem dead, and changes of durable
//! memberships that broke off. What does not fit is dropped: an ownership then ends with its node, a name is found again
//! by the next message to the group, a change by the user's next login.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gim_proto::{Incarnation, SessionId, Tgid, Uid};
use tokio::time::Instant;

/// Ownerships remembered; about 100 B each.
const OWNED: usize = 100_000;
/// Names remembered; about 100 B each.
const NAMED: usize = 20_000;
/// Memberships remembered; about 100 B each.
const CHANGED: usize = 20_000;

/// See the module.
#[derive(Default)]
pub(super) struct Leftovers(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    owned: HashMap<SessionId, Owned>,
    named: HashSet<(Tgid, Incarnation)>,
    changed: HashSet<(Uid, Tgid)>,
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

/// A change of a durable membership that has broken off unless it is known to have gone well.
pub(super) struct DoubtfulChange<'a> {
    leftovers: &'a Leftovers,
    membership: Option<(&'a Uid, &'a Tgid)>,
}

impl DoubtfulChange<'_> {
    pub(super) fn settled(mut self) {
        self.membership = None;
    }
}

impl Drop for DoubtfulChange<'_> {
    fn drop(&mut self) {
        if let Some((uid, tgid)) = self.membership {
            self.leftovers.changed(uid, tgid);
        }
    }
}

impl Leftovers {
    pub(super) fn doubt_change<'a>(&'a self, uid: &'a Uid, tgid: &'a Tgid) -> DoubtfulChange<'a> {
        DoubtfulChange { leftovers: self, membership: Some((uid, tgid)) }
    }

    /// A change of this durable membership may have broken off.
    pub(super) fn changed(&self, uid: &Uid, tgid: &Tgid) {
        let mut lists = self.lists();
        if lists.changed.len() < CHANGED {
            lists.changed.insert((uid.clone(), tgid.clone()));
        }
    }

    /// Takes some changes. One that is not finished yet comes back by itself.
    pub(super) fn take_changed(&self, most: usize) -> Vec<(Uid, Tgid)> {
        let changed = &mut self.lists().changed;
        let some: Vec<_> = changed.iter().take(most).cloned().collect();
        some.iter().for_each(|change| {
            changed.remove(change);
        });
        some
    }

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
