//! The client: it keeps the position of the last message it dealt with, acknowledges when it likes, drops and resumes.

use super::properties::{Broken, Event};
use super::protocol::Protocol;
use super::state::{Frame, Phase, Session, Set, State};

impl State {
    pub(super) fn connect(&mut self) -> Option<()> {
        self.client.session.is_none().then_some(())?;
        let is_free = |one: &Session| one.phase == Phase::Free && one.acking.is_none();
        let at = self.sessions.iter().position(is_free)?;
        let resumes = self.client.position;
        self.sessions[at] = Session { phase: Phase::Arrived, resumes, ..Session::default() };
        self.client.session = Some(at);
        self.client.is_welcomed = false;
        self.client.acked = 0;
        if resumes.is_none() {
            self.record.once = Set::default();
        }
        Some(())
    }

    pub(super) fn receive(&mut self, protocol: &Protocol) -> Option<()> {
        let pipe = &mut self.sessions[self.client.session?].pipe;
        (!pipe.is_empty()).then_some(())?;
        match pipe.remove(0) {
            Frame::Welcome { epoch, from } => self.client.position = Some((epoch, from)),
            Frame::Reset { epoch, from } => {
                self.client.position = Some((epoch, from));
                self.client.acked = 0;
                self.record.once = Set::default();
                protocol.note(Event::Reset);
            }
            Frame::Letter { offset, entry } => self.deal_with(offset, entry),
        }
        self.client.is_welcomed = true;
        Some(())
    }

    fn deal_with(&mut self, offset: u64, entry: u8) {
        let Some((_, last)) = &mut self.client.position else { return };
        if offset != *last + 1 && !self.record.is_wild {
            self.record.breaks(Broken::Order);
        }
        *last = offset;
        if self.record.once.has(entry) {
            self.record.breaks(Broken::Once);
        }
        self.record.once.add(entry);
        self.record.got.add(entry);
    }

    pub(super) fn ack(&mut self) -> Option<()> {
        let (epoch, offset) = self.client.position.filter(|_| self.client.is_welcomed)?;
        (offset > self.client.acked).then_some(())?;
        self.client.acked = offset;
        self.say(epoch, offset)
    }

    /// It was told the last offset in the welcome, and takes it for its own.
    pub(super) fn ack_wildly(&mut self) -> Option<()> {
        self.spend(|faults| &mut faults.wild)?;
        let known = self.sessions[self.client.session?].known;
        let (epoch, offset) = self.client.position.filter(|_| self.client.is_welcomed)?;
        (known > offset).then_some(())?;
        self.record.is_wild = true;
        self.say(epoch, known)
    }

    fn say(&mut self, epoch: u64, offset: u64) -> Option<()> {
        let session = &mut self.sessions[self.client.session?];
        (session.phase == Phase::Active && session.up.is_none()).then_some(())?;
        session.up = Some((epoch, offset));
        Some(())
    }

    /// The connection is lost. The session has yet to notice.
    pub(super) fn drop_connection(&mut self) -> Option<()> {
        self.spend(|faults| &mut faults.drops)?;
        let at = self.client.session.take()?;
        let session = &mut self.sessions[at];
        session.is_cut = true;
        session.pipe.clear();
        if session.phase < Phase::Claimed {
            *session = Session::default();
        }
        Some(())
    }

    /// The session has ended, and what was on its way has come.
    pub(super) fn notice_end(&mut self) -> Option<()> {
        let session = &mut self.sessions[self.client.session?];
        (session.phase == Phase::Free && session.pipe.is_empty()).then_some(())?;
        session.fence = 0;
        self.client.session = None;
        Some(())
    }

    pub(super) fn forget(&mut self) -> Option<()> {
        (self.client.session.is_none() && self.client.position.is_some()).then_some(())?;
        self.spend(|faults| &mut faults.forgets)?;
        self.client.position = None;
        Some(())
    }

    /// Whether everybody who has seen something of the store has spoken to this run of it.
    pub(super) fn all_have_asked(&self) -> bool {
        let has_asked = |one: &Session| one.phase < Phase::Opened || one.run == self.store.run;
        let away = self.client.session.is_none() && self.store.run > 0;
        let is_arriving = self.client.session.is_some_and(|at| self.sessions[at].phase < Phase::Opened);
        self.sessions.iter().all(has_asked)
            && !((away || is_arriving && self.store.run > 0) && self.client.position.is_some())
    }
}
