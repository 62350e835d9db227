//! A node's table of sessions and groups, and the fan-out over them.
//!
//! Owns who is connected here: one session per uid, those whose claim is under way, and the members of every group.
//! It never asks the directory and never waits for a client; locks are held for table look-ups alone.

mod deliver;
mod gather;
mod groups;
mod plans;
mod slots;
mod users;

pub(crate) use self::gather::Gather;
pub(crate) use self::groups::Group;
use self::groups::Groups;
use self::slots::Slots;
pub(crate) use self::users::Users;

use gim_proto::{SessionId, Uid};
use gim_proxy_sdk::delivery::Addressed;

use crate::session::Session;

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
