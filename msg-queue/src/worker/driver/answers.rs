//! What the answers of source and directory are to the lane.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::mailbox::MailboxErrorKind;
use tokio::time::{Duration, Instant};

use super::{Done, Driver, SettleBatch, Unsettled};
use crate::backoff::Backoff;
use crate::lane::{Job, Now, Verdict};
use crate::observe::{Event, Step};
use crate::route::{Parcels, RouteError, Routed};
use crate::source::{Fetched, Settlement, SourceError, SourceErrorKind};

/// A store is asked again at least this often: once it is back, or knows again who is not there, nobody waits for long.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Driver {
    pub(super) fn take(&mut self, done: Done) {
        match done {
            Done::Fetched { draining, most, result } => {
                self.fetching = false;
                self.backlog = result.as_ref().is_ok_and(|entries| entries.len() >= most.div_ceil(2));
                self.fetched(draining, result);
            }
            Done::Confirmed { result } => {
                self.confirming = false;
                self.confirmed(result);
            }
            Done::Settled { batch, result } => self.settled(batch, result),
            Done::Routed { jobs, again, result } => {
                self.routing &= again;
                self.routed(&jobs, result);
            }
            Done::Delivered { node, batch, receipts, result } => {
                self.delivered(node, &batch.deliveries, &receipts, result);
            }
        }
    }

    fn fetched(&mut self, draining: bool, result: Result<Vec<Fetched>, SourceError>) {
        let entries = match result {
            Ok(entries) => entries,
            Err(error) => return self.source_failed(Step::Read, &error),
        };
        self.read_pause.end();
        if entries.is_empty() {
            self.read_all |= draining;
            return;
        }
        self.context.record(&Event::Read { entries: entries.len() });
        self.one_by_one = self.one_by_one.saturating_sub(entries.len());
        let now = self.now();
        for entry in entries {
            self.admit(entry, now);
        }
    }

    fn confirmed(&mut self, result: Result<(), SourceError>) {
        match result {
            Ok(()) if self.context.source.is_owned() => self.own_pause.end(),
            Ok(()) => self.pause(Step::Own, "the lane is not this worker's yet".into()),
            Err(error) => self.source_failed(Step::Own, &error),
        }
    }

    fn settled(&mut self, batch: SettleBatch, result: Result<(), Unsettled>) {
        match result {
            Ok(()) => {
                self.settling.end();
                self.settle_pause.end();
                self.anew.are_settled(&batch.settled);
                let entries = batch.settled.iter().filter(|(_, how)| !matches!(how, Settlement::Later { .. })).count();
                self.context.settled.fetch_add(entries as u64, Ordering::Relaxed);
                self.context.record(&Event::Settled { entries });
            }
            Err(error) => {
                self.settling.fail(batch);
                match error {
                    Unsettled::Source(error) => self.source_failed(Step::Settle, &error),
                    Unsettled::Ledger(error) => {
                        self.pause(Step::Settle, describe(&error, error.source.as_deref()));
                    }
                }
            }
        }
    }

    fn source_failed(&mut self, step: Step, error: &SourceError) {
        if error.kind == SourceErrorKind::Lost {
            self.lost = true;
            return self.context.record(&Event::Lost);
        }
        if error.kind == SourceErrorKind::Replaced {
            self.anew.is_refused();
        }
        let detail = describe(error, error.source.as_deref());
        self.pause(step, detail);
    }

    fn pause(&mut self, step: Step, error: Box<str>) {
        let pause = match step {
            Step::Read => &mut self.read_pause,
            Step::Own => &mut self.own_pause,
            Step::Store => &mut self.store_pause,
            Step::Route => &mut self.route_pause,
            // Of one node only: its pipe waits.
            Step::Deliver => return,
            Step::Settle => &mut self.settle_pause,
        };
        let Backoff { first, max } = self.context.limits.persistence.backoff;
        let backoff = Backoff { first: first.min(LONGEST_PAUSE), max: max.min(LONGEST_PAUSE) };
        let wait = pause.begin(Instant::now(), &backoff, &mut self.jitter);
        self.context.record(&Event::Paused { step, wait, error });
    }

    fn routed(&mut self, jobs: &[Job], result: Result<Routed, RouteError>) {
        let now = self.now();
        let routed = match result {
            Ok(routed) => routed,
            Err(error) => {
                jobs.iter().for_each(|job| self.lane.not_routed(job, now));
                return self.route_failed(&error);
            }
        };
        self.store_pause.end();
        self.route_pause.end();
        let left = jobs.get(routed.covers..).unwrap_or_default();
        self.note_stored(routed.stored);
        self.note_trims(routed.trims);
        for (leg, outcome) in routed.done {
            self.lane.complete(leg, Verdict::Done(outcome), now);
        }
        routed.members_have.into_iter().for_each(|entry_id| self.lane.members_have(entry_id));
        let mut held = HashSet::new();
        for (entry_id, nodes) in routed.fans {
            held.extend(self.lane.fan_out(entry_id, &nodes, now).into_iter().map(|node| (entry_id, node)));
        }
        for (node, mut parcels) in routed.nodes {
            if !held.is_empty() {
                parcels.retain(|receipt| !(receipt.is_fan() && held.contains(&(receipt.entry_id, node.incarnation))));
            }
            self.send(node, parcels, now);
        }
        left.iter().for_each(|job| self.lane.not_routed(job, now));
    }

    fn route_failed(&mut self, error: &RouteError) {
        match error {
            RouteError::Directory(error) => self.pause(Step::Route, describe(error, error.source.as_deref())),
            RouteError::Mailbox(error) => {
                if error.kind == MailboxErrorKind::Stale {
                    self.context.source.doubt();
                }
                self.pause(Step::Store, describe(error, error.source.as_deref()));
            }
            // Looked at before the next round begins.
            RouteError::NotOwned => {}
        }
    }

    fn send(&mut self, node: NodeRef, parcels: Parcels, now: Now) {
        if let Some(wait) = self.pipes.suspended(&node) {
            return parcels.receipts.iter().for_each(|receipt| self.postponed(&node, receipt, wait, now));
        }
        if let Some(parcels) = self.pipes.push(&node, parcels) {
            self.begin_to_deliver(node, parcels);
        }
    }
}

pub(super) fn describe(
    error: &dyn std::fmt::Display,
    cause: Option<&(dyn std::error::Error + Send + Sync)>,
) -> Box<str> {
    match cause {
        Some(cause) => format!("{error}: {cause}").into(),
        None => error.to_string().into(),
    }
}
