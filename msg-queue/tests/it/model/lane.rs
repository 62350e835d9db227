//! The worker's own view of the lane, a miniature of `gim_msg_queue::lane::Lane`: what it holds, what is on its way, which
//! targets have messages put aside, and what is to be settled.
//!
//! The real one is neither hashable nor small (payloads, metrics, timers), so its rules about order are repeated here: one
//! flight per target, what waits behind a message put aside goes with it, what is read later follows. What becomes of an
//! attempt is the real `settle::decide`.

use gim_msg_queue::backoff::Jitter;
use gim_msg_queue::settle::{Attempt, Decision, decide};
use gim_proxy_sdk::Outcome;

use super::protocol::{Protocol, Rule};
use super::state::{ENTRIES, Set};

const TARGETS: usize = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    legs: [Leg; ENTRIES],
    attempts: [u8; ENTRIES],
    /// To be settled, in the next script.
    pub(super) closing: [Option<How>; ENTRIES],
    parked: [Option<Parked>; TARGETS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Leg {
    #[default]
    Out,
    Waiting,
    Flying,
}

/// How an entry is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum How {
    Ack,
    Later { due: u8, attempts: u8 },
    Dead,
}

/// Messages of a target are put aside, this one the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Parked {
    due: u8,
    last: u8,
}

impl Lane {
    fn those(&self, leg: Leg) -> Set {
        (0..ENTRIES as u8).filter(|entry| self.legs[usize::from(*entry)] == leg).collect()
    }

    /// What was read and is not known to be settled.
    pub(super) fn held(&self) -> Set {
        Set::below(ENTRIES as u8).without(self.those(Leg::Out)).and(to_settle(&self.closing))
    }

    pub(super) fn waiting(&self) -> Set {
        self.those(Leg::Waiting)
    }

    /// Takes an entry that was read.
    pub(super) fn admit(&mut self, entry: u8, attempts: u8, protocol: &Protocol) {
        let at = usize::from(entry);
        if self.legs[at] != Leg::Out {
            return;
        }
        let parked = &mut self.parked[protocol.target(entry)];
        if parked.is_some_and(|parked| parked.last == entry) {
            *parked = None;
        }
        if let Some(parked) = parked.as_mut().filter(|parked| parked.last < entry && protocol.keeps(Rule::Follow)) {
            parked.last = entry;
            self.closing[at] = Some(How::Later { due: parked.due, attempts });
            return;
        }
        self.legs[at] = Leg::Waiting;
        self.attempts[at] = attempts;
        if !protocol.keeps(Rule::DeliverBeforeSettle) {
            self.closing[at] = Some(How::Ack);
        }
    }

    /// Sends all that may go: everything that waits, because nothing is on its way.
    pub(super) fn fly(&mut self) -> Set {
        let entries = self.waiting();
        entries.iter().for_each(|entry| self.legs[usize::from(entry)] = Leg::Flying);
        entries
    }

    /// Takes what a batch came to. Returns what is given up.
    pub(super) fn land(&mut self, batch: Set, reached: Set, clock: u8, protocol: &Protocol) -> Set {
        let mut failed = Set::EMPTY;
        for entry in batch.iter() {
            if !self.judge(entry, reached.has(entry), protocol) {
                failed.add(entry);
            }
        }
        for target in 0..TARGETS {
            let failed = failed.iter().filter(|entry| protocol.target(*entry) == target);
            self.put_aside(target, failed.collect(), clock, protocol);
        }
        batch.iter().filter(|entry| self.closing[usize::from(*entry)] == Some(How::Dead)).collect()
    }

    /// Tells whether the entry is done with.
    fn judge(&mut self, entry: u8, reached: bool, protocol: &Protocol) -> bool {
        let at = usize::from(entry);
        self.attempts[at] += 1;
        let attempt = if reached { Attempt::Reached(Outcome::Offered) } else { Attempt::Failed };
        let how = match decide(attempt, self.attempts[at].into(), &protocol.persistence(), &mut Jitter::seeded(1)) {
            Decision::Ack => How::Ack,
            Decision::DeadLetter { .. } => How::Dead,
            Decision::Retry { .. } => {
                self.legs[at] = Leg::Waiting;
                return false;
            }
        };
        self.legs[at] = Leg::Out;
        self.attempts[at] = 0;
        if protocol.keeps(Rule::DeliverBeforeSettle) {
            self.closing[at] = Some(how);
        }
        true
    }

    fn put_aside(&mut self, target: usize, failed: Set, clock: u8, protocol: &Protocol) {
        let waits_here = !protocol.case.long_waits || self.parked[target].is_some();
        if failed.is_empty() || waits_here {
            return;
        }
        let all: Set = self.waiting().iter().filter(|entry| protocol.target(*entry) == target).collect();
        let leaving = if protocol.keeps(Rule::TakeAlong) { all } else { failed };
        let due = clock + 1;
        self.parked[target] = leaving.last().map(|last| Parked { due, last });
        for entry in leaving.iter() {
            let at = usize::from(entry);
            self.legs[at] = Leg::Out;
            let attempts = std::mem::take(&mut self.attempts[at]);
            self.closing[at] = Some(How::Later { due, attempts });
        }
    }
}

/// The entries of a settlement.
pub(super) fn to_settle(how: &[Option<How>; ENTRIES]) -> Set {
    (0..ENTRIES as u8).filter(|entry| how[usize::from(*entry)].is_some()).collect()
}
