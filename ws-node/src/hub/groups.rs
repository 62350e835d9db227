//! The members of every group on this node.
//!
//! Owns membership by session (never by uid: a later session of the same user is no member) and the moment at which the
//! directory has to know that this node holds members. Fan-out reads a snapshot, so that joining a large group does not
//! wait for a message to it.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gim_proto::Tgid;
use gim_proxy_sdk::directory::{DirectoryError, DirectoryErrorKind};
use indexmap::IndexSet;

use crate::core::Core;
use crate::session::Session;

/// See the module.
#[derive(Default)]
pub(crate) struct Groups {
    table: Mutex<HashMap<Tgid, Arc<Group>>>,
    count: AtomicUsize,
    /// Groups whose last member left when the directory could not be told, each once, however often that was.
    unsettled: Mutex<HashMap<Tgid, Arc<Group>>>,
}

/// One group, as far as this node holds members of it.
pub(crate) struct Group {
    pub(crate) tgid: Tgid,
    members: Mutex<Members>,
    /// Whether the directory is known to name this node among the holders.
    announced: AtomicBool,
    /// Whether it may: a call without an answer may have taken effect, or not.
    named: AtomicBool,
    /// One change of that at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Members {
    set: IndexSet<Member>,
    /// The same, for fan-out; made again after the set has changed.
    snapshot: Option<Arc<[Member]>>,
}

/// A session among others, with the number by which fan-out knows it: to gather members nothing of their sessions is
/// looked at.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) session: Session,
    pub(super) slot: u32,
}

impl From<Session> for Member {
    fn from(session: Session) -> Self {
        Self { slot: session.0.slot, session }
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.session.same_as(&other.session)
    }
}

impl Eq for Member {}

impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slot.hash(state);
    }
}

impl Groups {
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Makes a session a member, and the group if there is none.
    pub(crate) fn insert(&self, tgid: &Tgid, session: &Session) -> Arc<Group> {
        let mut table = self.table();
        let group = table.entry(tgid.clone()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Arc::new(Group::new(tgid.clone()))
        });
        let stale = group.members().insert(session);
        let group = Arc::clone(group);
        // Thousands of handles, perhaps: not under the lock of the table.
        drop(table);
        drop(stale);
        group
    }

    pub(crate) fn remove(&self, group: &Group, session: &Session) {
        let stale = group.members().remove(session);
        drop(stale);
    }

    pub(crate) fn find(&self, tgid: &Tgid) -> Option<Arc<Group>> {
        self.table().get(tgid).cloned()
    }

    /// Copies the handles of all groups.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.table().values().cloned().collect()
    }

    /// Copies the names and sizes of all groups, for people to look at.
    pub(crate) fn list(&self) -> Vec<(Tgid, usize)> {
        self.all().iter().map(|group| (group.tgid.clone(), group.members().set.len())).collect()
    }

    /// Drops a group that nobody is in and the directory does not name this node for.
    fn drop_if_empty(&self, group: &Arc<Group>) {
        let mut table = self.table();
        let unused = group.members().set.is_empty() && !group.named.load(Ordering::SeqCst);
        if unused && table.get(&group.tgid).is_some_and(|held| Arc::ptr_eq(held, group)) {
            table.remove(&group.tgid);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Tells the directory when the last member is gone, and forgets the group.
    pub(crate) async fn settle(&self, group: &Arc<Group>, core: &Core) -> Result<(), DirectoryError> {
        if !group.members().set.is_empty() {
            return Ok(());
        }
        let changing = group.changing.lock().await;
        if group.named.load(Ordering::SeqCst) {
            let announced = group.announced.swap(false, Ordering::SeqCst);
            // Who joins from here on sees it not announced, and waits for `changing`.
            if !group.members().set.is_empty() {
                group.announced.store(announced, Ordering::SeqCst);
                return Ok(());
            }
            if let Err(error) = core.directory.remove_holder(&group.tgid, &core.node()).await {
                // Named too often does no harm; the next last leave tries again. If the name may be gone all the same,
                // whoever joins next announces it.
                let may_be_gone = error.kind != DirectoryErrorKind::Unavailable;
                group.announced.store(announced && !may_be_gone, Ordering::SeqCst);
                self.unsettled().insert(group.tgid.clone(), Arc::clone(group));
                return Err(error);
            }
            group.named.store(false, Ordering::SeqCst);
        }
        drop(changing);
        self.drop_if_empty(group);
        Ok(())
    }

    /// Takes out groups that the directory has to be told of, some at a time.
    pub(crate) fn take_unsettled(&self) -> Vec<Arc<Group>> {
        const SOME: usize = 1_000;
        let mut unsettled = self.unsettled();
        unsettled.extract_if(|_, _| true).take(SOME).map(|(_, group)| group).collect()
    }

    fn unsettled(&self) -> MutexGuard<'_, HashMap<Tgid, Arc<Group>>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Tgid, Arc<Group>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    fn new(tgid: Tgid) -> Self {
        Self {
            tgid,
            members: Mutex::default(),
            announced: AtomicBool::new(false),
            named: AtomicBool::new(false),
            changing: tokio::sync::Mutex::new(()),
        }
    }

    /// Has the directory name this node among the holders, if it does not yet.
    pub(crate) async fn announce(&self, core: &Core) -> Result<(), DirectoryError> {
        if self.announced.load(Ordering::SeqCst) {
            return Ok(());
        }
        let _changing = self.changing.lock().await;
        // A group without members may be one that was dropped from the table: nobody would ever take it back.
        if !self.announced.load(Ordering::SeqCst) && !self.members().set.is_empty() {
            self.add(core).await?;
        }
        Ok(())
    }

    /// Has the directory name this node again, which lives under another incarnation by now.
    pub(crate) async fn announce_again(&self, core: &Core) -> Result<(), DirectoryError> {
        // Whoever announces at this moment may have done so under the old one: this waits for it.
        let _changing = self.changing.lock().await;
        if self.members().set.is_empty() {
            // Nobody needs the new name, and the old one goes with its incarnation.
            self.announced.store(false, Ordering::SeqCst);
            self.named.store(false, Ordering::SeqCst);
            return Ok(());
        }
        self.add(core).await
    }

    async fn add(&self, core: &Core) -> Result<(), DirectoryError> {
        self.named.store(true, Ordering::SeqCst);
        core.directory.add_holder(&self.tgid, &core.node()).await?;
        self.announced.store(true, Ordering::SeqCst);
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> Arc<[Member]> {
        let mut members = self.members();
        let Members { set, snapshot } = &mut *members;
        Arc::clone(snapshot.get_or_insert_with(|| set.iter().cloned().collect()))
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Returns the snapshot that does not hold any more, to be dropped where nobody waits.
    fn insert(&mut self, session: &Session) -> Option<Arc<[Member]>> {
        self.set.insert(Member::from(session.clone()));
        self.snapshot.take()
    }

    fn remove(&mut self, session: &Session) -> Option<Arc<[Member]>> {
        self.set.swap_remove(&Member::from(session.clone()));
        self.snapshot.take()
    }
}
