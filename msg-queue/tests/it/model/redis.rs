//! What runs inside Redis: scripts and commands, each one step that nothing can interrupt.

use super::lane::How;
use super::properties::Broken;
use super::protocol::{Protocol, Rule};
use super::state::{Aside, Ask, ENTRIES, Lease, Line, Reader, Record, Redis, Request, Set, Wire};

impl Redis {
    /// The comparison before every script: the lease is there and of this term.
    pub(super) fn is_owner(&self, term: u8) -> bool {
        self.lease.owner.is_some() && self.lease.term == term
    }

    /// Gives the lease to a worker. Returns its term and the reader before it.
    pub(super) fn acquire(&mut self, worker: u8, record: &mut Record, protocol: &Protocol) -> (u8, Option<u8>) {
        let from_time = protocol.keeps(Rule::TermOutlivesLease);
        let term = 1 + if from_time { record.highest_term } else { self.lease.term };
        if term <= record.highest_term {
            record.breaks(Broken::TermsRise);
        }
        record.highest_term = record.highest_term.max(term);
        self.lease = Lease { owner: Some(worker), term, ..self.lease };
        (term, self.lease.reader)
    }

    /// Lets the lease expire.
    pub(super) fn expire(&mut self, protocol: &Protocol) {
        let reader = self.lease.reader.filter(|_| protocol.keeps(Rule::ReaderOutlivesLease));
        self.lease = Lease { owner: None, term: 0, reader };
    }

    /// CLIENT KILL. What had not reached the server never will; an answer may still arrive.
    pub(super) fn kill(&mut self, reader: u8) {
        let reader = &mut self.readers[usize::from(reader)];
        reader.line = Line::Closed;
        if matches!(reader.wire, Wire::Asked { .. }) {
            reader.wire = Wire::Quiet;
        }
    }

    /// XREADGROUP. False: it blocks.
    pub(super) fn serve(&mut self, reader: usize, protocol: &Protocol) -> bool {
        let Wire::Asked { what, known } = self.readers[reader].wire else { return false };
        let Some(next) = self.group else { return false };
        let got = match what {
            // Of what was trimmed away nothing is left to be read.
            Ask::Pending { from } => Set(self.pending.0 & self.stream.0).page(from, protocol.case.page),
            Ask::Fresh => self.stream.page(next, protocol.case.page),
        };
        if what == Ask::Fresh {
            let Some(last) = got.last() else { return false };
            self.pending = self.pending.and(got);
            self.group = Some(last + 1);
        }
        self.readers[reader].wire = Wire::Answered { what, known, got };
        true
    }

    /// Makes a connection to read on.
    pub(super) fn connect(&mut self) -> Option<u8> {
        let (at, reader) = (0..).zip(&mut self.readers).find(|(_, reader)| reader.line == Line::Free)?;
        reader.line = Line::Open;
        Some(at)
    }

    /// Puts back what was handed out and is not held. Returns what it passed over.
    pub(super) fn take_back(&mut self, held: Set) -> Set {
        let mut passed_over = Set::EMPTY;
        for (entry, aside) in (0..).zip(&mut self.later) {
            match aside.as_mut().filter(|aside| aside.handed_out) {
                Some(_) if held.has(entry) => passed_over.add(entry),
                Some(aside) => aside.handed_out = false,
                None => {}
            }
        }
        passed_over
    }

    /// Makes all that was put aside due at once.
    pub(super) fn recall(&mut self) {
        self.later.iter_mut().flatten().for_each(|aside| aside.due = 0);
    }

    /// Hands out what was put aside, in the order of due times and entries. Entries and attempts.
    pub(super) fn hand_out(&mut self, count: usize, which: impl Fn(&Aside) -> bool) -> Vec<(u8, u8)> {
        let waiting = (0_u8..).zip(self.later).filter_map(|(entry, aside)| Some((entry, aside?)));
        let waiting = waiting.filter(|(_, aside)| !aside.handed_out && which(aside));
        let mut out: Vec<_> = waiting.map(|(entry, aside)| (aside.due, entry, aside.attempts)).collect();
        out.sort_unstable();
        out.truncate(count);
        for (_, entry, _) in &out {
            self.later[usize::from(*entry)].iter_mut().for_each(|aside| aside.handed_out = true);
        }
        out.into_iter().map(|(_, entry, attempts)| (entry, attempts)).collect()
    }

    /// XGROUP CREATE, without effect if the group is there.
    pub(super) fn create_group(&mut self, protocol: &Protocol) {
        let from = if protocol.keeps(Rule::GroupFromStart) { 0 } else { self.appended };
        self.group.get_or_insert(from);
    }

    /// The settle script. False: refused, because the term is not the owner's.
    pub(super) fn settle(&mut self, request: &Request, record: &mut Record, protocol: &Protocol) -> bool {
        if protocol.keeps(Rule::SettleComparesTerm) && !self.is_owner(request.term) {
            return false;
        }
        for (entry, how) in (0..).zip(request.how) {
            let Some(how) = how else { continue };
            if self.settle_one(entry, how, record) && request.term < record.highest_term {
                record.breaks(Broken::OldOwnerSettlesNothing);
            }
            let final_ = !matches!(how, How::Later { .. });
            if final_ && !record.settled().and(record.wiped).has(entry) {
                record.breaks(Broken::SettlementTakesEffect);
            }
        }
        self.trim(protocol);
        true
    }

    /// Settles what is pending or handed out. Tells whether it was.
    fn settle_one(&mut self, entry: u8, how: How, record: &mut Record) -> bool {
        let at = usize::from(entry);
        let was_pending = self.pending.take(entry);
        let was_out = self.later[at].is_some_and(|aside| aside.handed_out);
        if !was_pending && !was_out {
            return false;
        }
        self.later[at] = None;
        if record.settled().has(entry) {
            record.breaks(Broken::SettledOnce);
        }
        match how {
            How::Later { due, attempts } => {
                self.stream.take(entry);
                self.later[at] = Some(Aside { due, attempts, handed_out: false });
            }
            How::Ack => {
                if !record.delivered.has(entry) {
                    record.breaks(Broken::OutcomeBeforeSettlement);
                }
                record.acked.add(entry);
            }
            How::Dead => {
                self.stream.take(entry);
                record.dead.add(entry);
            }
        }
        true
    }

    /// XTRIM MINID up to what is pending or unread.
    fn trim(&mut self, protocol: &Protocol) {
        let unread = self.group.unwrap_or(0);
        let pending = self.pending.iter().next().filter(|_| protocol.keeps(Rule::TrimKeepsPending));
        self.stream = self.stream.without(Set::below(pending.map_or(unread, |pending| pending.min(unread))));
    }

    /// Everything is gone, and every connection with it. Answers may still arrive.
    pub(super) fn lose_everything(&mut self, record: &mut Record) {
        record.wiped = Set::below(self.appended).without(record.settled());
        (0..).zip(self.readers).for_each(|(reader, _)| self.kill(reader));
        *self = Self { appended: self.appended, readers: self.readers, clock: self.clock, ..Self::default() };
    }

    /// What is neither settled nor anywhere to be found.
    pub(super) fn missing(&self, record: &Record) -> Set {
        let unread = Set::below(self.group.unwrap_or(0));
        let in_stream = Set(self.stream.0 & (self.pending.0 | !unread.0));
        let aside = (0..ENTRIES as u8).filter(|entry| self.later[usize::from(*entry)].is_some());
        let there = aside.fold(in_stream, |set, entry| Set(set.0 | 1 << entry));
        Set::below(self.appended).without(there).without(record.settled()).without(record.wiped)
    }

    /// Forgets connections nobody can mean any more, so that their slots serve again.
    pub(super) fn forget_readers(&mut self, listened: &[Option<u8>], named: &[Option<u8>]) {
        for (at, reader) in (0..).zip(&mut self.readers) {
            let is_listened = listened.contains(&Some(at));
            if !is_listened && matches!(reader.wire, Wire::Answered { .. }) {
                reader.wire = Wire::Quiet;
            }
            let is_named = is_listened || named.contains(&Some(at)) || self.lease.reader == Some(at);
            if !is_named && reader.wire == Wire::Quiet {
                *reader = Reader::default();
            }
        }
    }
}
