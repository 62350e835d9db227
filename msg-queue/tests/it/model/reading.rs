//! How an owner reads: what was put aside, then what is pending, then what is fresh or due. A request is on its way for as
//! long as it likes, and is executed whether or not its sender still lives.

use super::protocol::{Protocol, Rule};
use super::state::{Ask, Line, Phase, Set, State, Wire};

impl State {
    /// Takes back what was handed out to somebody who does not know of it any more. A worker that remembers nothing of
    /// the lane then reads all that was put aside.
    pub(super) fn recall(&mut self, at: usize, protocol: &Protocol) -> bool {
        if self.workers[at].phase != Phase::Recall {
            return false;
        }
        if !self.may_read(at, protocol) {
            return true;
        }
        self.redis.create_group(protocol);
        let passed_over = self.redis.take_back(self.workers[at].held());
        let worker = &mut self.workers[at];
        if protocol.keeps(Rule::NotePassedOver) {
            worker.again = worker.again.and(passed_over);
        }
        if !self.workers[at].anew || !protocol.keeps(Rule::RecallBeforeDrain) {
            self.begin_to_drain(at, protocol);
            return true;
        }
        if protocol.keeps(Rule::RecallByEntry) {
            self.redis.recall();
        }
        self.workers[at].phase = Phase::Aside;
        true
    }

    /// Reads what was put aside: all that was recalled, or what is due. The answer may be lost.
    pub(super) fn hand_out(&mut self, at: usize, lost: bool, protocol: &Protocol) -> bool {
        let to = match self.workers[at].phase {
            Phase::Aside if protocol.keeps(Rule::RecallByEntry) => 0,
            Phase::Aside => u8::MAX,
            Phase::Read => self.redis.clock,
            _ => return false,
        };
        let entries = self.redis.hand_out(protocol.case.page, |aside| aside.due <= to);
        if entries.is_empty() && (lost || self.workers[at].phase == Phase::Read) {
            return false;
        }
        if !self.redis.is_owner(self.workers[at].term) && protocol.keeps(Rule::ReadComparesTerm) {
            return false;
        }
        if lost {
            self.reconnect(at, protocol);
        } else if entries.is_empty() {
            self.begin_to_drain(at, protocol);
        } else {
            self.admit_aside(at, &entries, protocol);
        }
        true
    }

    fn begin_to_drain(&mut self, at: usize, protocol: &Protocol) {
        self.workers[at].anew = false;
        let drains = protocol.keeps(Rule::DrainBeforeFresh);
        self.ask(at, if drains { Ask::Pending { from: 0 } } else { Ask::Fresh });
    }

    fn admit_aside(&mut self, at: usize, entries: &[(u8, u8)], protocol: &Protocol) {
        let worker = &mut self.workers[at];
        let held = worker.held();
        for (entry, attempts) in entries {
            if held.has(*entry) && protocol.keeps(Rule::PassOverHeld) {
                worker.again.add(*entry);
            } else {
                worker.lane.admit(*entry, *attempts, protocol);
            }
        }
        worker.send_settlement();
    }

    /// Begins anew as if it had just taken the lane, with what it holds.
    pub(super) fn reconnect(&mut self, at: usize, protocol: &Protocol) {
        let worker = &mut self.workers[at];
        let own = worker.reader.take();
        worker.previous = own.filter(|_| protocol.keeps(Rule::KillOnReconnect));
        worker.phase = Phase::Kill;
    }

    /// Finds its reading connection broken. Returns whether it is, and whether the server knows.
    pub(super) fn break_reader(&mut self, at: usize, protocol: &Protocol) -> Option<bool> {
        let reader = self.workers[at].reader.filter(|_| self.workers[at].phase > Phase::Recall)?;
        let server_knows = self.redis.readers[usize::from(reader)].line == Line::Closed;
        self.reconnect(at, protocol);
        Some(server_knows)
    }

    fn ask(&mut self, at: usize, what: Ask) {
        let worker = &mut self.workers[at];
        let known = match what {
            Ask::Pending { .. } => worker.held(),
            Ask::Fresh => Set::EMPTY,
        };
        worker.phase = if what == Ask::Fresh { Phase::Read } else { Phase::Drain };
        let Some(reader) = worker.reader else { return };
        let reader = &mut self.redis.readers[usize::from(reader)];
        // On a closed connection nothing arrives.
        if reader.line == Line::Open {
            reader.wire = Wire::Asked { what, known };
        }
    }

    /// Takes the answer to a read.
    pub(super) fn arrive(&mut self, at: usize, protocol: &Protocol) -> bool {
        let Some(reader) = self.workers[at].reader else { return false };
        let reader = &mut self.redis.readers[usize::from(reader)];
        let Wire::Answered { what, known, got } = reader.wire else { return false };
        reader.wire = Wire::Quiet;
        let known = if protocol.keeps(Rule::SkipHeld) { known } else { Set::EMPTY };
        let entries: Vec<_> = got.without(known).iter().map(|entry| (entry, 0)).collect();
        self.admit(at, &entries, protocol);
        let next = match (what, got.last()) {
            (Ask::Pending { .. }, Some(last)) => Ask::Pending { from: last + 1 },
            _ => Ask::Fresh,
        };
        self.ask(at, next);
        true
    }

    pub(super) fn admit(&mut self, at: usize, entries: &[(u8, u8)], protocol: &Protocol) {
        let worker = &mut self.workers[at];
        entries.iter().for_each(|(entry, attempts)| worker.lane.admit(*entry, *attempts, protocol));
        worker.send_settlement();
    }
}
