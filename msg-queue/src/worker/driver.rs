//! Carries out what one lane decides: keeps one read, one settlement, one look-up and one batch per node on their way.
//!
//! Owns what is on its way and when the next step may begin. What the answers are to the lane is told by [`answers`] and
//! [`reports`]. Sends nothing that is not preceded, immediately, by a look whether the lane is still this worker's.

mod anew;
mod answers;
mod noted;
mod reports;
mod told;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use gim_proto::EntryId;
use gim_proxy_sdk::delivery::{Batch, LaneOrigin, Report};
use gim_proxy_sdk::directory::NodeRef;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use self::anew::Anew;
use self::noted::Noted;
use super::handle::Lane as Context;
use super::pause::Pause;
use super::pipes::Pipes;
use super::settling::{Batch as SettleBatch, Settling, Unsettled};
use crate::backoff::Jitter;
use crate::deliver::DeliverError;
use crate::lane::{Job, Lane, Now};
use crate::observe::Event;
use crate::route::{Ground, Parcels, Receipt, RouteError, Routed, route};
use crate::source::{Fetched, Room, SourceError};

/// Targets routed at once, at most, unless one message has more. More would let an urgent message wait behind them.
const ROUND: usize = 1_000;
/// Entries and reports taken up one behind the other, at most, before others on this thread get their turn.
const IN_A_ROW: usize = 128;
/// A lane that waits for nothing at all looks around after this time.
const LOOK: Duration = Duration::from_secs(1);

/// What became of a batch.
enum Sent {
    Answered(Result<Vec<Report>, DeliverError>),
    /// Nothing: the lane may be somebody else's.
    NotOwned,
}

/// Something that was on its way and is answered.
enum Done {
    Fetched { draining: bool, most: usize, result: Result<Vec<Fetched>, SourceError> },
    Confirmed { result: Result<(), SourceError> },
    Settled { batch: SettleBatch, result: Result<(), Unsettled> },
    Routed { jobs: Vec<Job>, again: bool, result: Result<Routed, RouteError> },
    Delivered { node: NodeRef, batch: Arc<Batch>, receipts: Vec<Receipt>, result: Sent },
}

impl Done {
    /// How much there is to be taken up.
    fn weight(&self) -> usize {
        match self {
            Self::Fetched { result: Ok(entries), .. } => entries.len().max(1),
            Self::Delivered { receipts, .. } => receipts.len().max(1),
            // Steps that are always followed by one of the others.
            Self::Routed { result: Ok(_), .. } | Self::Settled { result: Ok(()), .. } => 0,
            Self::Fetched { .. } | Self::Confirmed { .. } | Self::Settled { .. } | Self::Routed { .. } => 1,
        }
    }
}

pub(super) struct Driver {
    context: Arc<Context>,
    lane: Lane,
    pipes: Pipes,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    started: Instant,
    jitter: Jitter,
    fetching: bool,
    confirming: bool,
    routing: bool,
    settling: Settling,
    noted: Noted,
    read_pause: Pause,
    own_pause: Pause,
    store_pause: Pause,
    route_pause: Pause,
    settle_pause: Pause,
    drain: watch::Receiver<bool>,
    draining: bool,
    /// Nothing is left to be read.
    read_all: bool,
    /// The lane belongs to somebody else.
    lost: bool,
    /// Entries to take one at a time.
    one_by_one: usize,
    /// What was stored for, under which run of the store.
    anew: Anew,
    /// The last read found so much that there is more.
    backlog: bool,
    /// Taken up since others had their turn.
    in_a_row: usize,
}

impl Driver {
    pub(super) fn new(context: Arc<Context>, drain: watch::Receiver<bool>, one_by_one: usize) -> Self {
        Self {
            lane: Lane::new(context.limits.clone(), Jitter::random()),
            anew: Anew::of(context.source.run()),
            context,
            pipes: Pipes::default(),
            work: FuturesUnordered::new(),
            started: Instant::now(),
            jitter: Jitter::random(),
            fetching: false,
            confirming: false,
            routing: false,
            settling: Settling::default(),
            noted: Noted::default(),
            read_pause: Pause::default(),
            own_pause: Pause::default(),
            store_pause: Pause::default(),
            route_pause: Pause::default(),
            settle_pause: Pause::default(),
            drain,
            draining: false,
            read_all: false,
            lost: false,
            one_by_one,
            backlog: true,
            in_a_row: 0,
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
        if self.holds_back() {
            match self.work.next().now_or_never().flatten() {
                Some(done) => return self.take_up(done).await,
                None => self.begin_to_read(turn),
            }
        }
        let wake = self.next_wake(turn);
        let done = tokio::select! {
            biased;
            Some(done) = self.work.next() => done,
            // An error means that the handle is gone and this task with it.
            _ = self.drain.changed(), if !self.draining => return,
            () = sleep_until(wake.unwrap_or(self.started)), if wake.is_some() => return,
        };
        self.take_up(done).await;
    }

    async fn take_up(&mut self, done: Done) {
        self.in_a_row += done.weight();
        self.take(done);
        if self.in_a_row >= IN_A_ROW {
            self.in_a_row = 0;
            // In one process every answer is there at once: others on this thread get their turn. Not after each, because
            // then the thread looks for IO, too, which costs as much as a few messages.
            tokio::task::yield_now().await;
        }
    }

    /// Whether the next read waits for what the last one has found to be delivered, as long as that waits for nobody: its
    /// settlement goes in one write with the read then, and what has come up meanwhile comes in one answer. With a backlog
    /// it is better to read ahead.
    fn holds_back(&self) -> bool {
        !self.fetching && !self.backlog && (self.routing || !self.pipes.is_idle())
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
        let settled = self.lane.messages() == 0 && self.settling.is_empty() && self.anew.is_settled();
        self.lost || (self.draining && self.read_all && settled && self.work.is_empty() && self.pipes.is_idle())
    }

    fn next_wake(&self, turn: Instant) -> Option<Instant> {
        let retry = self.lane.next_retry_ms().map(|at| self.started + Duration::from_millis(at));
        let pauses = [&self.read_pause, &self.own_pause, &self.store_pause, &self.route_pause, &self.settle_pause];
        let pauses = pauses.into_iter().filter(|pause| pause.is_on(turn)).filter_map(Pause::until);
        // A retry that is due and cannot go yet is taken up when an answer comes in.
        let wake = pauses.chain(retry.filter(|at| *at > turn)).chain(self.pipes.may_flow_at(turn)).min();
        wake.or_else(|| self.work.is_empty().then(|| turn + LOOK))
    }

    fn tell(&mut self) {
        for event in self.lane.drain_events() {
            self.context.record(&event);
        }
        self.note_marks();
        let unsettled = self.lane.messages() + self.settling.len();
        if unsettled == 0 {
            self.noted.forget();
        }
        if self.context.unsettled.swap(unsettled, Ordering::Relaxed) != unsettled {
            self.context.record(&Event::Window { messages: unsettled, bytes: self.lane.bytes() });
        }
    }

    /// Begins every step that can begin.
    fn advance(&mut self, turn: Instant) {
        if self.lost {
            return;
        }
        self.begin_anew_if_replaced(turn);
        self.begin_round(turn);
        self.begin_to_settle(turn);
        if !self.holds_back() {
            self.begin_to_read(turn);
        }
    }

    fn begin_to_read(&mut self, turn: Instant) {
        if self.fetching || self.read_all || self.read_pause.is_on(turn) || self.settle_pause.is_on(turn) {
            return;
        }
        let Some(room) = self.room() else { return };
        self.fetching = true;
        let source = Arc::clone(&self.context.source);
        let (draining, most) = (self.draining, room.entries);
        let fetch = async move { Done::Fetched { draining, most, result: source.fetch(room).await } };
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
        let receipts = self.receipts();
        self.settling.add(self.lane.take_settlements(), receipts);
        if self.settle_pause.is_on(turn) || self.anew.is_replaced() {
            return;
        }
        let Some(mut batch) = self.settling.begin() else { return };
        let run = self.anew.run_of(&batch.settled);
        let (source, ledger) = (Arc::clone(&self.context.source), Arc::clone(&self.context.ledger));
        let settle = async move {
            let result = batch.carry_out(&*ledger, &*source, run).await;
            Done::Settled { batch, result }
        };
        self.work.push(Box::pin(settle));
    }

    fn begin_round(&mut self, turn: Instant) {
        // Nothing is routed before it can be delivered, nor as long as too much is untold of what went for it.
        let pauses = [&self.own_pause, &self.store_pause, &self.route_pause];
        let paused =
            pauses.into_iter().any(|pause| pause.is_on(turn)) || !self.pipes.may_flow(turn) || self.settling.is_full();
        if self.routing || self.confirming || paused || self.anew.is_replaced() {
            return;
        }
        let now = self.at(turn);
        if !self.lane.has_ready(now) {
            return;
        }
        if !self.context.source.is_owned() {
            return self.begin_to_confirm();
        }
        while self.lane.has_ready(now) {
            let jobs = self.lane.take_ready(now, ROUND);
            if !jobs.is_empty() {
                self.routing = true;
                return self.begin_to_route(jobs, false);
            }
        }
    }

    fn begin_to_confirm(&mut self) {
        self.confirming = true;
        let source = Arc::clone(&self.context.source);
        self.work.push(Box::pin(async move { Done::Confirmed { result: source.confirm().await } }));
    }

    fn begin_to_route(&mut self, jobs: Vec<Job>, again: bool) {
        let (context, origin) = (Arc::clone(&self.context), self.origin());
        let routing = async move {
            let (directory, mailboxes, source) = (&*context.directory, &*context.mailboxes, &*context.source);
            let result = route(&Ground { directory, mailboxes, source, origin }, &jobs, again).await;
            Done::Routed { jobs, again, result }
        };
        self.work.push(Box::pin(routing));
    }

    fn begin_to_deliver(&mut self, node: NodeRef, parcels: Parcels) {
        let Parcels { deliveries, receipts } = parcels;
        debug_assert_eq!(deliveries.len(), receipts.len());
        self.note_routed(&node, &deliveries);
        let batch = Arc::new(Batch { lane: Some(self.origin()), deliveries });
        let (source, deliver) = (Arc::clone(&self.context.source), Arc::clone(&self.context.deliver));
        let delivery = async move {
            // Looked at only now: the process may have stood still since the batch was made.
            let result = match source.is_owned() {
                true => Sent::Answered(deliver.deliver(&node, &batch).await),
                false => Sent::NotOwned,
            };
            Done::Delivered { node, batch, receipts, result }
        };
        self.work.push(Box::pin(delivery));
    }

    fn origin(&self) -> LaneOrigin {
        let source = &self.context.source;
        LaneOrigin { lane: source.lane(), term: source.term(), low_water: self.low_water() }
    }

    /// Names the lowest entry that may be sent again, by this owner or the next.
    fn low_water(&self) -> Option<EntryId> {
        if !self.context.source.has_caught_up() {
            return Some(EntryId::default());
        }
        [self.lane.low_water(), self.settling.lowest(), self.anew.lowest()].into_iter().flatten().min()
    }
}
