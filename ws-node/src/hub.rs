//! A node's table of sessions and groups, and the fan-out over them.
//!
//! Owns who is connected here: one session per uid, those whose claim is under way, and the members of every group.
//! It never asks the directory and never waits for a client; locks are held for table look-ups alone.

mod deliver;
mod gather;
mod groups;
mod hints;
mod index;
#[cfg(feature = "measure")]
pub(crate) mod measure;
mod plans;
mod slots;
mod users;

pub(crate) use self::gather::Gather;
use self::groups::Groups;
pub(crate) use self::groups::{Group, Member};
pub(crate) use self::hints::Fans;
pub(crate) use self::plans::encode;
use self::slots::Slots;
pub(crate) use self::users::Users;

use std::sync::Arc;

use gim_proto::{SessionId, Tgid, Uid};
use gim_proxy_sdk::delivery::Addressed;

use crate::session::Session;

/// Collapse keys of messages to users count within this.
pub(crate) const USER_SCOPE: &str = "u";

/// Collapse keys of messages to a group count within this.
pub(crate) fn group_scope(tgid: &Tgid) -> String {
    format!("g:{tgid}")
}

/// A collapse key as outboxes know it.
pub(crate) fn collapse_key(scope: &str, key: &str) -> Arc<str> {
    Arc::from(format!("{scope}\0{key}"))
}

/// See the module.
#[derive(Default)]
pub(crate) struct Hub {
    pub(crate) users: Users,
    pub(crate) groups: Groups,
    pub(crate) slots: Slots,
    gathers: gather::Spare,
}

impl Hub {
    /// Finds one session of a user, also while its claim is under way.
    pub(crate) fn session(&self, uid: &Uid, id: SessionId) -> Option<Session> {
        let active = || self.users.active(uid).filter(|session| session.id() == id);
        // A session is put among the active before it leaves the claiming: looked for in the other order, it could be
        // missed in both.
        active().or_else(|| self.users.claiming(id)).or_else(active)
    }

    /// Finds the session that the directory named. One whose claim is under way has no fence yet.
    pub(crate) fn addressed(&self, to: &Addressed) -> Option<Session> {
        self.session(&to.uid, to.session).filter(|session| session.fence() == to.fence || session.fence().0 == 0)
    }
}
