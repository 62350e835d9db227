//! A session with its cursor, and who owns the uid.

use gim_proxy_sdk::mailbox::{Arrival, Item, Position};

use super::properties::{Broken, Event};
use super::protocol::{Protocol, Rule};
use super::state::{Frame, Hint, Phase, Session, State};
use super::store::entry_of;

impl State {
    /// A node that does not hold the session says so: false.
    pub(super) fn hint(&mut self, hint: Hint, protocol: &Protocol) -> bool {
        let Some(session) = self.sessions.iter_mut().find(|one| one.fence == hint.fence && one.phase >= Phase::Claimed)
        else {
            return false;
        };
        if session.phase != Phase::Active {
            return true;
        }
        let is_next = session.epoch == hint.epoch && session.handed + 1 == hint.offset;
        let is_idle = session.known == session.handed && session.pipe.is_empty();
        if is_next && is_idle || !protocol.keeps(Rule::HintAtCursor) {
            session.pipe.push(Frame::Letter { offset: hint.offset, entry: hint.entry });
            session.handed = hint.offset;
            protocol.note(Event::WrittenAtOnce);
        } else if session.epoch == hint.epoch && hint.offset <= session.handed {
            protocol.note(Event::OldHint);
        }
        session.known = session.known.max(hint.offset);
        true
    }

    /// The claim is one step in the store.
    pub(super) fn claim(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let first = if protocol.keeps(Rule::ClaimBeforeOpen) { Phase::Arrived } else { Phase::Opened };
        (self.sessions[at].phase == first).then_some(())?;
        self.store.fence += 1;
        self.store.owner = Some(self.store.fence);
        let session = &mut self.sessions[at];
        session.fence = self.store.fence;
        session.phase = if first == Phase::Arrived { Phase::Claimed } else { Phase::Active };
        Some(())
    }

    pub(super) fn open(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let first = if protocol.keeps(Rule::ClaimBeforeOpen) { Phase::Claimed } else { Phase::Arrived };
        let session = &mut self.sessions[at];
        (session.phase == first).then_some(())?;
        session.phase = if first == Phase::Claimed { Phase::Active } else { Phase::Opened };
        let resumes = session.resumes.map(|(epoch, offset)| Position { epoch, offset });
        let opened = self.store.open(session.fence, resumes.map_or(Arrival::Anew, Arrival::Resumes), protocol);
        session.run = self.store.run;
        session.epoch = opened.epoch;
        session.known = opened.last;
        let from = match resumes {
            Some(resumes) if !opened.is_reset => resumes.offset.max(opened.acked.min(resumes.offset)),
            _ => opened.acked,
        };
        session.resumed = from;
        session.handed = from;
        let epoch = opened.epoch;
        session.pipe.push(if opened.is_reset { Frame::Reset { epoch, from } } else { Frame::Welcome { epoch, from } });
        Some(())
    }

    /// Reads the next page when the last one is written.
    pub(super) fn pump(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let session = &mut self.sessions[at];
        let may = session.phase == Phase::Active && !session.is_cut;
        (may && session.pipe.is_empty() && session.handed < session.known).then_some(())?;
        let page = self.store.read(session.handed, protocol.case.page);
        if page.epoch != session.epoch {
            return self.begin_anew(at, protocol);
        }
        session.known = session.known.max(page.last);
        for item in page.items {
            let Item::Letter { offset, message, .. } = item else { continue };
            session.handed = offset;
            session.pipe.push(Frame::Letter { offset, entry: entry_of(&message) });
            protocol.note(Event::Replayed);
        }
        Some(())
    }

    /// The store is another run: it may have lost something.
    pub(super) fn ask(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let session = &self.sessions[at];
        let has_news = session.phase == Phase::Active && session.run != self.store.run;
        (has_news && protocol.keeps(Rule::AskAfterRun)).then_some(())?;
        self.begin_anew(at, protocol)
    }

    fn begin_anew(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let session = &mut self.sessions[at];
        let position = Position { epoch: session.epoch, offset: session.handed };
        let opened = self.store.open(session.fence, Arrival::Survives(position), protocol);
        session.run = self.store.run;
        if !opened.is_reset {
            session.known = session.known.max(opened.last);
            return Some(());
        }
        (session.epoch, session.handed, session.known) = (opened.epoch, opened.acked, opened.last);
        session.resumed = opened.acked;
        session.pipe.push(Frame::Reset { epoch: opened.epoch, from: opened.acked });
        Some(())
    }

    /// It has no right any more, or its client is gone. What it has sent is on its way all the same.
    pub(super) fn stop(&mut self, at: usize) -> Option<()> {
        let session = &self.sessions[at];
        let is_superseded = session.phase >= Phase::Claimed && session.fence > 0 && session.fence < self.store.fence;
        (session.phase != Phase::Free && (is_superseded || session.is_cut)).then_some(())?;
        if self.store.owner == Some(session.fence) {
            self.store.owner = None;
        }
        self.end(at);
        Some(())
    }

    fn end(&mut self, at: usize) {
        let Session { pipe, acking, fence, .. } = std::mem::take(&mut self.sessions[at]);
        let is_read = self.client.session == Some(at);
        self.sessions[at] = Session { pipe, acking, fence, ..Session::default() };
        if !is_read {
            self.sessions[at].pipe.clear();
            self.sessions[at].fence = 0;
        }
    }

    pub(super) fn node_dies(&mut self) -> Option<()> {
        self.spend(|faults| &mut faults.deaths)?;
        for at in 0..self.sessions.len() {
            self.end(at);
        }
        Some(())
    }

    /// The record of a session that is no more counts as offline.
    pub(super) fn record_expires(&mut self) -> Option<()> {
        let owner = self.store.owner?;
        let lives = |one: &Session| one.fence == owner && one.phase >= Phase::Claimed;
        (!self.sessions.iter().any(lives)).then_some(())?;
        self.store.owner = None;
        Some(())
    }

    pub(super) fn take_ack(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let session = &mut self.sessions[at];
        (session.phase == Phase::Active && session.acking.is_none()).then_some(())?;
        let (epoch, offset) = session.up.take()?;
        if epoch != session.epoch && protocol.keeps(Rule::AckNamesEpoch) {
            protocol.note(Event::AckRefused);
            return Some(());
        }
        let is_within = offset <= session.handed.max(session.resumed);
        if !is_within && protocol.keeps(Rule::AckWithinCursor) {
            protocol.note(Event::AckRefused);
            return Some(());
        }
        session.acking = Some((session.fence, session.epoch, offset));
        if !is_within {
            self.record.breaks(Broken::WithinCursor);
        }
        Some(())
    }

    pub(super) fn ack_arrives(&mut self, at: usize, protocol: &Protocol) -> Option<()> {
        let (fence, epoch, offset) = self.sessions[at].acking.take()?;
        if fence < self.store.fence {
            protocol.note(Event::LateAck);
        }
        self.store.ack(fence, Position { epoch, offset }, protocol);
        Some(())
    }
}
