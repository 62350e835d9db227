//! The groups of one session: joined while it lives, left all at once when it ends.
//!
//! Owns the session's side of membership and its bound. The other side is the hub's; both change under this lock, so
//! that a join that races with the end of the session leaves no ghost behind.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use futures_util::stream::{self, StreamExt};
use gim_proto::Tgid;
use gim_proxy_sdk::few::Few;
use gim_proxy_sdk::mailbox::{MailboxError, Scope};
use tokio::time::Instant;

use super::Session;
use super::handle::JoinError;
use super::values::Values;
use crate::hub::Group;

/// What a session is a member of. None: the session has ended, and joins nothing any more.
pub(super) struct Membership(Option<Few<Arc<Group>>>);

impl Default for Membership {
    fn default() -> Self {
        Self(Some(Few::default()))
    }
}

impl Membership {
    fn joined(&self) -> &[Arc<Group>] {
        self.0.as_ref().map_or(&[], Few::as_slice)
    }
}

impl Session {
    /// Joins a group of this node and has the directory know before it returns.
    pub(crate) async fn join_group(&self, tgid: &Tgid) -> Result<(), JoinError> {
        self.enter_group(tgid).await.map(Values::offer)
    }

    /// Joins like [`Session::join_group`] and leaves it to the caller when the group's last values are offered.
    pub(super) async fn enter_group(&self, tgid: &Tgid) -> Result<Values, JoinError> {
        let (group, entered) = self.enter(tgid)?;
        let core = &self.0.core;
        // Also for a member: whoever entered before may have been given up before the directory knew.
        let recorded = async {
            group.announce(core).await?;
            // Side by side: from the announcement on nothing newer passes this node by.
            let recorded = core.directory.record_join(&self.0.uid, self.0.id, self.fence(), tgid);
            let (recorded, values) = tokio::join!(recorded, self.values_of(tgid, entered));
            Ok(recorded?.then_some(values))
        };
        match recorded.await {
            Ok(Some(Ok(values))) => {
                self.tell("join", || tgid.to_string());
                Ok(values)
            }
            Ok(Some(Err(error))) => {
                self.tell("join", || tgid.to_string());
                // Whoever tries again is given them then.
                self.leave_group(tgid).await?;
                Err(JoinError::Values(error))
            }
            Ok(None) => {
                self.withdraw_from(tgid).await;
                Err(JoinError::Ended)
            }
            Err(error) => {
                if entered {
                    self.withdraw_from(tgid).await;
                }
                Err(JoinError::Directory(error))
            }
        }
    }

    /// Reads what a newcomer to a group is given. Who was a member before has it.
    async fn values_of(&self, tgid: &Tgid, is_new: bool) -> Result<Values, MailboxError> {
        let scopes = if is_new { vec![Scope::Group(tgid.clone())] } else { Vec::new() };
        self.read_values(scopes).await
    }

    /// Joins a group, and makes its user a member of it for good.
    pub(crate) async fn join_group_durably(&self, tgid: &Tgid) -> Result<(), JoinError> {
        self.enter_group_durably(tgid).await.map(Values::offer)
    }

    /// Joins like [`Session::join_group_durably`] and leaves it to the caller when the group's last values are offered.
    pub(super) async fn enter_group_durably(&self, tgid: &Tgid) -> Result<Values, JoinError> {
        let (group, entered) = self.enter(tgid)?;
        let core = &self.0.core;
        let recorded = async {
            group.announce(core).await?;
            core.join_durably(&self.0.uid, tgid).await
        };
        let refused = match recorded.await {
            Ok(true) => {
                self.tell("join", || tgid.to_string());
                match self.values_of(tgid, entered).await {
                    Ok(values) => return Ok(values),
                    // The membership stays: it may be older than this session.
                    Err(error) => JoinError::Values(error),
                }
            }
            Ok(false) => JoinError::Full { most: core.settings.durable_members },
            Err(error) => JoinError::Directory(error),
        };
        if entered {
            self.withdraw_from(tgid).await;
        }
        Err(refused)
    }

    /// Takes up groups that the directory has kept for this session. One that fails is left out and logged.
    pub(crate) async fn restore_groups(&self, tgids: &[Tgid]) {
        const SIDE_BY_SIDE: usize = 64;
        let end = Instant::now() + self.0.core.settings.handshake;
        let restored = stream::iter(tgids).for_each_concurrent(SIDE_BY_SIDE, |tgid| async move {
            if Instant::now() >= end {
                tracing::warn!(uid = %self.uid(), %tgid, "a group that was kept is not restored in time");
            } else if let Err(error) = self.restore_group(tgid).await {
                tracing::warn!(uid = %self.uid(), %tgid, error = %error, "a group that was kept is not restored");
            }
        });
        restored.await;
    }

    async fn restore_group(&self, tgid: &Tgid) -> Result<(), JoinError> {
        let (group, _) = self.enter(tgid)?;
        let core = &self.0.core;
        if let Err(error) = group.announce(core).await {
            self.withdraw_from(tgid).await;
            return Err(JoinError::Directory(error));
        }
        Ok(())
    }

    /// Leaves a group, also if durably in it. False: it was no member here.
    pub(crate) async fn leave_group(&self, tgid: &Tgid) -> Result<bool, JoinError> {
        let left = self.withdraw_from(tgid).await;
        if left {
            self.tell("leave", || tgid.to_string());
        }
        // Also if it was none here: it may be a durable member that could not be restored.
        let recorded = self.0.core.directory.record_leave(&self.0.uid, self.0.id, self.fence(), tgid).await;
        recorded.map_err(JoinError::Directory)?;
        Ok(left)
    }

    /// Leaves every group for good, as the session ends.
    pub(super) async fn leave_all_groups(&self) {
        let joined = self.membership().0.take();
        for group in joined.into_iter().flatten() {
            self.0.core.hub.groups.remove(&group, self);
            self.0.core.settle_group(group).await;
        }
    }

    pub(crate) fn is_member_of_any(&self, tgids: &[Tgid]) -> bool {
        const FEW: usize = 8;
        if tgids.len() <= FEW {
            return self.membership().joined().iter().any(|group| tgids.contains(&group.tgid));
        }
        let tgids: HashSet<&Tgid> = tgids.iter().collect();
        self.membership().joined().iter().any(|group| tgids.contains(&group.tgid))
    }

    /// Names the groups the session is in.
    #[must_use]
    pub fn groups(&self) -> Vec<Tgid> {
        self.membership().joined().iter().map(|group| group.tgid.clone()).collect()
    }

    /// Makes it a member. False: it was one before.
    fn enter(&self, tgid: &Tgid) -> Result<(Arc<Group>, bool), JoinError> {
        let mut membership = self.membership();
        let Some(joined) = &mut membership.0 else { return Err(JoinError::Ended) };
        if let Some(group) = joined.as_slice().iter().find(|group| &group.tgid == tgid) {
            return Ok((Arc::clone(group), false));
        }
        let most = self.0.core.settings.groups;
        if joined.as_slice().len() >= most {
            return Err(JoinError::TooMany { most });
        }
        let group = self.0.core.hub.groups.insert(tgid, self);
        joined.push(Arc::clone(&group));
        Ok((group, true))
    }

    async fn withdraw_from(&self, tgid: &Tgid) -> bool {
        let group = {
            let mut membership = self.membership();
            let at = membership.joined().iter().position(|group| &group.tgid == tgid);
            let Some(group) = at.and_then(|at| membership.0.as_mut()?.swap_remove(at)) else { return false };
            self.0.core.hub.groups.remove(&group, self);
            group
        };
        self.0.core.settle_group(group).await;
        true
    }

    fn membership(&self) -> std::sync::MutexGuard<'_, Membership> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
