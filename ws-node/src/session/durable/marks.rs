//! Messages on their way to one client of which somebody wants to know how far they have come.
//!
//! Owns the list of them, in the order of their offsets. Empty, and without memory, unless a message asks for it.

use std::collections::VecDeque;

use gim_proto::MessageId;

use crate::receipts::Flags;

/// Handed messages that are not acknowledged and remembered. At the bound the oldest go, without receipts: the mailbox has
/// given them up as well, in the default configuration.
const MOST: usize = 1_000;

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    offset: u64,
    pub(super) id: MessageId,
    pub(super) flags: Flags,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
    /// So many of the first are written.
    written: usize,
}

impl Marks {
    pub(super) fn add(&mut self, offset: u64, id: &MessageId, flags: Flags) {
        if self.marks.len() >= MOST {
            self.marks.pop_front();
            self.written = self.written.saturating_sub(1);
        }
        self.marks.push_back(Mark { offset, id: id.clone(), flags });
    }

    /// Names those that are written now and were not before.
    pub(super) fn written(&mut self, upto: u64) -> Vec<Mark> {
        let new: Vec<Mark> =
            self.marks.iter().skip(self.written).take_while(|mark| mark.offset <= upto).cloned().collect();
        self.written += new.len();
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
            marks.add(offset, &MessageId::parse(&offset.to_string()).unwrap(), flags);
        }
        let ids = |marks: Vec<Mark>| marks.iter().map(|mark| mark.id.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(marks.written(3)), ["2", "3"]);
        assert_eq!(ids(marks.acked(2)), ["2"]);
        assert_eq!(ids(marks.written(5)), ["5"]);
        assert_eq!(ids(marks.acked(9)), ["3", "5"]);
        assert!(marks.written(9).is_empty() && marks.acked(9).is_empty());
    }
}
