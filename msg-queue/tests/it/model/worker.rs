//! The steps of a worker and the steps of others that concern it. Between any two of them it may crash, be frozen (which
//! is simply not being scheduled), or lose its lease.
//!
//! Every step answers whether it could be taken; the state of one that could not is thrown away.

use super::lane::{How, to_settle};
use super::properties::Broken;
use super::protocol::{Protocol, Rule};
use super::state::{Aside, Ask, Batch, ENTRIES, Phase, Request, Set, State, Wire, Worker};

impl Worker {
    /// It runs and believes that it owns the lane.
    pub(super) fn owns(&self) -> bool {
        self.phase >= Phase::Kill
    }

    /// Forgets the lane. What it has sent is on its way all the same.
    pub(super) fn leave(&mut self, phase: Phase) {
        let settling = self.settling.map(|request| Request { awaited: false, ..request });
        let batch = self.batch.map(|batch| Batch { awaited: false, ..batch });
        *self = Self { phase, settling, batch, ..Self::default() };
    }

    /// What it has read and does not know to be settled.
    fn held(&self) -> Set {
        let settling = self.settling.filter(|request| request.awaited).map(|request| to_settle(&request.how));
        self.lane.held().and(settling.unwrap_or_default())
    }

    /// Sends what is to be settled, if nothing is on its way.
    fn send_settlement(&mut self) {
        if self.settling.is_none() && !to_settle(&self.lane.closing).is_empty() {
            let how = std::mem::take(&mut self.lane.closing);
            self.settling = Some(Request { term: self.term, how, awaited: true });
        }
    }
}

impl State {
    fn take_lease(&mut self, at: usize, protocol: &Protocol) {
        let (term, previous) = self.redis.acquire(at as u8, &mut self.record, protocol);
        let own = self.workers[at].reader.take();
        let worker = &mut self.workers[at];
        worker.term = term;
        worker.previous = previous.or(own);
        worker.phase = Phase::Kill;
        if !protocol.keeps(Rule::KillBeforeRegister) {
            worker.reader = self.redis.free_reader();
            self.redis.lease.reader = worker.reader;
        }
    }

    pub(super) fn acquire(&mut self, at: usize, protocol: &Protocol) -> bool {
        // The two that run from the start are alike: the first step is the first one's.
        let may = self.workers[at].phase == Phase::Idle && (self.record.highest_term > 0 || at == 0);
        if !may || self.redis.lease.owner.is_some() {
            return false;
        }
        self.workers[at].anew = true;
        self.take_lease(at, protocol);
        true
    }

    /// An owner whose lease expired takes it again, and keeps the lane, if nobody else had it in between.
    pub(super) fn acquire_again(&mut self, at: usize, protocol: &Protocol) -> bool {
        let nobody_since = self.workers[at].term == self.record.highest_term;
        if !self.workers[at].owns() || self.redis.lease.owner.is_some() || !nobody_since {
            return false;
        }
        self.take_lease(at, protocol);
        true
    }

    /// A renewal is refused.
    pub(super) fn notice(&mut self, at: usize) -> bool {
        let worker = &mut self.workers[at];
        let lost = worker.owns() && !self.redis.is_owner(worker.term);
        if lost {
            worker.leave(Phase::Idle);
        }
        lost
    }

    pub(super) fn kill(&mut self, at: usize, protocol: &Protocol) -> bool {
        let worker = &mut self.workers[at];
        if worker.phase != Phase::Kill {
            return false;
        }
        if let Some(previous) = worker.previous.take().filter(|_| protocol.keeps(Rule::KillPrevious)) {
            self.redis.kill(previous);
        }
        worker.phase = if worker.reader.is_some() { Phase::Recall } else { Phase::Register };
        true
    }

    /// The comparison before the scripts that prepare to read. Who is refused leaves the lane.
    fn may_read(&mut self, at: usize, protocol: &Protocol) -> bool {
        let worker = &mut self.workers[at];
        let may = self.redis.is_owner(worker.term) || !protocol.keeps(Rule::ReadComparesTerm);
        if !may {
            worker.leave(Phase::Idle);
        }
        may
    }

    pub(super) fn register(&mut self, at: usize, protocol: &Protocol) -> bool {
        if self.workers[at].phase != Phase::Register {
            return false;
        }
        let Some(reader) = self.redis.free_reader() else { return false };
        if self.may_read(at, protocol) {
            if protocol.keeps(Rule::Register) {
                self.redis.lease.reader = Some(reader);
            }
            self.workers[at].reader = Some(reader);
            self.workers[at].phase = Phase::Recall;
        }
        true
    }

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
        self.redis.take_back(self.workers[at].held());
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
    fn reconnect(&mut self, at: usize, protocol: &Protocol) {
        let worker = &mut self.workers[at];
        let own = worker.reader.take();
        worker.previous = own.filter(|_| protocol.keeps(Rule::KillOnReconnect));
        worker.phase = Phase::Kill;
    }

    /// Finds its reading connection broken. Returns whether it is, and whether the server knows.
    pub(super) fn break_reader(&mut self, at: usize, protocol: &Protocol) -> Option<bool> {
        let reader = self.workers[at].reader.filter(|_| self.workers[at].phase > Phase::Recall)?;
        let server_knows = self.redis.readers[usize::from(reader)].closed;
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
        if !reader.closed {
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

    fn admit(&mut self, at: usize, entries: &[(u8, u8)], protocol: &Protocol) {
        let worker = &mut self.workers[at];
        entries.iter().for_each(|(entry, attempts)| worker.lane.admit(*entry, *attempts, protocol));
        worker.send_settlement();
    }

    /// Sends a batch.
    pub(super) fn deliver(&mut self, at: usize) -> bool {
        let worker = &mut self.workers[at];
        if !worker.owns() || worker.batch.is_some() || worker.lane.waiting().is_empty() {
            return false;
        }
        worker.batch = Some(Batch { term: worker.term, entries: worker.lane.fly(), awaited: true });
        true
    }

    /// The node takes a batch, except for a target it cannot serve.
    pub(super) fn take_batch(&mut self, at: usize, except: Option<usize>, lost: bool, protocol: &Protocol) -> bool {
        let Some(batch) = self.workers[at].batch else { return false };
        let failed = batch.entries.iter().filter(|entry| Some(protocol.target(*entry)) == except);
        let failed = failed.fold(Set::EMPTY, |set, entry| Set(set.0 | 1 << entry));
        let faulty = except.is_some() || lost;
        let refused = batch.term < self.node_term && protocol.keeps(Rule::NodeComparesTerm);
        // Whoever does not wait for the answer does not mind a fault.
        if faulty && (!batch.awaited || refused || (except.is_some() && failed.is_empty())) {
            return false;
        }
        self.workers[at].batch = None;
        let reached = batch.entries.without(failed);
        if !refused && !reached.is_empty() {
            self.offer(batch.term, reached, protocol);
        }
        let worker = &mut self.workers[at];
        if batch.awaited && refused {
            worker.leave(Phase::Idle);
        } else if batch.awaited {
            let reached = if lost { Set::EMPTY } else { reached };
            let given_up = worker.lane.land(batch.entries, reached, self.redis.clock, protocol);
            self.record.given_up = self.record.given_up.and(given_up);
            worker.send_settlement();
        }
        true
    }

    fn offer(&mut self, term: u8, entries: Set, protocol: &Protocol) {
        if term < self.node_term {
            self.record.breaks(Broken::OldOwnerDeliversNothing);
        }
        self.node_term = self.node_term.max(term);
        for entry in entries.iter() {
            if self.record.acked.has(entry) {
                self.record.breaks(Broken::SettledIsNotDelivered);
            }
            let done =
                self.record.settled().and(self.record.delivered).and(self.record.given_up).and(self.record.wiped);
            let passed = Set::below(entry).without(done);
            let is_first = !self.record.delivered.has(entry);
            if is_first && passed.iter().any(|earlier| protocol.target(earlier) == protocol.target(entry)) {
                self.record.breaks(Broken::FirstDeliveriesInOrder);
            }
            self.record.delivered.add(entry);
        }
    }

    /// The settle script of a worker runs. Its answer may be lost: then it is sent again.
    pub(super) fn settle(&mut self, at: usize, lost: bool, protocol: &Protocol) -> bool {
        let Some(request) = self.workers[at].settling else { return false };
        if lost && (!request.awaited || !self.redis.is_owner(request.term)) {
            return false;
        }
        // Entry by entry: nothing depends on a batch being settled as a whole.
        let now = first_of(request.how);
        let done = self.redis.settle(&Request { how: now, ..request }, &mut self.record, protocol);
        let worker = &mut self.workers[at];
        if lost {
            return true;
        }
        if request.awaited && !done && request.term != worker.term {
            // It has taken the lane again in the meantime.
            worker.settling = Some(Request { term: worker.term, ..request });
            return true;
        }
        let rest = Request { how: without(request.how, now), ..request };
        worker.settling = Some(rest).filter(|rest| done && !to_settle(&rest.how).is_empty());
        if request.awaited && !done {
            worker.leave(Phase::Idle);
        } else if request.awaited {
            self.settled(at, to_settle(&now), protocol);
        } else if worker.owns() {
            worker.send_settlement();
        }
        true
    }

    /// What came up meanwhile is handed out to nobody: it is taken back.
    fn settled(&mut self, at: usize, entries: Set, protocol: &Protocol) {
        let worker = &mut self.workers[at];
        let again = worker.again;
        worker.again = again.without(entries);
        if worker.again != again && protocol.keeps(Rule::TakeBack) {
            self.redis.take_back(worker.held());
        }
        worker.send_settlement();
    }
}

type Hows = [Option<How>; ENTRIES];

fn first_of(how: Hows) -> Hows {
    let first = how.iter().position(Option::is_some);
    std::array::from_fn(|at| how[at].filter(|_| first == Some(at)))
}

fn without(how: Hows, done: Hows) -> Hows {
    std::array::from_fn(|at| how[at].filter(|_| done[at].is_none()))
}
