//! A worker and its lease: taking it, ending the reader before, naming its own, noticing that it was lost.
//!
//! Between any two steps it may crash, be frozen (which is simply not being scheduled), or lose its lease. Every step answers
//! whether it could be taken; the state of one that could not is thrown away.

use super::lane::to_settle;
use super::protocol::{Protocol, Rule};
use super::settling::first_of;
use super::state::{Batch, Phase, Request, Set, State, Worker};

impl Worker {
    /// It runs and believes that it owns the lane.
    pub(super) fn owns(&self) -> bool {
        self.phase >= Phase::Kill
    }

    /// Forgets the lane. What it has sent is on its way all the same.
    pub(super) fn leave(&mut self, phase: Phase) {
        // Of a batch of entries the rest may still run.
        let settling = self.settling.map(|request| match request.answer {
            Some(_) => Request { awaited: false, ..request.after(&Request { how: first_of(request.how), ..request }) },
            None => Request { awaited: false, ..request },
        });
        let settling = settling.filter(|request| !request.is_empty());
        let batch = self.batch.map(|batch| Batch { awaited: false, ..batch });
        *self = Self { phase, settling, batch, ..Self::default() };
    }

    /// What it has read and does not know to be settled.
    pub(super) fn held(&self) -> Set {
        let settling = self.settling.filter(|request| request.awaited).map(|request| to_settle(&request.how));
        self.lane.held().and(settling.unwrap_or_default())
    }

    /// Sends what is to be settled, if nothing is on its way.
    pub(super) fn send_settlement(&mut self) {
        if self.settling.is_none() && !to_settle(&self.lane.closing).is_empty() {
            let how = std::mem::take(&mut self.lane.closing);
            self.settling = Some(Request { term: self.term, how, answer: None, awaited: true });
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
            worker.reader = self.redis.connect();
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
    pub(super) fn may_read(&mut self, at: usize, protocol: &Protocol) -> bool {
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
        let Some(reader) = self.redis.connect() else { return false };
        if self.may_read(at, protocol) {
            if protocol.keeps(Rule::Register) {
                self.redis.lease.reader = Some(reader);
            }
            self.workers[at].reader = Some(reader);
            self.workers[at].phase = Phase::Recall;
        }
        true
    }
}
