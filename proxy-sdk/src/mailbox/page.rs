//! A page in the making: letters in their order, and between them what is missing, with the reason.
//!
//! Owns the rule by which a missing offset is called trimmed or expired. Never looks at a clock or a store.

use std::sync::Arc;

use gim_proto::MessageId;
use gim_proto::frame::{GapReason, MsgType};

use super::{Item, Page};
use crate::delivery::Message;

/// See the module.
pub(super) struct Draft {
    page: Page,
    /// The highest offset that went because of a bound.
    trimmed: u64,
    /// The offset that comes next.
    next: u64,
}

impl Draft {
    /// Begins behind an offset.
    pub(super) fn new(epoch: u64, last: u64, trimmed: u64, after: u64) -> Self {
        Self { page: Page { epoch, last, ..Page::default() }, trimmed, next: after.saturating_add(1) }
    }

    /// The next letter there is.
    pub(super) fn letter(&mut self, offset: u64, kind: MsgType, message: Arc<Message>) {
        self.miss(offset);
        self.page.items.push(Item::Letter { offset, kind, message });
        self.next = offset + 1;
    }

    /// The next letter there is, whose time is over; with its id if receipts of it are wanted.
    pub(super) fn over(&mut self, offset: u64, wanted: Option<MessageId>) {
        self.miss(offset);
        self.page.over.extend(wanted.map(|id| (offset, id)));
        self.gap(offset, GapReason::Expired);
    }

    /// Ends before the last offset: more is to be read.
    pub(super) fn broken_off(self) -> Page {
        self.page
    }

    /// Ends: there are no more letters.
    pub(super) fn finish(mut self) -> Page {
        self.miss(self.page.last.saturating_add(1));
        self.page
    }

    /// What is missing before an offset went because of a bound, or because its time was over.
    fn miss(&mut self, before: u64) {
        let Some(to) = before.checked_sub(1) else { return };
        if self.next <= to.min(self.trimmed) {
            self.gap(to.min(self.trimmed), GapReason::Trimmed);
        }
        if self.next <= to {
            self.gap(to, GapReason::Expired);
        }
    }

    fn gap(&mut self, to: u64, reason: GapReason) {
        let from = std::mem::replace(&mut self.next, to + 1);
        if let Some(Item::Gap { to: end, reason: same, .. }) = self.page.items.last_mut()
            && *same == reason
        {
            // Nothing lies between two gaps in a row.
            *end = to;
            return;
        }
        self.page.items.push(Item::Gap { from, to, reason });
    }
}
