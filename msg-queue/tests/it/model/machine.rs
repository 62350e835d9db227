//! All steps there are, as stateright takes them.

use stateright::{Model, Property};

use super::properties::{events, promises};
use super::protocol::Protocol;
use super::state::{Faults, Phase, READERS, Redis, Set, State, Wire, Worker};

/// A step. Numbers name workers, `Serve`'s a reading connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Append,
    TimePasses,
    LeaseExpires,
    RedisLosesEverything,
    Restart,
    Serve(usize),
    Crash(usize),
    Acquire(usize),
    AcquireAgain(usize),
    Notice(usize),
    Kill(usize),
    Register(usize),
    Recall(usize),
    HandOut { worker: usize, answer_lost: bool },
    ReaderBreaks(usize),
    ReadArrives(usize),
    Deliver(usize),
    NodeTakes { worker: usize, except: Option<usize>, answer_lost: bool },
    Settle { worker: usize, answer_lost: bool },
    SettleArrives(usize),
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let idle = Worker { phase: Phase::Idle, ..Worker::default() };
        let appended = self.case.preloaded;
        let redis = Redis { appended, stream: Set::below(appended), ..Redis::default() };
        vec![State {
            redis,
            workers: [idle, idle, Worker::default()],
            node_term: 0,
            record: Default::default(),
            faults: self.case.faults,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        use Action::*;
        actions.extend([Append, TimePasses, LeaseExpires, RedisLosesEverything, Restart]);
        let asked = |reader: &usize| matches!(state.redis.readers[*reader].wire, Wire::Asked { .. });
        actions.extend((0..READERS).filter(asked).map(Serve));
        for (at, worker) in state.workers.iter().enumerate() {
            self.worker_actions(at, worker, &state.faults, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        if !next.step(action, self) {
            return None;
        }
        let workers = next.workers.iter();
        let listened: Vec<_> = workers.clone().map(|worker| worker.reader).collect();
        let named: Vec<_> = workers.map(|worker| worker.previous).collect();
        next.redis.forget_readers(&listened, &named);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises().into_iter().chain(events()).collect()
    }
}

impl Protocol {
    /// Those a worker may be ready for: a step that is not possible costs time only.
    fn worker_actions(&self, worker: usize, now: &Worker, faults: &Faults, actions: &mut Vec<Action>) {
        use Action::*;
        if now.phase == Phase::Idle {
            actions.push(Acquire(worker));
        }
        if now.owns() {
            actions.extend([AcquireAgain, Notice, Kill, Register, Recall, Crash, Deliver].map(|step| step(worker)));
            actions.extend([ReaderBreaks(worker), ReadArrives(worker)]);
            actions.extend(or_lost(faults.lost_hand_outs).map(|answer_lost| HandOut { worker, answer_lost }));
        }
        if now.settling.is_some() {
            actions.push(SettleArrives(worker));
            actions.extend(or_lost(faults.lost_settles).map(|answer_lost| Settle { worker, answer_lost }));
        }
        if now.batch.is_some() {
            let takes = |answer_lost| NodeTakes { worker, except: None, answer_lost };
            actions.extend(or_lost(faults.lost_answers).map(takes));
            actions.extend([0, 1].map(|target| NodeTakes { worker, except: Some(target), answer_lost: false }));
        }
    }
}

/// With the answer, and without it if that may happen.
fn or_lost(faults: u8) -> impl Iterator<Item = bool> {
    [false, true].into_iter().take(1 + usize::from(faults > 0))
}

impl State {
    fn step(&mut self, action: Action, protocol: &Protocol) -> bool {
        match action {
            Action::Append => self.append(protocol),
            Action::TimePasses => self.pass_time(),
            Action::LeaseExpires => self.expire(protocol),
            Action::RedisLosesEverything => self.wipe(),
            Action::Restart => self.restart(),
            Action::Serve(reader) => self.redis.serve(reader, protocol),
            Action::Crash(at) => self.crash(at),
            Action::Acquire(at) => self.acquire(at, protocol),
            Action::AcquireAgain(at) => self.acquire_again(at, protocol),
            Action::Notice(at) => self.notice(at),
            Action::Kill(at) => self.kill(at, protocol),
            Action::Register(at) => self.register(at, protocol),
            Action::Recall(at) => self.recall(at, protocol),
            Action::HandOut { worker, answer_lost } => {
                self.allow(answer_lost, |faults| &mut faults.lost_hand_outs)
                    && self.hand_out(worker, answer_lost, protocol)
            }
            Action::ReaderBreaks(at) => match self.break_reader(at, protocol) {
                Some(server_knows) => self.allow(!server_knows, |faults| &mut faults.breaks),
                None => false,
            },
            Action::SettleArrives(at) => self.settle_arrives(at, protocol),
            Action::ReadArrives(at) => self.arrive(at, protocol),
            Action::Deliver(at) => self.deliver(at),
            Action::NodeTakes { worker, except, answer_lost } => {
                self.allow(except.is_some(), |faults| &mut faults.failures)
                    && self.allow(answer_lost, |faults| &mut faults.lost_answers)
                    && self.take_batch(worker, except, answer_lost, protocol)
            }
            Action::Settle { worker, answer_lost } => {
                self.allow(answer_lost, |faults| &mut faults.lost_settles) && self.settle(worker, answer_lost, protocol)
            }
        }
    }

    /// Spends a fault, if it is one. False: none is left.
    fn allow(&mut self, is_fault: bool, kind: impl Fn(&mut Faults) -> &mut u8) -> bool {
        let left = kind(&mut self.faults);
        let may = !is_fault || *left > 0;
        *left -= u8::from(is_fault && may);
        may
    }

    fn append(&mut self, protocol: &Protocol) -> bool {
        let entry = self.redis.appended;
        if entry == protocol.entries() {
            return false;
        }
        self.redis.stream.add(entry);
        self.redis.appended += 1;
        true
    }

    fn pass_time(&mut self) -> bool {
        let clock = self.redis.clock;
        let waits = self.redis.later.iter().flatten().any(|aside| !aside.handed_out && aside.due > clock);
        self.redis.clock += u8::from(waits);
        waits
    }

    /// The lease of an owner that is gone expires at some time; that of a living one only as a fault.
    fn expire(&mut self, protocol: &Protocol) -> bool {
        let Some(owner) = self.redis.lease.owner else { return false };
        let owner = &self.workers[usize::from(owner)];
        let alive = owner.owns() && owner.term == self.redis.lease.term;
        self.redis.expire(protocol);
        self.allow(alive, |faults| &mut faults.expiries)
    }

    fn wipe(&mut self) -> bool {
        self.redis.lose_everything(&mut self.record);
        self.allow(true, |faults| &mut faults.wipes)
    }

    fn crash(&mut self, at: usize) -> bool {
        let runs = self.workers[at].owns();
        self.workers[at].leave(Phase::Crashed);
        runs && self.allow(true, |faults| &mut faults.crashes)
    }

    fn restart(&mut self) -> bool {
        let may =
            self.workers[2].phase == Phase::Unborn && self.workers.iter().any(|worker| worker.phase == Phase::Crashed);
        if may {
            self.workers[2].phase = Phase::Idle;
        }
        may
    }
}
