//! All steps there are, as stateright takes them.

use stateright::{Model, Property};

use super::properties::promises;
use super::protocol::Protocol;
use super::state::{Faults, SESSIONS, State, Worker};

/// A step. Numbers name workers and sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Accept,
    /// What the store has now is what it has again after it loses its tail.
    StoreSyncs,
    StoreLosesItsTail,
    TakeLane(usize),
    NoticeLoss(usize),
    ReadRound(usize),
    BeginRoundAnew(usize),
    Append(usize),
    LookUp(usize),
    Tell {
        worker: usize,
        late: bool,
    },
    Settle(usize),
    StrayArrives,
    Connect,
    Claim(usize),
    Open(usize),
    Pump(usize),
    Ask(usize),
    Stop(usize),
    NodeDies,
    RecordExpires,
    TakeAck(usize),
    AckArrives(usize),
    Receive,
    Ack,
    AckWildly,
    Drop,
    NoticeEnd,
    Forget,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State { faults: self.case.faults, ..State::default() };
        state.store.term = 1;
        state.workers[0] = Worker { term: 1, ..Worker::default() };
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        use Action::*;
        actions.extend([Accept, StoreSyncs, StoreLosesItsTail, StrayArrives, NodeDies, RecordExpires]);
        actions.extend([Connect, Receive, Ack, AckWildly, Drop, NoticeEnd, Forget]);
        for (at, worker) in state.workers.iter().enumerate() {
            actions.push(TakeLane(at));
            if worker.term > 0 {
                actions.extend([NoticeLoss, ReadRound, BeginRoundAnew, Append, LookUp, Settle].map(|step| step(at)));
                actions.extend([false, true].map(|late| Tell { worker: at, late }));
            }
        }
        for at in 0..SESSIONS {
            actions.extend([Claim, Open, Pump, Ask, Stop, TakeAck, AckArrives].map(|step| step(at)));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.step(action, self).filter(|()| next != *state).map(|()| next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises()
    }
}

impl State {
    /// `None`: the step cannot be taken, and what it did is thrown away.
    fn step(&mut self, action: Action, protocol: &Protocol) -> Option<()> {
        match action {
            Action::Accept => self.accept(protocol),
            Action::StoreSyncs => self.sync(),
            Action::StoreLosesItsTail => self.lose_tail(),
            Action::TakeLane(at) => self.take_lane(at),
            Action::NoticeLoss(at) => self.notice_loss(at),
            Action::ReadRound(at) => self.read_round(at),
            Action::BeginRoundAnew(at) => self.begin_round_anew(at),
            Action::Append(at) => self.append(at, protocol),
            Action::LookUp(at) => self.look_up(at, protocol),
            Action::Tell { worker, late } => self.tell(worker, late, protocol),
            Action::Settle(at) => self.settle(at, protocol),
            Action::StrayArrives => self.stray_arrives(protocol),
            Action::Connect => self.connect(),
            Action::Claim(at) => self.claim(at, protocol),
            Action::Open(at) => self.open(at, protocol),
            Action::Pump(at) => self.pump(at, protocol),
            Action::Ask(at) => self.ask(at, protocol),
            Action::Stop(at) => self.stop(at),
            Action::NodeDies => self.node_dies(),
            Action::RecordExpires => self.record_expires(),
            Action::TakeAck(at) => self.take_ack(at, protocol),
            Action::AckArrives(at) => self.ack_arrives(at, protocol),
            Action::Receive => self.receive(protocol),
            Action::Ack => self.ack(),
            Action::AckWildly => self.ack_wildly(),
            Action::Drop => self.drop_connection(),
            Action::NoticeEnd => self.notice_end(),
            Action::Forget => self.forget(),
        }
    }

    /// Spends a fault. `None`: none is left.
    pub(super) fn spend(&mut self, kind: impl Fn(&mut Faults) -> &mut u8) -> Option<()> {
        let left = kind(&mut self.faults);
        *left = left.checked_sub(1)?;
        Some(())
    }

    fn accept(&mut self, protocol: &Protocol) -> Option<()> {
        (self.store.accepted < protocol.case.entries).then_some(())?;
        self.store.accepted += 1;
        Some(())
    }

    fn sync(&mut self) -> Option<()> {
        (self.synced.is_none() && self.faults.tails > 0).then_some(())?;
        self.synced = Some(self.store.clone().into());
        Some(())
    }

    fn lose_tail(&mut self) -> Option<()> {
        self.spend(|faults| &mut faults.tails)?;
        let to = self.synced.take()?;
        self.store.fall_back(&to);
        Some(())
    }
}
