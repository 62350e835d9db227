//! Which session stands for a user on this node.
//!
//! Owns the table of active sessions, one per uid, and the table of sessions whose claim is under way. An active session
//! gives way only to one with a higher fence. The table holds handles alone: a uid is with its session, in memory that a
//! delivery needs anyway.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gim_proto::{SessionId, Uid};
use hashbrown::hash_table::{Entry, HashTable};
use smallvec::SmallVec;

use crate::session::Session;

const SHARDS: usize = 64;
/// Users looked up under one set of locks.
const AT_ONCE: usize = 64;

/// See the module.
pub(crate) struct Users {
    /// Keyed: clients may choose their uids, and none can choose such as meet in one place.
    hasher: RandomState,
    shards: [RwLock<HashTable<Session>>; SHARDS],
    claiming: Mutex<HashMap<SessionId, Session>>,
    count: AtomicUsize,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
            claiming: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Users {
    /// How many tables [`Users::shard`] knows.
    pub(crate) const SHARDS: usize = SHARDS;

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn active(&self, uid: &Uid) -> Option<Session> {
        let hash = self.hasher.hash_one(uid);
        read(self.shard_of(hash)).find(hash, |session| session.uid() == uid).cloned()
    }

    /// Looks at the active session of each of these users, in order. Sessions are rarely in the processor's cache, and it waits
    /// for several at a time where little is in between: so it locks first, then touches what will be looked at, of all of
    /// them, and looks then.
    pub(crate) fn each_active<T>(&self, uids: &[Uid], mut look: impl FnMut(&Session) -> Option<T>) -> Vec<Option<T>> {
        let mut found = Vec::with_capacity(uids.len());
        for some in uids.chunks(AT_ONCE) {
            let mut hashes = [0; AT_ONCE];
            let mut guards: [Option<RwLockReadGuard<'_, HashTable<Session>>>; SHARDS] = [const { None }; SHARDS];
            let mut wanted = 0_u64;
            for (hash, uid) in hashes.iter_mut().zip(some) {
                *hash = self.hasher.hash_one(uid);
                wanted |= 1 << place(*hash);
            }
            // Always in this order: who waits for one never holds a later one.
            for (at, (guard, shard)) in guards.iter_mut().zip(&self.shards).enumerate() {
                if wanted & (1 << at) != 0 {
                    *guard = Some(read(shard));
                }
            }
            let tables = hashes.iter().take(some.len()).map(|hash| (*hash, guards.get(place(*hash))));
            // The first of them is nearly always the one.
            let likely = tables.filter_map(|(hash, guard)| guard?.as_ref()?.iter_hash(hash).next());
            let likely: SmallVec<[&Session; AT_ONCE]> = likely.collect();
            likely.iter().for_each(|session| session.touch());
            found.extend(hashes.iter().zip(some).map(|(hash, uid)| {
                let shard = guards.get(place(*hash)).and_then(Option::as_ref)?;
                shard.find(*hash, |session| session.uid() == uid).and_then(&mut look)
            }));
        }
        found
    }

    pub(crate) fn claiming(&self, id: SessionId) -> Option<Session> {
        self.claims().get(&id).cloned()
    }

    /// Puts a session where deliveries find it while its claim is under way.
    pub(crate) fn begin_claim(&self, session: &Session) {
        self.claims().insert(session.id(), session.clone());
    }

    /// Ends a claim that was not granted.
    pub(crate) fn abandon_claim(&self, session: &Session) {
        self.claims().remove(&session.id());
    }

    /// Makes a session with a granted claim the one that stands for its user. Returns the one that did before, or the
    /// session itself when a later claim was faster.
    pub(crate) fn activate(&self, session: &Session) -> Option<Session> {
        let superseded = self.put(session);
        self.abandon_claim(session);
        superseded
    }

    fn put(&self, session: &Session) -> Option<Session> {
        let hash = self.hasher.hash_one(session.uid());
        let mut shard = write(self.shard_of(hash));
        let rehash = |held: &Session| self.hasher.hash_one(held.uid());
        match shard.entry(hash, |held| held.uid() == session.uid(), rehash) {
            Entry::Vacant(vacant) => {
                vacant.insert(session.clone());
                self.count.fetch_add(1, Ordering::Relaxed);
                None
            }
            Entry::Occupied(held) if held.get().fence() > session.fence() => Some(session.clone()),
            Entry::Occupied(mut held) => Some(std::mem::replace(held.get_mut(), session.clone())),
        }
    }

    /// Removes this session and no other of the same user. Its groups are left by its own task.
    pub(crate) fn remove(&self, session: &Session) {
        let hash = self.hasher.hash_one(session.uid());
        if let Ok(held) = write(self.shard_of(hash)).find_entry(hash, |held| held.same_as(session)) {
            held.remove();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Copies the handles of one of [`Users::SHARDS`] tables.
    pub(crate) fn shard(&self, index: usize) -> Vec<Session> {
        self.shards.get(index).map(|shard| read(shard).iter().cloned().collect()).unwrap_or_default()
    }

    fn shard_of(&self, hash: u64) -> &RwLock<HashTable<Session>> {
        &self.shards[place(hash)]
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        lock(&self.claiming)
    }
}

/// Names the shard of a hash. The table itself takes the lowest and the highest bits.
fn place(hash: u64) -> usize {
    usize::try_from((hash >> 32) % SHARDS as u64).unwrap_or(0)
}

fn read<T>(table: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(table: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
