//! How an owner delivers and settles, and what the node makes of a batch.

use super::lane::{How, to_settle};
use super::properties::Broken;
use super::protocol::{Protocol, Rule};
use super::state::{Answer, Batch, ENTRIES, Phase, Request, Set, State};

impl State {
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
        let failed: Set = batch.entries.iter().filter(|entry| Some(protocol.target(*entry)) == except).collect();
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
    ///
    /// Entry by entry: nothing depends on a batch being settled as a whole.
    pub(super) fn settle(&mut self, at: usize, lost: bool, protocol: &Protocol) -> bool {
        let Some(request) = self.workers[at].settling.filter(|request| request.answer.is_none()) else { return false };
        if lost && (!request.awaited || !self.redis.is_owner(request.term)) {
            return false;
        }
        let now = Request { how: first_of(request.how), ..request };
        let done = self.redis.settle(&now, &mut self.record, protocol);
        let worker = &mut self.workers[at];
        if request.awaited && !lost {
            let answer = Some(if done { Answer::Done } else { Answer::Refused });
            worker.settling = Some(Request { answer, ..request });
        } else if !request.awaited {
            worker.settling = Some(request.after(&now)).filter(|_| done).filter(|rest| !rest.is_empty());
            if worker.owns() {
                worker.send_settlement();
            }
        }
        true
    }

    /// Takes the answer to a settlement.
    pub(super) fn settle_arrives(&mut self, at: usize, protocol: &Protocol) -> bool {
        let worker = &mut self.workers[at];
        let Some(request) = worker.settling else { return false };
        let Some(answer) = request.answer else { return false };
        let now = Request { how: first_of(request.how), ..request };
        worker.settling = None;
        match answer {
            Answer::Refused if request.term == worker.term || !request.awaited => {
                if request.awaited {
                    worker.leave(Phase::Idle);
                }
            }
            // It has taken the lane again in the meantime.
            Answer::Refused => worker.settling = Some(Request { term: worker.term, answer: None, ..request }),
            Answer::Done => {
                worker.settling = Some(request.after(&now)).filter(|rest| !rest.is_empty());
                if request.awaited {
                    self.settled(at, to_settle(&now.how), protocol);
                }
            }
        }
        true
    }

    /// What came up meanwhile is handed out to nobody: it is taken back.
    fn settled(&mut self, at: usize, entries: Set, protocol: &Protocol) {
        let worker = &mut self.workers[at];
        let again = worker.again;
        worker.again = again.without(entries);
        // A script like the others: refused, once the lane is somebody else's.
        let may = self.redis.is_owner(worker.term) || !protocol.keeps(Rule::ReadComparesTerm);
        if worker.again != again && may && protocol.keeps(Rule::TakeBack) {
            self.redis.take_back(worker.held());
        }
        worker.send_settlement();
    }
}

impl Request {
    pub(super) fn is_empty(&self) -> bool {
        to_settle(&self.how).is_empty()
    }

    /// What is left of it.
    pub(super) fn after(self, done: &Self) -> Self {
        let how = std::array::from_fn(|at| self.how[at].filter(|_| done.how[at].is_none()));
        Self { how, answer: None, ..self }
    }
}

pub(super) fn first_of(how: [Option<How>; ENTRIES]) -> [Option<How>; ENTRIES] {
    let first = how.iter().position(Option::is_some);
    std::array::from_fn(|at| how[at].filter(|_| first == Some(at)))
}
