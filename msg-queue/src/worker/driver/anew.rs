//! What was stored, and may be lost with the run of the store that took it, is stored anew before it is settled.
//!
//! Owns the durable entries that are not settled, and the run of the store under which they were appended. A settlement
//! names that run; once another one answers, all of them are taken back, what the store hands out again is read first, and
//! then they begin anew in their order. An append that is still there keeps its offset. Messages of other classes are
//! not touched.

use std::collections::BTreeMap;

use gim_proto::{Class, EntryId};
use tokio::time::Instant;

use super::Driver;
use crate::lane::Now;
use crate::observe::Event;
use crate::source::{Fetched, Settlement};

/// See the module.
pub(super) struct Anew {
    /// The run under which everything was appended that is not settled.
    run: u64,
    /// Durable, read and not settled; not more than the lane holds.
    kept: BTreeMap<EntryId, Fetched>,
    /// Another run answers.
    replaced: bool,
    /// Taken back, with what was read since, until the store has handed out everything again.
    waiting: Option<BTreeMap<EntryId, Fetched>>,
}

impl Anew {
    pub(super) const fn of(run: u64) -> Self {
        Self { run, kept: BTreeMap::new(), replaced: false, waiting: None }
    }

    /// Nothing is routed or settled until everything begins anew.
    pub(super) const fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// The store is another run than the one that was named.
    pub(super) const fn is_refused(&mut self) {
        self.replaced = true;
    }

    /// The run that a settlement has to name. None: it is of nothing that was stored.
    pub(super) fn run_of(&self, settled: &[(EntryId, Settlement)]) -> Option<u64> {
        let is_kept = |(entry_id, _): &(EntryId, Settlement)| self.kept.contains_key(entry_id);
        (!self.kept.is_empty() && settled.iter().any(is_kept)).then_some(self.run)
    }

    pub(super) fn are_settled(&mut self, settled: &[(EntryId, Settlement)]) {
        if !self.kept.is_empty() {
            settled.iter().for_each(|(entry_id, _)| drop(self.kept.remove(entry_id)));
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_none()
    }

    /// Names the lowest that waits to begin anew.
    pub(super) fn lowest(&self) -> Option<EntryId> {
        self.waiting.as_ref().and_then(|waiting| waiting.keys().next().copied())
    }
}

impl Driver {
    /// Takes up an entry that was read.
    pub(super) fn admit(&mut self, fetched: Fetched, now: Now) {
        let is_durable = fetched.body.as_ref().is_ok_and(|entry| entry.class == Class::Durable);
        if is_durable {
            if let Some(waiting) = &mut self.anew.waiting {
                waiting.insert(fetched.entry_id, fetched);
                return;
            }
            self.anew.kept.insert(fetched.entry_id, fetched.clone());
        }
        self.lane.admit(fetched, now);
    }

    pub(super) fn begin_anew_if_replaced(&mut self, turn: Instant) {
        let run = self.context.source.run();
        if self.anew.run != run {
            self.anew.replaced |= !self.anew.kept.is_empty();
            if !self.anew.replaced {
                self.anew.run = run;
            }
        }
        // An append on its way might come between.
        if self.anew.replaced && !self.routing && !self.settling.is_under_way() {
            self.take_back(run, turn);
        }
        self.go_on_when_caught_up(turn);
    }

    fn take_back(&mut self, run: u64, turn: Instant) {
        let now = self.at(turn);
        let kept = std::mem::take(&mut self.anew.kept);
        kept.keys().for_each(|entry_id| self.lane.abandon(*entry_id, now));
        let receipts = self.receipts();
        self.settling.add(self.lane.take_settlements(), receipts);
        self.settling.give_up(|entry_id| kept.contains_key(&entry_id));
        (self.anew.run, self.anew.replaced) = (run, false);
        // What was written of it may be lost as well.
        self.noted.forget();
        if kept.is_empty() {
            return;
        }
        self.context.record(&Event::StoredAnew { entries: kept.len() });
        self.context.source.look_again();
        self.anew.waiting.get_or_insert_default().extend(kept);
    }

    fn go_on_when_caught_up(&mut self, turn: Instant) {
        let most = self.context.limits.unsettled_messages.saturating_mul(2);
        let is_time = |waiting: &BTreeMap<_, _>| waiting.len() >= most || self.context.source.has_caught_up();
        if !self.anew.waiting.as_ref().is_some_and(is_time) {
            return;
        }
        let now = self.at(turn);
        for fetched in self.anew.waiting.take().unwrap_or_default().into_values() {
            self.admit(fetched, now);
        }
    }
}
