//! The order of messages: a queue of legs per key, and what holds it back.
//!
//! Owns flights, retry timers and the count of keys that hold too much. Knows legs by their entry only.

use std::collections::{BTreeSet, VecDeque};

use gim_proto::{EntryId, Incarnation, Tgid, Uid};
use hashbrown::HashMap;

use crate::need::Need;

/// Where messages keep their order. Those of a group, and of all, keep it first in being looked up and then at each node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    User(Uid),
    Group(Tgid),
    GroupAt(Tgid, Incarnation),
    All,
    AllAt(Incarnation),
}

impl Key {
    pub(super) fn of_group(tgid: &Tgid, node: Option<Incarnation>) -> Self {
        match node {
            Some(node) => Self::GroupAt(tgid.clone(), node),
            None => Self::Group(tgid.clone()),
        }
    }

    pub(super) fn of_all(node: Option<Incarnation>) -> Self {
        node.map_or(Self::All, Self::AllAt)
    }
}

/// Messages of a key that wait in the source for its retry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) due_ms: u64,
    /// The first of them.
    pub(super) first: EntryId,
    /// The last of them: once it is back, so are all.
    pub(super) last: EntryId,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    /// Unfinished legs in order. Those in flight come first.
    legs: VecDeque<EntryId>,
    /// How many legs at the front belong to the flight.
    flying: usize,
    /// How many of the flight were not answered.
    unanswered: usize,
    /// The round that took the flight.
    round: u64,
    /// Asked for by the first leg of the flight that failed.
    retry_asked: Option<u64>,
    /// Nothing is taken before this time.
    retry_at: Option<u64>,
    parked: Option<Parked>,
    /// Counted in [`Keys::crowded`].
    crowded: bool,
}

/// All keys of which something is unfinished or parked.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Boxed: each comes and goes at another place of the table, but a box that was given back is in the processor's cache.
    queues: HashMap<Key, Box<Queue>>,
    timers: BTreeSet<(u64, Key)>,
    /// The first entry of each key that has some parked.
    parked: BTreeSet<(EntryId, Key)>,
    crowded: usize,
    held_per_key: usize,
    /// Queues of keys that are done, for the next ones: most keys come and go with one message.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Queue>>,
    /// How many queues there were of late.
    need: Need,
}

/// Queues kept for others, at most.
const SPARE: usize = 1_024;
/// Those that have room for more are not kept.
const SPARE_LEGS: usize = 8;

/// What a key does once all legs of its flight were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// Not all were.
    NotYet,
    /// The next may go.
    Free,
    /// Nothing goes before this time on the steady clock.
    Retry(u64),
}

impl Keys {
    pub(super) fn new(held_per_key: usize) -> Self {
        Self {
            queues: HashMap::new(),
            timers: BTreeSet::new(),
            parked: BTreeSet::new(),
            crowded: 0,
            held_per_key,
            spare: Vec::new(),
            need: Need::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.crowded > 0
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Puts a leg into its place: by entry, behind what is in flight. Tells whether it is the first that waits.
    pub(super) fn push(&mut self, key: Key, entry_id: EntryId) -> bool {
        let Self { queues, spare, .. } = self;
        let queue = queues.entry(key).or_insert_with(|| spare.pop().unwrap_or_default());
        if queue.legs.back().is_none_or(|last| *last < entry_id) {
            queue.legs.push_back(entry_id);
        } else {
            let place = queue.legs.partition_point(|other| *other < entry_id).max(queue.flying);
            queue.legs.insert(place, entry_id);
        }
        self.crowded = queue.count_crowd(self.held_per_key, self.crowded);
        let is_next = queue.next() == Some(entry_id);
        self.need.came(self.queues.len());
        is_next
    }

    /// Tells whether a leg is the next of its key and nothing holds it back.
    pub(super) fn may_fly(&self, key: &Key, entry_id: EntryId, round: u64) -> bool {
        self.queues.get(key).is_some_and(|queue| queue.lets(entry_id, round))
    }

    /// Takes a leg into the flight of a round, if it may fly. Returns the one behind it.
    pub(super) fn fly_if_it_may(&mut self, key: &Key, entry_id: EntryId, round: u64) -> Option<Option<EntryId>> {
        let queue = self.queues.get_mut(key).filter(|queue| queue.lets(entry_id, round))?;
        Some(queue.fly(round))
    }

    /// Takes the next leg into the flight of a round. Returns the one behind it.
    pub(super) fn fly(&mut self, key: &Key, round: u64) -> Option<EntryId> {
        self.queues.get_mut(key)?.fly(round)
    }

    /// Names the first leg that waits.
    pub(super) fn next(&self, key: &Key) -> Option<EntryId> {
        self.queues.get(key).and_then(|queue| queue.next())
    }

    /// Takes out a leg of the flight that is finished. Tells what comes of it, and the first leg that waits then.
    pub(super) fn finish(&mut self, key: &Key, entry_id: EntryId) -> (Landed, Option<EntryId>) {
        self.answer(key, |queue| {
            if let Some(place) = queue.legs.iter().take(queue.flying).position(|other| *other == entry_id) {
                queue.legs.remove(place);
                queue.flying -= 1;
            }
        })
    }

    /// Leaves a leg of the flight in its place, for another attempt. Tells what comes of it, and the first leg that waits then.
    pub(super) fn fail(&mut self, key: &Key, retry_at: Option<u64>) -> (Landed, Option<EntryId>) {
        self.answer(key, |queue| queue.retry_asked = queue.retry_asked.or(retry_at))
    }

    fn answer(&mut self, key: &Key, answered: impl FnOnce(&mut Queue)) -> (Landed, Option<EntryId>) {
        let Some(queue) = self.queues.get_mut(key) else { return (Landed::NotYet, None) };
        answered(queue);
        queue.unanswered = queue.unanswered.saturating_sub(1);
        if queue.unanswered > 0 {
            return (Landed::NotYet, None);
        }
        queue.flying = 0;
        let landed = queue.retry_asked.take().map_or(Landed::Free, Landed::Retry);
        let next = queue.next();
        self.crowded = queue.count_crowd(self.held_per_key, self.crowded);
        if queue.is_idle() {
            self.forget(key);
        }
        (landed, next)
    }

    /// Holds a key back until a time on the steady clock.
    pub(super) fn hold(&mut self, key: &Key, until: u64) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.retry_at = Some(until);
            self.timers.insert((until, key.clone()));
            self.tidy(key);
        }
    }

    /// Frees the keys whose time has come and calls with the first leg of each.
    pub(super) fn release_due(&mut self, steady_ms: u64, mut free: impl FnMut(EntryId)) {
        while self.timers.first().is_some_and(|(at, _)| *at <= steady_ms) {
            let Some((_, key)) = self.timers.pop_first() else { return };
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.retry_at = None;
                queue.legs.front().copied().into_iter().for_each(&mut free);
                self.tidy(&key);
            }
        }
    }

    /// Takes out a leg that waits. Returns the first that waits now.
    pub(super) fn withdraw(&mut self, key: &Key, entry_id: EntryId) -> Option<EntryId> {
        let queue = self.queues.get_mut(key)?;
        // Nearly always it is the first that waits: no need to search a long queue.
        let place = match queue.legs.get(queue.flying) == Some(&entry_id) {
            true => Some(queue.flying),
            false => queue.legs.iter().position(|other| *other == entry_id),
        };
        if let Some(place) = place {
            queue.legs.remove(place);
            // It may have been answered in a flight that is not over.
            queue.flying -= usize::from(place < queue.flying);
        }
        let next = queue.legs.get(queue.flying).copied();
        self.tidy(key);
        next
    }

    /// Goes through all legs, those in flight first.
    pub(super) fn legs(&self, key: &Key) -> impl Iterator<Item = EntryId> {
        self.queues.get(key).into_iter().flat_map(|queue| queue.legs.iter().copied())
    }

    pub(super) fn parked(&self, key: &Key) -> Option<Parked> {
        self.queues.get(key).and_then(|queue| queue.parked)
    }

    /// Names the lowest entry that may be parked.
    pub(super) fn lowest_parked(&self) -> Option<EntryId> {
        self.parked.first().map(|(entry_id, _)| *entry_id)
    }

    pub(super) fn park(&mut self, key: &Key, parked: Parked) {
        let queue = self.queues.entry(key.clone()).or_default();
        let earlier = queue.parked.unwrap_or(parked);
        let first = earlier.first.min(parked.first);
        queue.parked = Some(Parked { first, last: earlier.last.max(parked.last), ..parked });
        self.parked.remove(&(earlier.first, key.clone()));
        self.parked.insert((first, key.clone()));
    }

    pub(super) fn unpark(&mut self, key: &Key) {
        if let Some(parked) = self.queues.get_mut(key).and_then(|queue| queue.parked.take()) {
            self.parked.remove(&(parked.first, key.clone()));
            self.tidy(key);
        }
    }

    fn tidy(&mut self, key: &Key) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        self.crowded = queue.count_crowd(self.held_per_key, self.crowded);
        if queue.is_idle() {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(mut queue) = self.queues.remove(key) else { return };
        if let Some(at) = queue.retry_at {
            self.timers.remove(&(at, key.clone()));
        }
        if self.spare.len() < SPARE && queue.legs.capacity() <= SPARE_LEGS {
            queue.make_new();
            self.spare.push(queue);
        }
        if let Some(room) = self.need.went(self.queues.len(), self.queues.capacity()) {
            self.queues.shrink_to(room);
        }
    }
}

impl Queue {
    /// Forgets everything, but for the memory of its legs.
    fn make_new(&mut self) {
        let mut legs = std::mem::take(&mut self.legs);
        legs.clear();
        *self = Self { legs, ..Self::default() };
    }

    /// Tells whether a leg is the next and nothing holds it back.
    fn lets(&self, entry_id: EntryId, round: u64) -> bool {
        (self.unanswered == 0 || self.round == round) && self.retry_at.is_none() && self.next() == Some(entry_id)
    }

    fn fly(&mut self, round: u64) -> Option<EntryId> {
        self.flying += 1;
        self.unanswered += 1;
        self.round = round;
        self.next()
    }

    /// Names the first leg that waits.
    fn next(&self) -> Option<EntryId> {
        self.legs.get(self.flying).copied()
    }

    fn is_idle(&self) -> bool {
        self.legs.is_empty() && self.parked.is_none()
    }

    /// Looks whether it holds back too much, and counts itself among those that do.
    fn count_crowd(&mut self, held_per_key: usize, others: usize) -> usize {
        let crowded = self.retry_at.is_some() && self.legs.len() >= held_per_key;
        let before = std::mem::replace(&mut self.crowded, crowded);
        others + usize::from(crowded) - usize::from(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_leaves_no_large_table_and_no_mark_on_the_keys_that_follow() {
        let mut keys = Keys::new(1);
        let user = |number: usize| Key::User(Uid::parse(&format!("u{number}")).unwrap());
        let entry_id = EntryId { ms: 1, seq: 0 };
        for number in 0..8 * SPARE {
            assert!(keys.push(user(number), entry_id));
            assert_eq!(keys.fly_if_it_may(&user(number), entry_id, 1), Some(None));
            keys.fail(&user(number), None);
            keys.hold(&user(number), 5);
        }
        assert!(keys.is_crowded());
        for number in 0..8 * SPARE {
            keys.withdraw(&user(number), entry_id);
        }
        assert!(keys.is_empty() && !keys.is_crowded() && keys.next_timer().is_none());
        assert!(keys.queues.capacity() <= 2_048 && keys.spare.len() == SPARE);
        assert!(keys.push(user(0), entry_id));
        assert_eq!(keys.fly_if_it_may(&user(0), entry_id, 2), Some(None), "a queue that was used begins anew");
    }

    #[test]
    fn the_table_has_room_for_as_many_keys_as_there_were_of_late() {
        let mut keys = Keys::new(1);
        let entry_id = EntryId { ms: 1, seq: 0 };
        let mut pass = |crowd: usize, times: usize| {
            let users: Vec<Key> = (0..crowd).map(|n| Key::User(Uid::parse(&format!("u{n}")).unwrap())).collect();
            for _ in 0..times {
                users.iter().for_each(|user| assert!(keys.push(user.clone(), entry_id)));
                users.iter().for_each(|user| assert_eq!(keys.withdraw(user, entry_id), None));
            }
            assert!(keys.is_empty());
            keys.queues.capacity()
        };
        assert!(pass(300, 20) >= 300);
        assert!(pass(1, 2_000) < 100);
        assert!(pass(300, 20) >= 300);
    }
}
