//! Durable messages of one session: what of the user's mailbox its client has been handed.
//!
//! Owns the session's side of the mailbox: where it begins, what is handed to the outbox and when, what the client has
//! acknowledged. Offsets are handed in order, n after n-1 or after an announced gap, by whoever holds the one lock. A hint
//! that comes in its turn is written at once; everything else is read by the [`pump`]. Never waits for a client, and holds
//! at most one page of a mailbox for one that does not read.

mod ack;
mod cursor;
mod letter;
mod marks;
mod pump;
mod resume;

use std::sync::{MutexGuard, PoisonError};

use gim_proto::frame::{Dialect, GapReason, Notice};
use gim_proxy_sdk::mailbox::{Opened, Position};

pub(crate) use self::ack::AckAnswer;
use self::cursor::Cursor;
pub(crate) use self::letter::{Hint, Letter};

use self::letter::{Form, Frame};
use self::marks::Mark;
use super::Session;
use super::outbox::Offer;
use crate::receipts::Step;

/// Where a session stands in its user's mailbox.
#[derive(Debug, Default)]
pub(super) struct Stand {
    is_open: bool,
    /// Everything up to here was acknowledged when the mailbox was opened. Before that: the latest place told of.
    at: Position,
    /// None: nothing durable was on its way to this client yet. Most sessions stay so.
    cursor: Option<Box<Cursor>>,
}

impl Stand {
    /// None: the mailbox is not open yet.
    fn cursor(&mut self) -> Option<&mut Cursor> {
        let at = self.at;
        self.is_open.then(|| &mut **self.cursor.get_or_insert_with(|| Box::new(Cursor::at(at))))
    }
}

impl Session {
    /// Lets durable messages follow what was written so far.
    pub(super) fn begin_durable(&self, opened: &Opened) {
        let mut stand = self.stand();
        let told = std::mem::replace(&mut stand.at, Position { epoch: opened.epoch, offset: opened.acked });
        stand.is_open = true;
        let is_told_otherwise = told.epoch != 0 && told.epoch != opened.epoch;
        let known = if told.epoch == opened.epoch { opened.last.max(told.offset) } else { opened.last };
        if known == opened.acked && !is_told_otherwise {
            return;
        }
        let Some(cursor) = stand.cursor() else { return };
        cursor.known = known;
        if is_told_otherwise {
            cursor.doubt();
        }
        self.0.core.metrics.replays.increment(1);
        self.wake_pump(cursor);
    }

    /// Tells of messages that are in the user's mailbox, in the order of a batch. False: the session has ended.
    pub(crate) fn hint(&self, hints: &[Hint], letters: &[Letter]) -> bool {
        if self.is_closing() {
            return false;
        }
        let mut stand = self.stand();
        let Some(cursor) = stand.cursor() else {
            stand.at = hints.iter().map(|hint| hint.at).fold(stand.at, later);
            return true;
        };
        let before = cursor.handed;
        cursor.accept(hints, letters, self.0.outbox.takes_at_once());
        let is_taken = cursor.handed == before || self.hand_hints(cursor, before, hints, letters) != Offer::Closed;
        self.settle(cursor);
        is_taken
    }

    fn hand_hints(&self, cursor: &mut Cursor, before: u64, hints: &[Hint], letters: &[Letter]) -> Offer {
        let (mut next, epoch) = (before + 1, cursor.epoch);
        let in_turn = hints.iter().filter_map(move |hint| {
            let is_next = hint.at.offset == next && hint.at.epoch == epoch;
            next += u64::from(is_next);
            Some(hint.at.offset).filter(|_| is_next).zip(letters.get(hint.letter as usize))
        });
        let frames = in_turn.take(usize::try_from(cursor.handed - before).unwrap_or(usize::MAX));
        for (offset, letter) in frames.clone() {
            self.mark(cursor, offset, letter);
        }
        self.offer_frames(frames.map(|(offset, letter)| Frame::Letter(offset, letter)))
    }

    /// Writes frames in one call, as far as the socket takes them. Nothing is allocated unless something has to wait.
    fn offer_frames<'a>(&self, frames: impl Iterator<Item = Frame<'a>> + Clone) -> Offer {
        let inner = &self.0;
        let form = Form { encoding: inner.encoding, deflate: self.deflate() };
        let offer = letter::join(form, frames, |joined, frames| {
            let parts = || frames.map(|frame| frame.part(form)).collect();
            inner.outbox.offer_durable(&inner.core.settings.outbox, joined, parts, |bytes| inner.send(bytes))
        });
        self.follow_up(offer);
        offer
    }

    fn mark(&self, cursor: &mut Cursor, offset: u64, letter: &Letter) {
        self.0.core.metrics.durable_frames.increment(1);
        if letter.message.receipt || letter.message.traced {
            self.0.core.tell_step(self.uid(), &letter.message.id, letter.flags(), Step::Offered);
            self.add_mark(cursor, Mark::of(offset, &letter.message.id, letter.flags()));
        }
    }

    fn add_mark(&self, cursor: &mut Cursor, mark: Mark) {
        if !cursor.marks.add(mark) {
            self.0.core.metrics.receipts_dropped.increment(1);
        }
    }

    /// Takes note that nothing waits in the outbox any more. Told by whoever has written the last of it.
    pub(super) fn flushed(&self) {
        if let Some(cursor) = &mut self.stand().cursor {
            self.settle(cursor);
        }
    }

    /// Draws the conclusions: what was handed is written when nothing waits, and what is behind may follow then.
    fn settle(&self, cursor: &mut Cursor) {
        // Of one that is being closed nobody knows what was refused or given up.
        if cursor.flushed < cursor.handed && self.0.outbox.takes_at_once() {
            cursor.flushed = cursor.handed;
            for mark in cursor.marks.written(cursor.flushed) {
                self.0.core.tell_step(self.uid(), &mark.id, mark.flags, Step::Written);
            }
            if self.acks_by_itself() {
                self.want_ack(cursor, cursor.flushed);
            }
        }
        self.wake_pump(cursor);
    }

    /// On `/acc` clients do not know of acknowledgements, unless they say that they do.
    fn acks_by_itself(&self) -> bool {
        self.0.encoding.dialect == Dialect::Acc && !self.0.acks
    }

    /// Whether anything was handed that a store which lost data might not have any more.
    pub(crate) fn is_beyond_start(&self) -> bool {
        let stand = self.stand();
        stand.is_open && (stand.cursor.is_some() || stand.at.offset > 0)
    }

    /// Has the session ask whether its mailbox still has what was handed.
    pub(crate) fn doubt_mailbox(&self) {
        if let Some(cursor) = self.stand().cursor() {
            cursor.doubt();
            self.wake_pump(cursor);
        }
    }

    pub(super) fn gap(&self, from: u64, to: u64, reason: GapReason, epoch: Option<u64>) -> Option<Vec<u8>> {
        self.0.core.metrics.gap(reason, to.saturating_sub(from.saturating_sub(1)));
        (self.0.encoding.dialect == Dialect::Ws).then(|| {
            let mut text = Vec::with_capacity(160);
            gim_proto::frame::notice(&mut text, &Notice::Gap { from, to, reason, epoch });
            text
        })
    }

    fn stand(&self) -> MutexGuard<'_, Stand> {
        self.0.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of one epoch the higher offset, of two the later one: which of them counts shows when the mailbox is opened.
fn later(known: Position, told: Position) -> Position {
    match told.epoch == known.epoch {
        true => Position { offset: told.offset.max(known.offset), ..known },
        false => told,
    }
}
