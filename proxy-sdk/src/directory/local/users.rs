//! Records of connected and of departed users.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use gim_proto::{Fence, SessionId, Tgid, Uid};
use tokio::time::Instant;

use super::super::{Claim, NodeRef, OnDuplicate, Owner};
use crate::few::Few;

/// One shard of the users.
#[derive(Default)]
pub(super) struct Users {
    connected: HashMap<Uid, Record>,
    departed: HashMap<Uid, Departed>,
    /// Departed users in the order they left. One that came back may be in it once more, with an older session.
    leaving: VecDeque<(Uid, SessionId)>,
}

struct Record {
    session: SessionId,
    fence: Fence,
    node: Arc<NodeRef>,
    groups: Few<Tgid>,
}

/// What is kept of a user that left, for a client that presents the session.
struct Departed {
    session: SessionId,
    until: Instant,
    groups: Few<Tgid>,
}

impl Record {
    fn owner(&self) -> Owner {
        Owner { node: NodeRef::clone(&self.node), session: self.session, fence: self.fence }
    }
}

/// Bytes of a connected user in the table, without what hashing spares for others.
#[cfg(test)]
pub(super) const RECORD: usize = size_of::<(Uid, Record)>();

impl Users {
    #[cfg(test)]
    pub(super) fn traces(&self) -> usize {
        self.leaving.len()
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        (self.connected.len() as u64, self.departed.len() as u64)
    }

    pub(super) fn owner(&self, uid: &Uid) -> Option<Owner> {
        self.connected.get(uid).map(Record::owner)
    }

    pub(super) fn groups_of(&self, uid: &Uid) -> Vec<Tgid> {
        self.connected.get(uid).map(|record| record.groups.as_slice().to_vec()).unwrap_or_default()
    }

    #[expect(clippy::too_many_arguments, reason = "the request, taken apart, and two things of the moment")]
    pub(super) fn claim(
        &mut self,
        uid: Uid,
        node: Arc<NodeRef>,
        session: SessionId,
        on_duplicate: OnDuplicate,
        resume: Option<SessionId>,
        now: Instant,
        fence: impl FnOnce() -> Fence,
    ) -> Claim {
        let another = self.connected.get(&uid).filter(|record| record.session != session);
        if let Some(record) = another
            && on_duplicate != OnDuplicate::Replace
        {
            return Claim::Taken { owner: record.owner() };
        }
        let previous = another.map(Record::owner);
        let fence = fence();
        let groups = self.groups_kept(&uid, session, resume, now);
        self.connected.insert(uid, Record { session, fence, node, groups: groups.clone() });
        Claim::Granted { fence, previous, groups: groups.into_iter().collect() }
    }

    // Whatever is not resumed ends here: one uid has one set of groups.
    fn groups_kept(&mut self, uid: &Uid, session: SessionId, resume: Option<SessionId>, now: Instant) -> Few<Tgid> {
        let departed = self.departed.remove(uid);
        if let Some(record) = self.connected.remove(uid) {
            let carried = record.session == session || Some(record.session) == resume;
            return if carried { record.groups } else { Few::default() };
        }
        let resumed = departed.filter(|departed| Some(departed.session) == resume && departed.until > now);
        resumed.map(|departed| departed.groups).unwrap_or_default()
    }

    pub(super) fn release(
        &mut self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        until: Instant,
        most_departed: usize,
    ) -> bool {
        if self.record(uid, session, fence).is_none() {
            return false;
        }
        let Some((uid, record)) = self.connected.remove_entry(uid) else { return false };
        if !record.groups.as_slice().is_empty() {
            self.leaving.push_back((uid.clone(), session));
            self.departed.insert(uid, Departed { session, until, groups: record.groups });
        }
        while self.departed.len() > most_departed {
            self.forget_oldest();
        }
        if self.leaving.len() > 2 * most_departed {
            self.forget_returned();
        }
        give_back(&mut self.connected);
        true
    }

    pub(super) fn join(&mut self, uid: &Uid, session: SessionId, fence: Fence, tgid: &Tgid) -> bool {
        let Some(record) = self.record(uid, session, fence) else { return false };
        if !record.groups.as_slice().contains(tgid) {
            record.groups.push(tgid.clone());
        }
        true
    }

    pub(super) fn leave(&mut self, uid: &Uid, session: SessionId, fence: Fence, tgid: &Tgid) -> bool {
        let Some(record) = self.record(uid, session, fence) else { return false };
        record.groups.retain(|other| other != tgid);
        true
    }

    /// Takes a user out of a group, connected or not.
    pub(super) fn forget_group(&mut self, uid: &Uid, tgid: &Tgid) {
        let connected = self.connected.get_mut(uid).map(|record| &mut record.groups);
        let departed = self.departed.get_mut(uid).map(|departed| &mut departed.groups);
        for groups in connected.into_iter().chain(departed) {
            groups.retain(|other| other != tgid);
        }
    }

    /// Forgets departed users whose time is over, looking at a bounded number.
    pub(super) fn sweep(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            let Some((uid, session)) = self.leaving.front() else { break };
            let kept =
                self.departed.get(uid).is_some_and(|departed| departed.session == *session && departed.until > now);
            if kept {
                break;
            }
            self.forget_oldest();
        }
        give_back(&mut self.departed);
    }

    pub(super) fn owns(&mut self, uid: &Uid, session: SessionId, fence: Fence) -> bool {
        self.record(uid, session, fence).is_some()
    }

    fn record(&mut self, uid: &Uid, session: SessionId, fence: Fence) -> Option<&mut Record> {
        self.connected.get_mut(uid).filter(|record| record.session == session && record.fence == fence)
    }

    fn forget_oldest(&mut self) {
        let Some((uid, session)) = self.leaving.pop_front() else { return };
        if self.departed.get(&uid).is_some_and(|departed| departed.session == session) {
            self.departed.remove(&uid);
        }
    }

    // Users who come and go faster than the grace leave a trace each time.
    fn forget_returned(&mut self) {
        let departed = &self.departed;
        self.leaving.retain(|(uid, session)| departed.get(uid).is_some_and(|departed| departed.session == *session));
    }
}

// What a crowd needed is given back once it is gone.
fn give_back<V>(map: &mut HashMap<Uid, V>) {
    if map.capacity() > 1_024 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}
