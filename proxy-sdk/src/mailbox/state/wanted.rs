//! What of a mailbox somebody wants receipts of: which of it would be acknowledged, was trimmed, or has passed its time.
//!
//! Owns the rule that such a message does not leave before that could be told: what an append has trimmed is named again
//! by its repeat, what has passed its time stays until it was told, and resuming acknowledges only what nobody asks after.

use gim_proto::MessageId;

use super::{Known, Letter, Mailbox};
use crate::mailbox::{MOST_TOLD, MOST_WANTED, MailboxBounds, Position, Wanted};

impl Mailbox {
    /// Names those up to a position, the first of them.
    #[must_use]
    pub fn wanted(&self, upto: Position, now_ms: u64, bounds: &MailboxBounds) -> Vec<Wanted> {
        if upto.epoch != self.epoch {
            return Vec::new();
        }
        let of = |letter: &Letter| Wanted {
            offset: letter.offset,
            id: letter.message.id.clone(),
            is_over: letter.is_over(now_ms, bounds),
        };
        self.wanted_upto(upto.offset).take(MOST_WANTED).map(of).collect()
    }

    /// Tells whether any append is known to have trimmed one.
    #[must_use]
    pub fn has_trims(&self) -> bool {
        !self.trims.is_empty()
    }

    /// Names the messages that an append has trimmed.
    #[must_use]
    pub fn trimmed_by(&self, known: &Known) -> &[MessageId] {
        self.trims.get(known).map_or(&[], Vec::as_slice)
    }

    /// Counts messages that were trimmed and are not named, since it was asked last.
    pub fn take_unnamed(&mut self) -> u64 {
        std::mem::take(&mut self.unnamed)
    }

    /// Names those whose time is over, at most so many.
    #[must_use]
    pub fn overdue(&self, now_ms: u64, bounds: &MailboxBounds, most: usize) -> Vec<(u64, MessageId)> {
        let over = self.wanted_upto(u64::MAX).filter(|letter| letter.is_over(now_ms, bounds));
        over.take(most).map(|letter| (letter.offset, letter.message.id.clone())).collect()
    }

    /// Forgets one of which it was told that its time is over. Returns whether it was there.
    pub fn forget_told(&mut self, offset: u64, id: &MessageId) -> bool {
        let at = self.letters.binary_search_by_key(&offset, |letter| letter.offset).ok();
        let Some(at) = at.filter(|at| self.letters.get(*at).is_some_and(|letter| letter.message.id == *id)) else {
            return false;
        };
        if let Some(letter) = self.letters.remove(at) {
            self.bytes -= letter.bytes();
        }
        true
    }

    pub(super) fn wants_upto(&self, offset: u64) -> bool {
        self.wanted_upto(offset).next().is_some()
    }

    pub(super) fn note_trimmed(&mut self, by: &Known, mut trimmed: Vec<MessageId>) {
        if !trimmed.is_empty() {
            self.unnamed += trimmed.len().saturating_sub(MOST_TOLD) as u64;
            trimmed.truncate(MOST_TOLD);
            self.trims.insert(by.clone(), trimmed);
        }
    }

    fn wanted_upto(&self, offset: u64) -> impl Iterator<Item = &Letter> {
        // Nothing is looked through where nobody has asked.
        let upto = offset.min(self.wanted);
        self.letters.iter().take_while(move |letter| letter.offset <= upto).filter(|letter| letter.message.receipt)
    }
}
