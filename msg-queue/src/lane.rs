//! One lane: which message may go out now, in which order, and what becomes of each.
//!
//! Owns the window of messages read and not settled, the order of each target's messages, attempts, waits and bounds.
//! Pure: does no IO, has no clock (the time is passed in) and draws its jitter from a seed, so that the same calls
//! give the same answers.
//!
//! Words: a *leg* is what of a message goes to one user, or to one node that holds members of its groups; a *key* is
//! where messages keep their order: a uid, or a tgid (or `all`) at one node. A leg of several groups has several keys. A
//! key is in *flight* from the moment legs of it are taken until all of them are answered; until then no other leg of it
//! is taken, so that a failure can never let a later message pass an earlier one. Legs of one key that wait together
//! leave together, so that a busy key needs no more calls than a quiet one.
//!
//! A message to groups or to all has one leg at first, which stands for its look-up and keeps the order of look-ups.
//! Once it is known which nodes it goes to ([`Lane::fan_out`]), it has a leg for each of them: a node that does not answer
//! holds back what goes to that node, and nothing else. Where a message goes later than others of its group, because a
//! node has come up since, those others go first (`spread`).

mod admit;
mod candidates;
mod complete;
mod fan;
mod keys;
mod park;
mod pending;
mod ready;
mod spread;
mod tell;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use gim_proto::{EntryId, Incarnation, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::Message;
use smallvec::SmallVec;

use self::candidates::Candidates;
use self::keys::Keys;
use self::pending::Pending;
use self::spread::Spread;
pub use self::tell::{Mark, Told};
use crate::backoff::{Backoff, Jitter};
use crate::by_entry::ByEntry;
use crate::config::WorkerSection;
use crate::deliver::Failure;
use crate::observe::Event;
use crate::settle::Persistence;
use crate::source::{Room, Settlement};

/// A wait longer than this is spent in the source, not in the window.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Room that is made for settlements before there are any, at most.
const ROOM: usize = 1_024;

/// The bounds of a lane.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages read and not settled. At the bound the lane stops reading.
    pub unsettled_messages: usize,
    /// Bytes read and not settled. At the bound the lane stops reading.
    pub unsettled_bytes: usize,
    /// Messages of one target that wait for its retry. At the bound the lane stops reading.
    pub held_per_target: usize,
    /// Attempts and the waits between them.
    pub persistence: Persistence,
    /// A longer wait for a user's retry is spent in the source. A node's retry for a group is never longer.
    pub longest_wait: Duration,
}

impl From<&WorkerSection> for Limits {
    fn from(section: &WorkerSection) -> Self {
        let backoff = Backoff { first: section.backoff_first, max: section.backoff_max };
        Self {
            unsettled_messages: section.unsettled_messages,
            unsettled_bytes: usize::try_from(section.unsettled_bytes.0).unwrap_or(usize::MAX),
            held_per_target: section.held_per_target,
            persistence: Persistence { attempts: section.attempts, backoff },
            longest_wait: LONGEST_WAIT,
        }
    }
}

/// What time it is on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, Unix milliseconds: decides what is due and expired.
    pub unix_ms: u64,
    /// Milliseconds on a clock that never steps: decides when a retry is due.
    pub steady_ms: u64,
}

impl Now {
    /// Tells when a wait that begins now is over, on the steady clock.
    fn after(self, wait: Duration) -> u64 {
        self.steady_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Names a leg of a message in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LegId {
    /// The message's entry.
    pub entry_id: EntryId,
    /// Which of its legs.
    pub leg: u32,
}

/// A message to route now, for those of its targets whose turn it is.
#[derive(Clone, Debug)]
pub struct Job {
    /// The message's entry.
    pub entry_id: EntryId,
    /// What is delivered.
    pub message: Arc<Message>,
    /// To whom.
    pub aim: Aim,
    /// It did not get through to a node that was named for it: who was looked up then may have moved.
    pub tried: bool,
}

/// To whom a message is routed.
#[derive(Clone, Debug)]
pub enum Aim {
    /// Users, each one leg.
    Users {
        /// The legs and their users.
        legs: Legs,
        /// Only if a member of one of these groups. Empty: no such condition.
        of: Arc<[Tgid]>,
    },
    /// The members of groups, each once.
    Groups {
        /// The groups.
        tgids: Arc<[Tgid]>,
        /// It was not looked up before.
        is_first: bool,
        /// Runs of nodes that have it already, or for which it waits, or that are about to answer.
        but: Vec<Incarnation>,
    },
    /// Everybody.
    All {
        /// Runs of nodes that have it already, or for which it waits, or that are about to answer.
        but: Vec<Incarnation>,
    },
}

/// Users and which of a message's legs each is. Mostly one.
pub type Legs = SmallVec<[(u32, Uid); 1]>;

/// How an attempt for a leg ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target has its outcome.
    Done(Outcome),
    /// It did not work. Counts as an attempt.
    Failed(Failure),
    /// It was not tried, because the directory did not answer or the node may not act. Counts as nothing.
    Postponed {
        /// Before the next try.
        wait: Duration,
    },
}

/// What a node answered for a message to groups or to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was offered to this many sessions and dropped by that many.
    Count {
        /// Outboxes that took it.
        offered: u64,
        /// Sessions that were too slow.
        slow: u64,
    },
    /// It did not work. Counts as an attempt.
    Failed(Failure),
    /// It was not tried. Counts as nothing.
    Postponed {
        /// Before the next try.
        wait: Duration,
    },
}

/// The state of a lane.
#[derive(Clone, Debug)]
pub struct Lane {
    limits: Limits,
    jitter: Jitter,
    /// Boxed: what the tree moves about stays small.
    window: ByEntry<Box<Pending>>,
    bytes: usize,
    /// How many messages of the window have a priority other than normal.
    prioritised: usize,
    keys: Keys,
    candidates: Candidates,
    spread: Spread,
    round: u64,
    settlements: Vec<(EntryId, Settlement)>,
    told: Vec<Told>,
    marks: Vec<Mark>,
    events: Vec<Event>,
}

impl Lane {
    /// Makes a lane that holds nothing.
    #[must_use]
    pub fn new(limits: Limits, jitter: Jitter) -> Self {
        Self {
            keys: Keys::new(limits.held_per_target),
            limits,
            jitter,
            window: ByEntry::default(),
            bytes: 0,
            prioritised: 0,
            candidates: Candidates::default(),
            spread: Spread::default(),
            round: 0,
            settlements: Vec::new(),
            told: Vec::new(),
            marks: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Tells whether the lane may read on: none of its bounds is reached.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.window.len() < self.limits.unsettled_messages
            && self.bytes < self.limits.unsettled_bytes
            && !self.keys.is_crowded()
    }

    /// Tells how much may be read at once, at most `entries`. None: nothing.
    #[must_use]
    pub fn room(&self, entries: usize) -> Option<Room> {
        self.has_room().then(|| Room {
            entries: entries.min(self.limits.unsettled_messages - self.window.len()).max(1),
            bytes: self.limits.unsettled_bytes - self.bytes,
        })
    }

    /// Tells whether something may be taken now.
    #[must_use]
    pub fn has_ready(&self, now: Now) -> bool {
        !self.candidates.is_empty() || self.next_retry_ms().is_some_and(|at| at <= now.steady_ms)
    }

    /// Tells when the next retry is due, on the steady clock.
    #[must_use]
    pub fn next_retry_ms(&self) -> Option<u64> {
        self.keys.next_timer()
    }

    /// Counts messages read and not settled.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.window.len()
    }

    /// Counts bytes read and not settled.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Names the lowest entry that was tried or may be at any moment, and that has no outcome the source knows of, as far
    /// as the lane can tell: those of the window, those whose settlement was not taken yet, those put aside for a retry.
    #[must_use]
    pub fn low_water(&self) -> Option<EntryId> {
        let window = self.window.first();
        let to_settle = self.settlements.iter().map(|(entry_id, _)| *entry_id).min();
        [window, to_settle, self.keys.lowest_parked()].into_iter().flatten().min()
    }

    /// Hands over what was settled since the last call, in the order it was.
    pub fn take_settlements(&mut self) -> Vec<(EntryId, Settlement)> {
        if self.settlements.is_empty() {
            return Vec::new();
        }
        // The next ones are about as many.
        let room = self.settlements.len().min(ROOM);
        std::mem::replace(&mut self.settlements, Vec::with_capacity(room))
    }

    /// Goes through what happened since the last call.
    pub fn drain_events(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }
}
