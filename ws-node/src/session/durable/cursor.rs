//! A session's place in its user's mailbox, as a value.
//!
//! Owns what is known of that place and which hints come in their turn. Never touches a socket or the store.

use gim_proxy_sdk::mailbox::{Opened, Position};
use metrics::Gauge;
use tokio::sync::oneshot;

use super::ack::AckAnswer;
use super::letter::{Hint, Letter};
use super::marks::Marks;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(super) epoch: u64,
    /// The highest offset offered to the outbox, or known to be gone.
    pub(super) handed: u64,
    /// The highest offset known to be in the mailbox.
    pub(super) known: u64,
    /// The kernel has everything up to here.
    pub(super) flushed: u64,
    /// The store has taken the acknowledgement of everything up to here.
    pub(super) acked: u64,
    /// And is to take it up to here.
    pub(super) wanted: u64,
    pub(super) is_acking: bool,
    pub(super) is_pumping: bool,
    doubt: Doubt,
    /// How often it was doubted: one that comes while the mailbox is asked is not answered by that.
    doubts: u64,
    /// Of the message handed last: a store that lost data gives its offset to another one.
    last: Option<(u64, u64)>,
    pub(super) waiter: Option<(u64, oneshot::Sender<AckAnswer>)>,
    pub(super) marks: Marks,
    behind: Option<Behind>,
}

/// Whether the mailbox may be another than the one that was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doubt {
    #[default]
    None,
    /// It has to be asked.
    Asks,
    /// It is: offsets were given twice.
    Lost,
}

/// What was known when the mailbox was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The highest offset told of.
    pub(super) known: u64,
    acked: u64,
    doubts: u64,
}

/// Counts a session among those that are behind, as long as it is there.
#[derive(Debug)]
struct Behind(Gauge);

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Cursor {
    /// Begins behind what is acknowledged.
    pub(super) fn at(at: Position) -> Self {
        Self {
            epoch: at.epoch,
            handed: at.offset,
            known: at.offset,
            flushed: at.offset,
            acked: at.offset,
            wanted: at.offset,
            is_acking: false,
            is_pumping: false,
            doubt: Doubt::None,
            doubts: 0,
            last: None,
            waiter: None,
            marks: Marks::default(),
            behind: None,
        }
    }

    pub(super) const fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.handed }
    }

    pub(super) const fn in_doubt(&self) -> Doubt {
        self.doubt
    }

    /// What is known when the mailbox is asked.
    pub(super) const fn asked(&self) -> Asked {
        Asked { known: self.known, acked: self.acked, doubts: self.doubts }
    }

    /// Nothing more is handed before the mailbox was opened anew.
    pub(super) fn doubt(&mut self) {
        self.doubts += 1;
        if self.doubt == Doubt::None {
            self.doubt = Doubt::Asks;
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.doubt != Doubt::None || self.known > self.handed
    }

    /// Has the gauge know whether this session is behind.
    pub(super) fn count_behind(&mut self, gauge: &Gauge) {
        match (self.is_behind(), &self.behind) {
            (true, None) => {
                gauge.increment(1.0);
                self.behind = Some(Behind(gauge.clone()));
            }
            (false, Some(_)) => self.behind = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Takes hints: hands those that come in their turn, if the outbox takes them at once, and knows of the rest.
    pub(super) fn accept(&mut self, hints: &[Hint], letters: &[Letter], is_free: bool) {
        let mut may_hand = is_free && !self.is_pumping && !self.is_behind();
        for hint in hints {
            let Some(letter) = letters.get(hint.letter as usize) else { continue };
            if hint.at.epoch != self.epoch {
                self.doubt();
            } else if hint.at.offset <= self.handed {
                self.compare(hint.at.offset, letter.print);
            } else if may_hand && self.doubt == Doubt::None && hint.at.offset == self.handed + 1 {
                self.hand(hint.at.offset, Some(letter.print));
            } else {
                self.known = self.known.max(hint.at.offset);
                may_hand = false;
            }
        }
    }

    /// A message comes again, or another one has the offset of one that was handed.
    fn compare(&mut self, offset: u64, print: u64) {
        match self.last {
            Some((last, known)) if last == offset && known != print => {
                self.doubts += 1;
                self.doubt = Doubt::Lost;
            }
            // Nothing was handed on this session: whether it is a repeat, the mailbox knows.
            None => self.doubt(),
            Some(_) => {}
        }
    }

    /// Takes note that everything up to an offset was offered, or will not come.
    pub(super) fn hand(&mut self, offset: u64, print: Option<u64>) {
        self.handed = self.handed.max(offset);
        self.known = self.known.max(offset);
        if let Some(print) = print {
            self.last = Some((offset, print));
        }
    }

    /// Takes note of how the mailbox was found when it was opened anew. Returns whether everything begins anew.
    pub(super) fn reopened(&mut self, opened: &Opened, asked: Asked) -> bool {
        let Self { doubts, .. } = *self;
        let doubt = if doubts == asked.doubts { Doubt::None } else { self.doubt };
        let is_reset = opened.is_reset || opened.epoch != self.epoch || opened.acked < asked.acked;
        if is_reset {
            let at = Position { epoch: opened.epoch, offset: opened.acked };
            let (behind, is_acking) = (self.behind.take(), self.is_acking);
            *self = Self { known: opened.last, is_pumping: self.is_pumping, is_acking, behind, doubts, ..Self::at(at) };
        } else if self.known == asked.known {
            self.known = opened.last.max(self.handed);
        }
        self.doubt = doubt;
        is_reset
    }
}

#[cfg(test)]
mod tests {
    use gim_proto::MessageId;

    use super::super::letter;
    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: 7, offset }
    }

    /// Letters whose prints are their numbers, and hints of them at these offsets.
    fn hints(offsets: &[(u64, &str)]) -> (Vec<Hint>, Vec<Letter>) {
        let letters = offsets.iter().map(|(_, id)| letter::tests::letter(&MessageId::parse(id).unwrap())).collect();
        let hint = |(index, (offset, _)): (usize, &(u64, &str))| Hint::new(at(*offset), u32::try_from(index).unwrap());
        (offsets.iter().enumerate().map(hint).collect(), letters)
    }

    fn accept(cursor: &mut Cursor, offsets: &[(u64, &str)], is_free: bool) {
        let (hints, letters) = hints(offsets);
        cursor.accept(&hints, &letters, is_free);
    }

    #[test]
    fn hints_in_their_turn_are_handed_and_the_rest_is_known() {
        let mut cursor = Cursor::at(at(3));
        accept(&mut cursor, &[(4, "a"), (4, "a"), (5, "b"), (7, "d"), (6, "c")], true);
        assert_eq!((cursor.handed, cursor.known), (5, 7));
        accept(&mut cursor, &[(6, "c")], true);
        assert_eq!(cursor.handed, 5, "what is behind is read first");
    }

    #[test]
    fn nothing_is_handed_that_would_have_to_wait() {
        let mut cursor = Cursor::at(at(0));
        accept(&mut cursor, &[(1, "a")], false);
        assert_eq!((cursor.handed, cursor.known), (0, 1));
        assert!(cursor.is_behind());
    }

    #[test]
    fn a_repeat_changes_nothing_and_another_message_at_its_offset_tells_of_a_loss() {
        let mut cursor = Cursor::at(at(0));
        accept(&mut cursor, &[(1, "a"), (2, "b")], true);
        accept(&mut cursor, &[(1, "a"), (2, "b")], true);
        assert!(!cursor.is_behind());
        accept(&mut cursor, &[(2, "x")], true);
        assert_eq!(cursor.in_doubt(), Doubt::Lost);
    }

    #[test]
    fn another_epoch_is_asked_about_before_anything_more_is_handed() {
        let mut cursor = Cursor::at(at(0));
        let (mut hints, letters) = hints(&[(1, "a"), (1, "b")]);
        hints[0].at.epoch = 8;
        cursor.accept(&hints, &letters, true);
        assert_eq!((cursor.handed, cursor.in_doubt()), (0, Doubt::Asks));
        let opened = Opened { epoch: 8, last: 4, acked: 2, is_reset: true };
        let asked = cursor.asked();
        assert!(cursor.reopened(&opened, asked));
        assert_eq!((cursor.position(), cursor.known), (Position { epoch: 8, offset: 2 }, 4));
    }

    #[test]
    fn a_mailbox_that_forgot_acknowledgements_begins_anew() {
        let mut cursor = Cursor::at(at(9));
        let opened = Opened { epoch: 7, last: 9, acked: 6, is_reset: false };
        let asked = cursor.asked();
        assert!(cursor.reopened(&opened, asked));
        assert_eq!((cursor.handed, cursor.known), (6, 9));
    }

    #[test]
    fn what_was_told_while_it_was_asked_is_not_forgotten() {
        let mut cursor = Cursor::at(at(1));
        cursor.known = 4;
        let asked = cursor.asked();
        cursor.known = 5;
        assert!(!cursor.reopened(&Opened { epoch: 7, last: 4, acked: 1, is_reset: false }, asked));
        assert_eq!(cursor.known, 5);
    }

    #[test]
    fn a_doubt_that_comes_while_it_is_asked_is_asked_about_again() {
        let mut cursor = Cursor::at(at(1));
        cursor.doubt();
        let asked = cursor.asked();
        // A message of the epoch that the answer will name.
        let (mut hints, letters) = hints(&[(1, "a")]);
        hints[0].at.epoch = 8;
        cursor.accept(&hints, &letters, true);
        let opened = Opened { epoch: 8, last: 0, acked: 0, is_reset: true };
        assert!(cursor.reopened(&opened, asked));
        assert_eq!((cursor.position(), cursor.in_doubt()), (Position { epoch: 8, offset: 0 }, Doubt::Asks));
        let asked = cursor.asked();
        assert!(!cursor.reopened(&Opened { last: 1, is_reset: false, ..opened }, asked));
        assert_eq!((cursor.known, cursor.in_doubt()), (1, Doubt::None));
    }

    #[test]
    fn what_is_acknowledged_while_it_is_asked_is_no_loss() {
        let mut cursor = Cursor::at(at(5));
        cursor.handed = 9;
        cursor.doubt();
        let asked = cursor.asked();
        cursor.acked = 8;
        assert!(!cursor.reopened(&Opened { epoch: 7, last: 9, acked: 5, is_reset: false }, asked));
        assert_eq!(cursor.handed, 9);
    }
}
