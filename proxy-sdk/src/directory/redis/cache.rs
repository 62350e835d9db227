//! Owners seen lately.
//!
//! Owns a bounded number of them, positive answers only; none of sessions of this process where that is asked itself
//! ([`Here`](crate::directory::Here)). An entry may be out of date: another process has claimed or released the uid since.
//! That harms nobody. A delivery carries the session and the fence of the entry, a node takes it only for a session that
//! still has both, and otherwise says that it is not the owner, upon which the directory is asked anew
//! ([`Freshness::Current`](crate::directory::Freshness)), which corrects the entry. A new owner's node ends the session
//! before it before it serves the new one, so that the old fence finds nobody.

use gim_proto::{SessionId, Uid};
use quick_cache::sync::Cache;

use crate::directory::Owner;
use crate::members::View;

/// See the module.
pub(super) struct Owners(Cache<Uid, Owner>);

impl Owners {
    pub(super) fn new(most: usize) -> Self {
        Self(Cache::new(most))
    }

    /// An owner on a node that still lives.
    pub(super) fn find(&self, uid: &Uid, view: &View) -> Option<Owner> {
        self.0.get(uid).filter(|owner| view.find(&owner.node.incarnation).is_some())
    }

    /// Takes note of what a look-up for want of an entry has found: somebody may have claimed meanwhile.
    pub(super) fn fill(&self, uid: &Uid, owner: Owner) {
        if self.0.peek(uid).is_none_or(|held| held.fence <= owner.fence) {
            self.0.insert(uid.clone(), owner);
        }
    }

    /// Takes note of what is so now.
    pub(super) fn correct(&self, uid: &Uid, owner: Option<&Owner>) {
        match owner {
            Some(owner) => self.0.insert(uid.clone(), owner.clone()),
            None => {
                self.0.remove(uid);
            }
        }
    }

    /// Forgets the owner if it is this session.
    pub(super) fn forget(&self, uid: &Uid, session: SessionId) {
        if self.0.peek(uid).is_some_and(|owner| owner.session == session) {
            self.0.remove(uid);
        }
    }
}
