//! A worker: it reads a round of entries, appends them, looks up who is there, tells that session, and settles.
//!
//! Between any two steps another may take the lane. The one before is frozen, which is simply not being scheduled: each of
//! its requests may arrive at any later time.

use super::properties::{Broken, Event};
use super::protocol::{Protocol, Rule};
use super::state::{Hint, Looked, State, Worker};

impl State {
    pub(super) fn take_lane(&mut self, at: usize) -> Option<()> {
        (self.workers[at].term < self.store.term).then_some(())?;
        self.spend(|faults| &mut faults.takeovers)?;
        self.store.term += 1;
        self.workers[at] = Worker { term: self.store.term, ..Worker::default() };
        Some(())
    }

    /// A renewal is refused, or it has died.
    pub(super) fn notice_loss(&mut self, at: usize) -> Option<()> {
        (self.workers[at].term < self.store.term).then_some(())?;
        self.workers[at] = Worker::default();
        Some(())
    }

    /// Everything that is not settled: what is pending, then what is fresh.
    pub(super) fn read_round(&mut self, at: usize) -> Option<()> {
        let is_owner = self.workers[at].term == self.store.term;
        (is_owner && self.workers[at].round.is_empty()).then_some(())?;
        self.workers[at].round = self.store.unsettled();
        self.workers[at].run = self.store.run;
        Some(())
    }

    /// The store may have lost what was appended.
    pub(super) fn begin_round_anew(&mut self, at: usize) -> Option<()> {
        let Worker { term, run, .. } = self.workers[at];
        (run != self.store.run).then_some(())?;
        self.workers[at] = Worker { term, run: self.store.run, ..Worker::default() };
        Some(())
    }

    fn may_go_on(&self, at: usize, protocol: &Protocol) -> bool {
        self.workers[at].run == self.store.run || !protocol.keeps(Rule::BeginAnewAfterRun)
    }

    pub(super) fn append(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let worker = self.workers[at];
        let comes_first = protocol.keeps(Rule::AppendBeforeLookUp) || worker.looked != Looked::No;
        let may = !worker.round.is_empty() && worker.at.is_none() && comes_first && self.may_go_on(at, protocol);
        (may && (self.all_have_asked() || !protocol.keeps(Rule::AskBeforeAppend))).then_some(())?;
        let is_late = worker.term < self.store.term;
        if is_late {
            protocol.note(Event::LateAppend);
        }
        let before = self.store.shelf.entries();
        let Some(places) = self.store.append(worker.term, worker.round, protocol) else {
            self.workers[at] = Worker::default();
            return Some(());
        };
        if worker.round.iter().any(|entry| before.has(entry)) {
            protocol.note(Event::Redelivered);
        }
        let epoch = worker.round.first().map_or(0, |entry| places[usize::from(entry)].epoch);
        self.workers[at].at = Some((epoch, places.map(|place| place.offset)));
        Some(())
    }

    pub(super) fn look_up(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let worker = &mut self.workers[at];
        let may = worker.at.is_some() || !protocol.keeps(Rule::AppendBeforeLookUp);
        (may && worker.looked == Looked::No && !worker.round.is_empty()).then_some(())?;
        worker.looked = self.store.owner.map_or(Looked::Done, Looked::Owner);
        Some(())
    }

    /// Delivers the round. One that is late is not answered: it is tried again, and arrives at some time.
    pub(super) fn tell(&mut self, at: usize, late: bool, protocol: &Protocol) -> Option<()> {
        self.may_go_on(at, protocol).then_some(())?;
        let Worker { round, at: Some((epoch, places)), looked: Looked::Owner(fence), .. } = self.workers[at] else {
            return None;
        };
        let mut hints = round.iter().map(|entry| Hint { fence, entry, epoch, offset: places[usize::from(entry)] });
        if late {
            self.spend(|faults| &mut faults.strays)?;
            self.stray = hints.next();
            return Some(());
        }
        let is_owner = hints.all(|hint| self.hint(hint, protocol));
        self.workers[at].looked = if is_owner { Looked::Done } else { Looked::No };
        Some(())
    }

    pub(super) fn stray_arrives(&mut self, protocol: &Protocol) -> Option<()> {
        let hint = self.stray.take()?;
        self.hint(hint, protocol);
        Some(())
    }

    /// The script compares the term first.
    pub(super) fn settle(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let worker = self.workers[at];
        let is_done = worker.at.is_some() && worker.looked == Looked::Done;
        (!worker.round.is_empty() && self.may_go_on(at, protocol)).then_some(())?;
        (is_done || !protocol.keeps(Rule::AppendBeforeSettle)).then_some(())?;
        let run = self.store.run;
        self.workers[at] = Worker { run, ..Worker::default() };
        if worker.term == self.store.term {
            self.workers[at].term = worker.term;
            self.store.settled = self.store.settled.and(worker.round);
            if worker.at.is_none() {
                self.record.breaks(Broken::AppendFirst);
            }
        }
        Some(())
    }
}
