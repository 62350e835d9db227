//! Messages on their way to one client of which somebody wants to know how far they have come.
//!
//! Owns the list of them, in the order of their offsets. Empty, and without memory, unless a message asks for it.

use std::collections::VecDeque;

use gim_proto::{MessageId, Uid};

use crate::receipts::{End, Flags, Step};

/// Handed messages that are not acknowledged and remembered. At the bound the oldest go, without more receipts: the mailbox
/// has given them up as well, in the default configuration, and that is told by whoever appended.
const MOST: usize = 1_000;

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    offset: u64,
    pub(super) id: MessageId,
    pub(super) flags: Flags,
    /// What it is when the client acknowledges it.
    pub(super) end: Step,
}

impl Mark {
    /// One that was handed.
    pub(super) fn of(offset: u64, id: &MessageId, flags: Flags) -> Self {
        Self { offset, id: id.clone(), flags, end: Step::Acked }
    }

    /// How it ends for the user.
    pub(super) const fn ends<'a>(&'a self, uid: &'a Uid) -> End<'a> {
        End { uid, id: &self.id, flags: self.flags, step: self.end }
    }

    /// One whose time was over: in its place the client was told of a gap.
    pub(super) fn over(offset: u64, id: MessageId) -> Self {
        Self { offset, id, flags: Flags { receipt: true, traced: false }, end: Step::Expired }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
    /// So many of the first are written.
    written: usize,
}

impl Marks {
    /// Adds one. Returns false if the first was given up for it.
    pub(super) fn add(&mut self, mark: Mark) -> bool {
        let fits = self.marks.len() < MOST;
        if !fits {
            self.marks.pop_front();
            self.written = self.written.saturating_sub(1);
        }
        self.marks.push_back(mark);
        fits
    }

    /// Names those that are written now and were not before.
    pub(super) fn written(&mut self, upto: u64) -> Vec<Mark> {
        let mut new: Vec<Mark> =
            self.marks.iter().skip(self.written).take_while(|mark| mark.offset <= upto).cloned().collect();
        self.written += new.len();
        new.retain(|mark| mark.end == Step::Acked);
        new
    }

    /// Takes out those that are acknowledged.
    pub(super) fn acked(&mut self, upto: u64) -> Vec<Mark> {
        let count = self.marks.iter().take_while(|mark| mark.offset <= upto).count();
        self.written = self.written.saturating_sub(count);
        self.marks.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_once_and_acknowledged_once() {
        let mut marks = Marks::default();
        let flags = Flags { receipt: true, traced: false };
        for offset in [2, 3, 5] {
            assert!(marks.add(Mark::of(offset, &MessageId::parse(&offset.to_string()).unwrap(), flags)));
        }
        let ids = |marks: Vec<Mark>| marks.iter().map(|mark| mark.id.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(marks.written(3)), ["2", "3"]);
        assert_eq!(ids(marks.acked(2)), ["2"]);
        assert_eq!(ids(marks.written(5)), ["5"]);
        assert_eq!(ids(marks.acked(9)), ["3", "5"]);
        assert!(marks.written(9).is_empty() && marks.acked(9).is_empty());
    }

    #[test]
    fn one_whose_time_was_over_is_not_written_and_ends_as_that() {
        let mut marks = Marks::default();
        marks.add(Mark::over(1, MessageId::parse("1").unwrap()));
        marks.add(Mark::of(2, &MessageId::parse("2").unwrap(), Flags { receipt: true, traced: false }));
        assert_eq!(marks.written(2).iter().map(|mark| mark.offset).collect::<Vec<_>>(), [2]);
        assert_eq!(marks.acked(2).iter().map(|mark| mark.end).collect::<Vec<_>>(), [Step::Expired, Step::Acked]);
    }

    #[test]
    fn at_the_bound_the_oldest_is_given_up() {
        let mut marks = Marks::default();
        let mut add = |offset| marks.add(Mark::over(offset, MessageId::parse("1").unwrap()));
        assert!((0..MOST as u64).all(&mut add));
        assert!(!add(MOST as u64));
        assert_eq!(marks.acked(u64::MAX).first().map(|mark| mark.offset), Some(1));
    }
}
