//! Carries out what one lane decides: keeps one read, one settlement, one look-up and one batch per node on their way,
//! and hands every answer back to the lane.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use gim_proto::EntryId;
use gim_proxy_sdk::delivery::{Batch, LaneOrigin, Report, TargetReport};
use gim_proxy_sdk::directory::{DirectoryError, NodeRef};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::handle::Lane as Context;
use super::pause::Pause;
use super::pipes::Pipes;
use crate::backoff::Jitter;
use crate::deliver::{DeliverError, DeliverErrorKind, Failure};
use crate::lane::{Aim, Answer, Job, Lane, LegId, Now, Verdict};
use crate::observe::{Event, Step};
use crate::route::{Parcel, Receipt, ReceiptLegs, Routed, route};
use crate::source::{Fetched, Room, Settlement, SourceError, SourceErrorKind};

/// Targets routed at once, at most, unless one message has more. More would let an urgent message wait behind them.
const ROUND: usize = 1_000;
/// A lane that waits for nothing at all looks around after this time.
const LOOK: Duration = Duration::from_secs(1);

type Settled = Vec<(EntryId, Settlement)>;

/// Something that was on its way and is answered.
enum Done {
    Fetched { draining: bool, result: Result<Vec<Fetched>, SourceError> },
    Settled { batch: Settled, result: Result<(), SourceError> },
    Routed { jobs: Vec<Job>, again: bool, result: Result<Routed, DirectoryError> },
    Delivered { node: NodeRef, receipts: Vec<Receipt>, result: Result<Vec<Report>, DeliverError> },
}

pub(super) struct Driver {
    context: Arc<Context>,
    lane: Lane,
    pipes: Pipes,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    started: Instant,
    jitter: Jitter,
    fetching: bool,
    routing: bool,
    settling: usize,
    to_settle: Settled,
    read_pause: Pause,
    route_pause: Pause,
    deliver_pause: Pause,
    settle_pause: Pause,
    drain: watch::Receiver<bool>,
    draining: bool,
    /// Nothing is left to be read.
    read_all: bool,
    /// The lane belongs to somebody else.
    lost: bool,
    /// Entries to take one at a time.
    one_by_one: usize,
}

impl Driver {
    pub(super) fn new(context: Arc<Context>, drain: watch::Receiver<bool>, one_by_one: usize) -> Self {
        Self {
            lane: Lane::new(context.limits.clone(), Jitter::random()),
            context,
            pipes: Pipes::default(),
            work: FuturesUnordered::new(),
            started: Instant::now(),
            jitter: Jitter::random(),
            fetching: false,
            routing: false,
            settling: 0,
            to_settle: Vec::new(),
            read_pause: Pause::default(),
            route_pause: Pause::default(),
            deliver_pause: Pause::default(),
            settle_pause: Pause::default(),
            drain,
            draining: false,
            read_all: false,
            lost: false,
            one_by_one,
        }
    }

    /// Works until the lane is drained or lost.
    pub(super) async fn run(mut self) {
        loop {
            if *self.drain.borrow_and_update() && !self.draining {
                self.begin_to_drain();
            }
            // One reading for the whole turn: what is not due to the lane must not be over for the alarm.
            let turn = Instant::now();
            self.advance(turn);
            self.tell();
            if self.is_over() {
                return;
            }
            self.wait(turn).await;
        }
    }

    async fn wait(&mut self, turn: Instant) {
        let wake = self.next_wake(turn);
        tokio::select! {
            Some(done) = self.work.next() => self.take(done),
            () = sleep_until(wake.unwrap_or(self.started)), if wake.is_some() => return,
            // An error means that the handle is gone and this task with it.
            _ = self.drain.changed(), if !self.draining => return,
        }
        // In one process every answer is there at once: others on this thread get their turn.
        tokio::task::yield_now().await;
    }

    fn now(&self) -> Now {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> Now {
        let steady_ms = u64::try_from((instant - self.started).as_millis()).unwrap_or(u64::MAX);
        Now { unix_ms: self.context.clock.unix_ms(), steady_ms }
    }

    fn begin_to_drain(&mut self) {
        self.draining = true;
        self.read_all = self.context.source.keeps_unread();
        self.context.source.stop_waiting();
    }

    fn is_over(&self) -> bool {
        let settled = self.lane.messages() == 0 && self.to_settle.is_empty() && self.settling == 0;
        self.lost || (self.draining && self.read_all && settled && self.work.is_empty() && self.pipes.is_idle())
    }

    fn next_wake(&self, turn: Instant) -> Option<Instant> {
        let retry = self.lane.next_retry_ms().map(|at| self.started + Duration::from_millis(at));
        let pauses = [&self.read_pause, &self.route_pause, &self.deliver_pause, &self.settle_pause];
        let pauses = pauses.into_iter().filter(|pause| pause.is_on(turn)).filter_map(Pause::until);
        // A retry that is due and cannot go yet is taken up when an answer comes in.
        let wake = pauses.chain(retry.filter(|at| *at > turn)).chain(self.pipes.may_flow_at(turn)).min();
        wake.or_else(|| self.work.is_empty().then(|| turn + LOOK))
    }

    fn tell(&mut self) {
        for event in self.lane.drain_events() {
            self.context.record(&event);
        }
        let unsettled = self.lane.messages() + self.to_settle.len() + self.settling;
        if self.context.unsettled.swap(unsettled, Ordering::Relaxed) != unsettled {
            self.context.record(&Event::Window { messages: unsettled, bytes: self.lane.bytes() });
        }
    }

    /// Begins every step that can begin.
    fn advance(&mut self, turn: Instant) {
        if self.lost {
            return;
        }
        self.begin_round(turn);
        self.begin_to_settle(turn);
        self.begin_to_read(turn);
    }

    fn begin_to_read(&mut self, turn: Instant) {
        if self.fetching || self.read_all || self.read_pause.is_on(turn) || self.settle_pause.is_on(turn) {
            return;
        }
        let Some(room) = self.room() else { return };
        self.fetching = true;
        let source = Arc::clone(&self.context.source);
        let draining = self.draining;
        let fetch = async move { Done::Fetched { draining, result: source.fetch(room).await } };
        self.work.push(Box::pin(fetch));
    }

    fn room(&self) -> Option<Room> {
        let room = self.lane.room(self.context.read_batch)?;
        if self.one_by_one == 0 {
            return Some(room);
        }
        // Whatever brings down the lane, it is this one entry.
        self.work.is_empty().then_some(Room { entries: 1, ..room })
    }

    fn begin_to_settle(&mut self, turn: Instant) {
        self.to_settle.append(&mut self.lane.take_settlements());
        if self.settling > 0 || self.to_settle.is_empty() || self.settle_pause.is_on(turn) {
            return;
        }
        let batch = std::mem::take(&mut self.to_settle);
        self.settling = batch.len();
        let source = Arc::clone(&self.context.source);
        let settle = async move {
            let result = source.settle(&batch).await;
            Done::Settled { batch, result }
        };
        self.work.push(Box::pin(settle));
    }

    fn begin_round(&mut self, turn: Instant) {
        // Nothing is routed before it can be delivered.
        let paused = self.route_pause.is_on(turn) || self.deliver_pause.is_on(turn);
        let held = self.routing || paused || !self.pipes.may_flow(turn);
        if held {
            return;
        }
        let now = self.at(turn);
        while self.lane.has_ready(now) {
            let jobs = self.lane.take_ready(now, ROUND);
            if !jobs.is_empty() {
                self.routing = true;
                return self.begin_to_route(jobs, false);
            }
        }
    }

    fn begin_to_route(&mut self, jobs: Vec<Job>, again: bool) {
        let directory = Arc::clone(&self.context.directory);
        let routing = async move {
            let result = route(&*directory, &jobs, again).await;
            Done::Routed { jobs, again, result }
        };
        self.work.push(Box::pin(routing));
    }

    fn begin_to_deliver(&mut self, node: NodeRef, parcels: Vec<Parcel>) {
        let (deliveries, receipts) = parcels.into_iter().map(|parcel| (parcel.delivery, parcel.receipt)).unzip();
        let origin = LaneOrigin {
            lane: self.context.source.lane(),
            term: self.context.source.term(),
            low_water: self.lane.low_water(),
        };
        let batch = Batch { lane: Some(origin), deliveries };
        let deliver = Arc::clone(&self.context.deliver);
        let delivery = async move {
            let result = deliver.deliver(&node, batch).await;
            Done::Delivered { node, receipts, result }
        };
        self.work.push(Box::pin(delivery));
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Fetched { draining, result } => {
                self.fetching = false;
                self.fetched(draining, result);
            }
            Done::Settled { batch, result } => {
                self.settling = 0;
                self.settled(batch, result);
            }
            Done::Routed { jobs, again, result } => {
                self.routing &= again;
                self.routed(&jobs, result);
            }
            Done::Delivered { node, receipts, result } => self.delivered(node, receipts, result),
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
            self.lane.admit(entry, now);
        }
    }

    fn settled(&mut self, mut batch: Settled, result: Result<(), SourceError>) {
        match result {
            Ok(()) => {
                self.settle_pause.end();
                let entries = batch.iter().filter(|(_, how)| !matches!(how, Settlement::Later { .. })).count();
                self.context.settled.fetch_add(entries as u64, Ordering::Relaxed);
                self.context.record(&Event::Settled { entries });
            }
            Err(error) => {
                batch.append(&mut self.to_settle);
                self.to_settle = batch;
                self.source_failed(Step::Settle, &error);
            }
        }
    }

    fn source_failed(&mut self, step: Step, error: &SourceError) {
        if error.kind == SourceErrorKind::Lost {
            self.lost = true;
            return self.context.record(&Event::Lost);
        }
        let detail = describe(error, error.source.as_deref());
        self.pause(step, detail);
    }

    fn pause(&mut self, step: Step, error: Box<str>) {
        let pause = match step {
            Step::Read => &mut self.read_pause,
            Step::Route => &mut self.route_pause,
            Step::Deliver => &mut self.deliver_pause,
            Step::Settle => &mut self.settle_pause,
        };
        let wait = pause.begin(Instant::now(), &self.context.limits.persistence.backoff, &mut self.jitter);
        self.context.record(&Event::Paused { step, wait, error });
    }

    fn routed(&mut self, jobs: &[Job], result: Result<Routed, DirectoryError>) {
        let now = self.now();
        let routed = match result {
            Ok(routed) => routed,
            Err(error) => {
                let legs = jobs.iter().flat_map(legs_of);
                legs.for_each(|leg| self.lane.complete(leg, Verdict::Postponed, now));
                return self.pause(Step::Route, describe(&error, error.source.as_deref()));
            }
        };
        self.route_pause.end();
        for leg in routed.offline {
            self.lane.complete(leg, Verdict::Done(gim_proxy_sdk::Outcome::Offline), now);
        }
        for (entry_id, nodes) in routed.fans {
            self.lane.fan_out(entry_id, nodes, now);
        }
        for (node, parcels) in routed.nodes {
            if let Some(parcels) = self.pipes.push(&node, parcels) {
                self.begin_to_deliver(node, parcels);
            }
        }
    }

    fn delivered(&mut self, node: NodeRef, receipts: Vec<Receipt>, result: Result<Vec<Report>, DeliverError>) {
        let now = self.now();
        let mut again = Vec::new();
        match result {
            Ok(reports) if reports.len() == receipts.len() => {
                self.deliver_pause.end();
                for (receipt, report) in receipts.into_iter().zip(reports) {
                    again.extend(self.reported(&node, receipt, report, now));
                }
            }
            Ok(_) => self.not_delivered(&node, &receipts, Some(Failure::Unknown), now),
            Err(error) => {
                self.not_delivered(&node, &receipts, error.kind.failure(), now);
                if error.kind == DeliverErrorKind::Suspended {
                    self.pause(Step::Deliver, describe(&error, error.source.as_deref()));
                }
            }
        }
        if !again.is_empty() {
            self.begin_to_route(again, true);
        }
        if let Some(parcels) = self.pipes.ended(&node) {
            self.begin_to_deliver(node, parcels);
        }
    }

    /// Takes note that a batch did not get through. None: that counts as no attempt. What waits behind it is routed anew,
    /// in its order.
    fn not_delivered(&mut self, node: &NodeRef, receipts: &[Receipt], failure: Option<Failure>, now: Now) {
        for receipt in receipts {
            match failure {
                Some(failure) => self.failed(node, receipt, failure, now),
                None => self.postponed(node, receipt, now),
            }
        }
        for parcel in self.pipes.take_waiting(node) {
            self.postponed(node, &parcel.receipt, now);
        }
    }

    /// Takes the report on one delivery. Returns what of it has to be looked up again.
    fn reported(&mut self, node: &NodeRef, receipt: Receipt, report: Report, now: Now) -> Option<Job> {
        let entry_id = receipt.entry_id;
        match (receipt.legs, report) {
            (ReceiptLegs::Users { legs, of }, Report::Targets(reports)) => {
                let mut moved = Vec::new();
                let reports = reports.into_iter().map(Some).chain(std::iter::repeat(None));
                for ((leg, uid), report) in legs.into_iter().zip(reports) {
                    let at = LegId { entry_id, leg };
                    match report {
                        Some(TargetReport::Done(outcome)) => self.lane.complete(at, Verdict::Done(outcome), now),
                        Some(TargetReport::NotOwner) if !receipt.again => moved.push((leg, uid)),
                        Some(TargetReport::NotOwner) => {
                            self.lane.complete(at, Verdict::Failed(Failure::NotOwner), now);
                        }
                        None => self.lane.complete(at, Verdict::Failed(Failure::Unknown), now),
                    }
                }
                if moved.is_empty() {
                    return None;
                }
                self.context.record(&Event::Rerouted { message_id: receipt.message.id.clone() });
                Some(Job { entry_id, message: receipt.message, aim: Aim::Users { legs: moved, of } })
            }
            (ReceiptLegs::Fan, Report::Count { offered, slow }) => {
                self.lane.answered(entry_id, node.incarnation, Answer::Count { offered, slow }, now);
                None
            }
            (legs, _) => {
                let receipt = Receipt { legs, ..receipt };
                self.failed(node, &receipt, Failure::Unknown, now);
                None
            }
        }
    }

    fn failed(&mut self, node: &NodeRef, receipt: &Receipt, failure: Failure, now: Now) {
        self.all_end_as(node, receipt, Verdict::Failed(failure), Answer::Failed(failure), now);
    }

    fn postponed(&mut self, node: &NodeRef, receipt: &Receipt, now: Now) {
        self.all_end_as(node, receipt, Verdict::Postponed, Answer::Postponed, now);
    }

    fn all_end_as(&mut self, node: &NodeRef, receipt: &Receipt, verdict: Verdict, answer: Answer, now: Now) {
        let entry_id = receipt.entry_id;
        match &receipt.legs {
            ReceiptLegs::Users { legs, .. } => {
                for (leg, _) in legs {
                    self.lane.complete(LegId { entry_id, leg: *leg }, verdict, now);
                }
            }
            ReceiptLegs::Fan => self.lane.answered(entry_id, node.incarnation, answer, now),
        }
    }
}

fn legs_of(job: &Job) -> Vec<LegId> {
    let entry_id = job.entry_id;
    match &job.aim {
        Aim::Users { legs, .. } => legs.iter().map(|(leg, _)| LegId { entry_id, leg: *leg }).collect(),
        Aim::Groups { .. } | Aim::All { .. } => vec![LegId { entry_id, leg: 0 }],
    }
}

fn describe(error: &dyn std::fmt::Display, cause: Option<&(dyn std::error::Error + Send + Sync)>) -> Box<str> {
    match cause {
        Some(cause) => format!("{error}: {cause}").into(),
        None => error.to_string().into(),
    }
}
