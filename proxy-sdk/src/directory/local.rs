//! The directory of a service that is one process: everything in memory, and all but durable memberships lost with it.
//!
//! Owns the records of connected and of departed users and the index of groups, spread over shards with a lock each.
//! Nothing waits but a change of a durable membership, for the journal: no lock is held for longer than one record takes,
//! and there is no IO. Records are small, because there is one per connection.

mod groups;
mod members;
#[cfg(test)]
mod tests;
mod users;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use gim_proto::{Fence, SessionId, Tgid, Uid, crc32};
use tokio::time::Instant;

use self::groups::Groups;
use self::members::Members;
use self::users::Users;
use super::{Claim, ClaimRequest, Directory, DirectoryError, DirectoryErrorKind, Freshness, Held, NodeRef, Owner};
use crate::journal::{Journal, KeepNothing};
use crate::ledger::{Ledger, Presence};

const SHARDS: usize = 64;
/// Departed users remembered for the sake of their groups. Beyond it the oldest go.
const DEPARTED: usize = 1_000_000;
/// Records looked at per shard in one sweep.
const SWEEP: usize = 1_000;

/// Who is where in one process.
pub struct LocalDirectory {
    node: Arc<NodeRef>,
    users: Box<[Mutex<Users>]>,
    groups: Box<[Mutex<Groups>]>,
    departed_per_shard: usize,
    last_fence: AtomicU64,
    members: Members,
    /// Where it is written down who comes and goes. None: nowhere.
    presence: Option<Arc<dyn Ledger>>,
}

/// Figures of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryStats {
    /// Users that are connected.
    pub users: u64,
    /// Users that are not, and whose groups are kept for a while.
    pub departed: u64,
    /// Groups with members.
    pub groups: u64,
}

impl LocalDirectory {
    /// Makes an empty directory for a process that is this node.
    #[must_use]
    pub fn new(node: NodeRef) -> Self {
        Self::with_departed(node, DEPARTED)
    }

    /// Makes an empty directory that remembers about so many departed users, at least one per shard.
    #[must_use]
    pub fn with_departed(node: NodeRef, departed: usize) -> Self {
        Self {
            node: Arc::new(node),
            users: (0..SHARDS).map(|_| Mutex::default()).collect(),
            groups: (0..SHARDS).map(|_| Mutex::default()).collect(),
            departed_per_shard: (departed / SHARDS).max(1),
            last_fence: AtomicU64::new(0),
            members: Members::new(Arc::new(KeepNothing)),
            presence: None,
        }
    }

    /// Makes a directory whose durable memberships outlive the process: those of the rows that the journal has kept in
    /// [`Table::Members`](crate::journal::Table::Members), and what becomes of them.
    ///
    /// # Errors
    /// `Corrupt`: a row is not what this version writes.
    pub fn kept(
        node: NodeRef,
        journal: Arc<dyn Journal>,
        rows: impl IntoIterator<Item = (Bytes, Bytes)>,
    ) -> Result<Self, DirectoryError> {
        let members = Members::new(journal);
        for (key, value) in rows {
            let corrupt = || DirectoryError { kind: DirectoryErrorKind::Corrupt, source: None };
            members.restore(&key, &value).ok_or_else(corrupt)?;
        }
        Ok(Self { members, ..Self::new(node) })
    }

    /// Has it write down who comes and goes.
    #[must_use]
    pub fn with_presence(self, ledger: Arc<dyn Ledger>) -> Self {
        Self { presence: Some(ledger), ..self }
    }

    /// Counts records.
    #[must_use]
    pub fn stats(&self) -> DirectoryStats {
        let users = self.users.iter().map(|shard| lock(shard).counts());
        let (users, departed) = users.fold((0, 0), |sum, (users, departed)| (sum.0 + users, sum.1 + departed));
        let groups = self.groups.iter().map(|shard| lock(shard).len()).sum();
        DirectoryStats { users, departed, groups }
    }

    /// Names the groups a user is in: durably, or while connected.
    #[must_use]
    pub fn groups_of(&self, uid: &Uid) -> Vec<Tgid> {
        let temporary = self.users_of(uid).groups_of(uid);
        self.with_durable(uid, temporary)
    }

    /// Tells whether a user is in one of these groups.
    #[must_use]
    pub fn is_member(&self, uid: &Uid, tgids: &[Tgid]) -> bool {
        self.members.is_member(uid, tgids) || self.users_of(uid).groups_of(uid).iter().any(|tgid| tgids.contains(tgid))
    }

    fn with_durable(&self, uid: &Uid, mut groups: Vec<Tgid>) -> Vec<Tgid> {
        let durable = self.members.groups_of(uid);
        let further: Vec<Tgid> = durable.into_iter().filter(|tgid| !groups.contains(tgid)).collect();
        groups.extend(further);
        groups
    }

    fn users_of(&self, uid: &Uid) -> MutexGuard<'_, Users> {
        shard(&self.users, uid.as_str())
    }

    fn groups_at(&self, tgid: &Tgid) -> MutexGuard<'_, Groups> {
        shard(&self.groups, tgid.as_str())
    }

    // One number for all uids: it rises through releases and forgotten records, whatever the wall clock does.
    fn next_fence(&self) -> Fence {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let next = |last: u64| (last + 1).max(now_us);
        let last = self.last_fence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        // The closure never declines.
        let (Ok(last) | Err(last)) = last;
        Fence(next(last))
    }

    // The process's own node is shared by its records; others appear in tests only.
    fn share(&self, node: NodeRef) -> Arc<NodeRef> {
        if node == *self.node { Arc::clone(&self.node) } else { Arc::new(node) }
    }

    fn claim_at(&self, request: ClaimRequest, now: Instant) -> Claim {
        let ClaimRequest { uid, node, session, on_duplicate, resume } = request;
        let node = self.share(node);
        // Under the lock: of two claims of a uid the later has the higher fence.
        let fence = || self.next_fence();
        let claim = self.users_of(&uid).claim(uid.clone(), node, session, on_duplicate, resume, now, fence);
        match claim {
            Claim::Granted { fence, previous, groups } => {
                Claim::Granted { fence, previous, groups: self.with_durable(&uid, groups) }
            }
            taken @ Claim::Taken { .. } => taken,
        }
    }

    /// Writes down that a user came or went.
    async fn note(&self, uid: &Uid, session: SessionId, fence: Fence, is_online: bool) {
        let Some(ledger) = &self.presence else { return };
        let reason = if is_online { "login" } else { "closed" };
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let news = Presence {
            uid: uid.clone(),
            is_online,
            fence,
            node: self.node.id.clone(),
            session,
            reason: reason.into(),
            at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
        };
        if let Err(error) = ledger.presence(&[news]).await {
            tracing::warn!(%uid, error = %error, "who came or went was not written down");
        }
    }
}

#[async_trait]
impl Directory for LocalDirectory {
    async fn claim(&self, request: ClaimRequest) -> Result<Claim, DirectoryError> {
        let (uid, session) = (request.uid.clone(), request.session);
        let claim = self.claim_at(request, Instant::now());
        if let Claim::Granted { fence, .. } = &claim {
            self.note(&uid, session, *fence, true).await;
        }
        Ok(claim)
    }

    async fn release(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        grace: Duration,
    ) -> Result<bool, DirectoryError> {
        let until = Instant::now() + grace;
        let released = self.users_of(uid).release(uid, session, fence, until, self.departed_per_shard);
        if released {
            self.note(uid, session, fence, false).await;
        }
        Ok(released)
    }

    // Nothing is ever lost here, and the process is one run of one node.
    async fn reassert(&self, _node: &NodeRef, sessions: &[Held]) -> Result<Vec<bool>, DirectoryError> {
        let owns = |held: &Held| self.users_of(&held.uid).owns(&held.uid, held.session, held.fence);
        Ok(sessions.iter().map(owns).collect())
    }

    async fn lookup(&self, uids: &[Uid], _freshness: Freshness) -> Result<Vec<Option<Owner>>, DirectoryError> {
        Ok(uids.iter().map(|uid| self.users_of(uid).owner(uid)).collect())
    }

    async fn record_join(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        Ok(self.users_of(uid).join(uid, session, fence, tgid))
    }

    async fn record_leave(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        let is_owner = self.users_of(uid).leave(uid, session, fence, tgid);
        if is_owner {
            self.members.leave(uid, tgid).await?;
        }
        Ok(is_owner)
    }

    async fn add_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError> {
        let node = self.share(node.clone());
        self.groups_at(tgid).add(tgid, node);
        Ok(())
    }

    async fn remove_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError> {
        self.groups_at(tgid).remove(tgid, node);
        Ok(())
    }

    async fn holders(&self, tgids: &[Tgid]) -> Result<Vec<NodeRef>, DirectoryError> {
        let mut nodes: Vec<NodeRef> = Vec::new();
        for tgid in tgids {
            for node in self.groups_at(tgid).holders(tgid) {
                if !nodes.contains(node) {
                    nodes.push(NodeRef::clone(node));
                }
            }
        }
        Ok(nodes)
    }

    async fn join_durably(&self, uid: &Uid, tgid: &Tgid, most: usize) -> Result<bool, DirectoryError> {
        self.members.join(uid, tgid, most).await
    }

    async fn leave_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, DirectoryError> {
        let left = self.members.leave(uid, tgid).await?;
        if left {
            // It is one membership: nothing temporary is left of it.
            self.users_of(uid).forget_group(uid, tgid);
        }
        Ok(left)
    }

    async fn durable_members(&self, tgids: &[Tgid]) -> Result<Vec<Uid>, DirectoryError> {
        Ok(self.members.of(tgids))
    }

    async fn nodes(&self) -> Result<Vec<NodeRef>, DirectoryError> {
        Ok(vec![NodeRef::clone(&self.node)])
    }

    async fn sweep(&self) -> Result<(), DirectoryError> {
        let now = Instant::now();
        self.users.iter().for_each(|shard| lock(shard).sweep(now, SWEEP));
        Ok(())
    }
}

fn shard<'a, T>(shards: &'a [Mutex<T>], name: &str) -> MutexGuard<'a, T> {
    // The remainder is below the number of shards.
    let at = crc32(name.as_bytes()) as usize % shards.len();
    #[expect(clippy::indexing_slicing, reason = "the index is a remainder by the length, and shards are never empty")]
    lock(&shards[at])
}

// Every change of a record is one step: a panic elsewhere leaves none half made.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
