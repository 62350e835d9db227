//! Durable members of groups, in memory and in the journal.
//!
//! Owns both sides of a membership: the groups of a user and the members of a group. A change is made and submitted while
//! the user's shard is locked, so that the journal has the changes of one membership in their order; whoever asked is
//! answered once it is kept. What could not be kept is taken back, unless another change has come since.
//!
//! A row of [`Table::Members`]: key `<uid> NUL <tgid>` (neither name holds a NUL), value `durable`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gim_proto::{Tgid, Uid};

use super::{SHARDS, shard};
use crate::directory::{DirectoryError, DirectoryErrorKind};
use crate::journal::{Change, Journal, JournalError, JournalErrorKind, Kept, Table};

const DURABLE: &[u8] = b"durable";

type Users = HashMap<Uid, Vec<Membership>>;
type Groups = HashMap<Tgid, HashSet<Uid>>;

/// See the module.
pub(super) struct Members {
    journal: Arc<dyn Journal>,
    users: Box<[Mutex<Users>]>,
    groups: Box<[Mutex<Groups>]>,
    changes: AtomicU64,
}

/// A durable membership, or the end of one that the journal has not kept yet.
struct Membership {
    tgid: Tgid,
    is_member: bool,
    /// The change that made it so.
    change: u64,
    is_kept: bool,
}

/// A change that has been made here.
struct Made {
    change: u64,
    kept: Kept,
}

impl Members {
    pub(super) fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            users: (0..SHARDS).map(|_| Mutex::default()).collect(),
            groups: (0..SHARDS).map(|_| Mutex::default()).collect(),
            changes: AtomicU64::new(0),
        }
    }

    /// Takes up a row that was kept. None: it is not what this version writes.
    pub(super) fn restore(&self, key: &[u8], value: &[u8]) -> Option<()> {
        let (uid, tgid) = std::str::from_utf8(key).ok()?.split_once('\0')?;
        let (uid, tgid) = (Uid::parse(uid).ok()?, Tgid::parse(tgid).ok()?);
        if value != DURABLE {
            return None;
        }
        shard(&self.groups, tgid.as_str()).entry(tgid.clone()).or_default().insert(uid.clone());
        let mut users = shard(&self.users, uid.as_str());
        let memberships = users.entry(uid).or_default();
        if !memberships.iter().any(|membership| membership.tgid == tgid) {
            memberships.push(Membership { tgid, is_member: true, change: 0, is_kept: true });
        }
        Some(())
    }

    pub(super) fn groups_of(&self, uid: &Uid) -> Vec<Tgid> {
        let users = shard(&self.users, uid.as_str());
        let memberships = users.get(uid).into_iter().flatten().filter(|membership| membership.is_member);
        memberships.map(|membership| membership.tgid.clone()).collect()
    }

    pub(super) fn is_member(&self, uid: &Uid, tgids: &[Tgid]) -> bool {
        let users = shard(&self.users, uid.as_str());
        let mut memberships = users.get(uid).into_iter().flatten().filter(|membership| membership.is_member);
        memberships.any(|membership| tgids.contains(&membership.tgid))
    }

    /// Names the members of these groups, each once, in order.
    pub(super) fn of(&self, tgids: &[Tgid]) -> Vec<Uid> {
        let mut members = BTreeSet::new();
        for tgid in tgids {
            members.extend(shard(&self.groups, tgid.as_str()).get(tgid).into_iter().flatten().cloned());
        }
        members.into_iter().collect()
    }

    pub(super) async fn join(&self, uid: &Uid, tgid: &Tgid, most: usize) -> Result<bool, DirectoryError> {
        match self.begin_join(uid, tgid, most) {
            Some(Some(made)) => self.finish(uid, tgid, made, true).await.map(|()| true),
            Some(None) => Ok(true),
            None => Ok(false),
        }
    }

    pub(super) async fn leave(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, DirectoryError> {
        match self.begin_leave(uid, tgid) {
            Some(made) => self.finish(uid, tgid, made, false).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// None: the group is full. Nothing within: it was so, and is kept.
    fn begin_join(&self, uid: &Uid, tgid: &Tgid, most: usize) -> Option<Option<Made>> {
        let mut users = shard(&self.users, uid.as_str());
        let known = users.get(uid).into_iter().flatten().find(|membership| &membership.tgid == tgid);
        if known.is_some_and(|membership| membership.is_member && membership.is_kept) {
            return Some(None);
        }
        {
            // Always after the user's shard, so that nobody waits for each other.
            let mut groups = shard(&self.groups, tgid.as_str());
            let members = groups.get(tgid);
            let is_member = members.is_some_and(|members| members.contains(uid));
            if !is_member && members.map_or(0, HashSet::len) >= most {
                return None;
            }
            groups.entry(tgid.clone()).or_default().insert(uid.clone());
        }
        Some(Some(self.make(&mut users, uid, tgid, true)))
    }

    /// None: there is none.
    fn begin_leave(&self, uid: &Uid, tgid: &Tgid) -> Option<Made> {
        let mut users = shard(&self.users, uid.as_str());
        users.get(uid)?.iter().find(|membership| &membership.tgid == tgid)?;
        self.remove_from_group(uid, tgid);
        Some(self.make(&mut users, uid, tgid, false))
    }

    fn make(&self, users: &mut Users, uid: &Uid, tgid: &Tgid, is_member: bool) -> Made {
        let change = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        let memberships = users.entry(uid.clone()).or_default();
        memberships.retain(|membership| &membership.tgid != tgid);
        memberships.push(Membership { tgid: tgid.clone(), is_member, change, is_kept: false });
        let key = Bytes::from(format!("{uid}\0{tgid}"));
        let value = is_member.then(|| Bytes::from_static(DURABLE));
        Made { change, kept: self.journal.submit(vec![Change { table: Table::Members, key, value }]) }
    }

    async fn finish(&self, uid: &Uid, tgid: &Tgid, made: Made, is_member: bool) -> Result<(), DirectoryError> {
        let Made { change, kept } = made;
        let kept = kept.await;
        let mut users = shard(&self.users, uid.as_str());
        let memberships = users.get_mut(uid);
        let own = memberships.and_then(|all| all.iter_mut().find(|own| &own.tgid == tgid && own.change == change));
        let Some(own) = own else { return Ok(kept?) };
        // What it is now: as wanted, or, as that could not be kept, as it was.
        own.is_member = is_member == kept.is_ok();
        own.is_kept = true;
        match own.is_member {
            true => {
                shard(&self.groups, tgid.as_str()).entry(tgid.clone()).or_default().insert(uid.clone());
            }
            false => {
                self.remove_from_group(uid, tgid);
                remove(&mut users, uid, tgid);
            }
        }
        Ok(kept?)
    }

    fn remove_from_group(&self, uid: &Uid, tgid: &Tgid) {
        let mut groups = shard(&self.groups, tgid.as_str());
        let Some(members) = groups.get_mut(tgid) else { return };
        members.remove(uid);
        if members.is_empty() {
            groups.remove(tgid);
        }
    }
}

fn remove(users: &mut Users, uid: &Uid, tgid: &Tgid) {
    let Some(memberships) = users.get_mut(uid) else { return };
    memberships.retain(|membership| &membership.tgid != tgid);
    if memberships.is_empty() {
        users.remove(uid);
    }
}

impl From<JournalError> for DirectoryError {
    fn from(error: JournalError) -> Self {
        let kind = match error.kind {
            JournalErrorKind::Full | JournalErrorKind::Failed => DirectoryErrorKind::Unavailable,
        };
        Self { kind, source: Some(Box::new(error)) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::FutureExt;
    use tokio::sync::watch;

    use super::*;

    fn uid(name: &str) -> Uid {
        Uid::parse(name).unwrap()
    }

    fn tgid(name: &str) -> Tgid {
        Tgid::parse(name).unwrap()
    }

    /// Keeps rows in memory, once it is let, or refuses them.
    struct Rows {
        rows: Mutex<BTreeMap<Bytes, Bytes>>,
        open: watch::Sender<bool>,
        is_full: std::sync::atomic::AtomicBool,
    }

    impl Rows {
        fn new(open: bool) -> Arc<Self> {
            Arc::new(Self { rows: Mutex::default(), open: watch::Sender::new(open), is_full: false.into() })
        }

        fn kept(&self) -> Vec<(Bytes, Bytes)> {
            self.rows.lock().unwrap().clone().into_iter().collect()
        }
    }

    impl Journal for Rows {
        fn submit(&self, changes: Vec<Change>) -> Kept {
            let mut open = self.open.subscribe();
            let is_full = self.is_full.load(Ordering::Relaxed);
            if !is_full {
                for Change { table, key, value } in changes {
                    assert_eq!(table, Table::Members);
                    let mut rows = self.rows.lock().unwrap();
                    match value {
                        Some(value) => rows.insert(key, value),
                        None => rows.remove(&key),
                    };
                }
            }
            async move {
                open.wait_for(|open| *open).await.unwrap();
                if is_full { Err(JournalErrorKind::Full.into()) } else { Ok(()) }
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn a_member_is_there_after_a_restart_and_one_that_left_is_not() {
        let rows = Rows::new(true);
        let members = Members::new(Arc::clone(&rows) as Arc<_>);
        for (name, group) in [("1", "a"), ("1", "b"), ("2", "a")] {
            assert!(members.join(&uid(name), &tgid(group), 10).await.unwrap());
        }
        assert!(members.leave(&uid("1"), &tgid("a")).await.unwrap());
        let restored = Members::new(Arc::clone(&rows) as Arc<_>);
        for (key, value) in rows.kept() {
            restored.restore(&key, &value).unwrap();
        }
        assert_eq!(restored.of(&[tgid("a"), tgid("b")]), [uid("1"), uid("2")]);
        assert_eq!(restored.groups_of(&uid("1")), [tgid("b")]);
        assert!(!restored.is_member(&uid("1"), &[tgid("a")]));
        assert_eq!(restored.restore(b"1", b"durable"), None);
        assert_eq!(restored.restore(b"1\0a", b"other"), None);
    }

    #[tokio::test]
    async fn nobody_is_answered_before_it_is_kept() {
        let rows = Rows::new(false);
        let members = Members::new(Arc::clone(&rows) as Arc<_>);
        let (one, a) = (uid("1"), tgid("a"));
        let mut first = members.join(&one, &a, 10).boxed();
        assert!((&mut first).now_or_never().is_none());
        let mut again = members.join(&one, &a, 10).boxed();
        assert!((&mut again).now_or_never().is_none(), "it is a member, and not kept yet");
        rows.open.send_replace(true);
        assert!(first.await.unwrap() && again.await.unwrap());
        assert!(members.join(&one, &a, 1).now_or_never().unwrap().unwrap(), "nothing is left to be kept");
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_taken_back_unless_it_has_changed_since() {
        let rows = Rows::new(true);
        let members = Members::new(Arc::clone(&rows) as Arc<_>);
        let (one, a, b) = (uid("1"), tgid("a"), tgid("b"));
        assert!(members.join(&one, &a, 10).await.unwrap());
        rows.is_full.store(true, Ordering::Relaxed);
        assert_eq!(members.leave(&one, &a).await.unwrap_err().kind, DirectoryErrorKind::Unavailable);
        assert!(members.join(&one, &b, 10).await.is_err());
        assert_eq!(members.groups_of(&one), std::slice::from_ref(&a));
        assert_eq!(
            (members.of(std::slice::from_ref(&a)), members.of(std::slice::from_ref(&b))),
            (vec![one.clone()], vec![])
        );
        rows.open.send_replace(false);
        let mut refused = members.join(&one, &b, 10).boxed();
        assert!((&mut refused).now_or_never().is_none());
        rows.is_full.store(false, Ordering::Relaxed);
        let mut taken = members.join(&one, &b, 10).boxed();
        assert!((&mut taken).now_or_never().is_none());
        rows.open.send_replace(true);
        assert!(refused.await.is_err());
        assert!(taken.await.unwrap());
        assert_eq!(members.of(&[b]), [one]);
    }
}
