//! What happens in queue and worker, told in one place: each event is one log line and its metric together.
//!
//! Owns the list of events ([`Event`]) and who hears of them ([`Observer`]). Message and user ids go into log fields
//! only, never into metric labels. Never decides anything.

mod metrics;
mod settled;

use std::time::Duration;

use gim_proto::{DeadReason, EntryId, MessageId};
use gim_proxy_sdk::Outcome;
use tracing::{debug, error, info, warn};

use crate::deliver::Failure;

pub use self::metrics::WorkerMetrics;
pub use self::settled::CountSettled;

/// Something that happened in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Entries were read.
    Read {
        /// How many.
        entries: usize,
    },
    /// Targets of a message have their outcome.
    Outcome {
        /// The message.
        message_id: MessageId,
        /// What became of it.
        outcome: Outcome,
        /// For how many targets.
        targets: u64,
        /// Since the entry was accepted or due, in milliseconds.
        age_ms: u64,
    },
    /// A node did not hold the session it was named for: the message is looked up again at once.
    Rerouted {
        /// The message.
        message_id: MessageId,
    },
    /// An attempt failed and is repeated.
    Retry {
        /// The message.
        message_id: MessageId,
        /// Why.
        failure: Failure,
        /// How many attempts there were.
        attempts: u32,
        /// When the next one is.
        after: Duration,
    },
    /// A message was put aside until its time.
    Later {
        /// The message.
        message_id: MessageId,
        /// When, Unix milliseconds.
        due_ms: u64,
    },
    /// A message became a dead letter.
    Dead {
        /// The message.
        message_id: MessageId,
        /// Why, in one word.
        reason: DeadReason,
        /// How many attempts there were.
        attempts: u32,
        /// What went wrong last.
        error: Box<str>,
    },
    /// Entries were settled.
    Settled {
        /// How many.
        entries: usize,
    },
    /// What the lane has read and not settled.
    Window {
        /// Messages.
        messages: usize,
        /// Bytes.
        bytes: usize,
    },
    /// A store did not answer, or a node takes nothing right now: what depends on it waits and counts no attempt.
    Paused {
        /// What cannot go on.
        step: Step,
        /// For how long.
        wait: Duration,
        /// Why.
        error: Box<str>,
    },
    /// Somebody else owns the lane: this worker has left it.
    Lost,
    /// This worker owns the lane from now on.
    Taken {
        /// The number of the ownership.
        term: u64,
    },
    /// Another run of the store answers: what the one before accepted last may be lost.
    StoreReplaced {
        /// Since the one before was heard last.
        silent: Duration,
    },
    /// More was read of the lane than the store knows of now: it has lost its last entries.
    LaneBehind {
        /// The highest entry that was read.
        seen: EntryId,
        /// The last that the store has given, as far as it remembers.
        last: EntryId,
    },
    /// Entries that were accepted are gone from the store: trimmed away by others, or lost with its data.
    EntriesGone {
        /// How many.
        entries: u64,
        /// They were never read. Otherwise they were read and not settled.
        unread: bool,
        /// One of them, if it is known.
        first: Option<EntryId>,
    },
    /// A bug ended the lane's task. It starts again with what was not settled.
    Panicked {
        /// What the panic said.
        error: Box<str>,
    },
    /// The oldest dead letters went because there were too many.
    DeadLettersDropped {
        /// How many.
        letters: u64,
    },
    /// Another run of the store answers: durable entries that were stored under the one before begin anew.
    StoredAnew {
        /// How many.
        entries: usize,
    },
    /// Messages that receipts are wanted of were trimmed without any: one append sent too many out of a mailbox.
    ReceiptsUntold {
        /// How many.
        receipts: u64,
    },
    /// Ids of messages were forgotten before their window ended because there were too many.
    IdsForgotten {
        /// How many.
        ids: u64,
    },
    /// Entries were not accepted because a bound was reached.
    Refused {
        /// Which bound: `entries`, `bytes`, `later` or `store`.
        bound: &'static str,
    },
}

/// A step of the worker that depends on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reading entries.
    Read,
    /// Making sure that the lane is this worker's.
    Own,
    /// Putting durable messages into mailboxes and keeping last values.
    Store,
    /// Looking up where users and groups are.
    Route,
    /// Handing batches to a node.
    Deliver,
    /// Settling entries.
    Settle,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 6] = [Self::Read, Self::Own, Self::Store, Self::Route, Self::Deliver, Self::Settle];

    /// The word used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Own => "own",
            Self::Store => "store",
            Self::Route => "route",
            Self::Deliver => "deliver",
            Self::Settle => "settle",
        }
    }
}

/// Who hears of events. Called on the hot path: never waits.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of an event in a lane.
    fn record(&self, lane: u16, event: &Event);
}

/// Takes note of nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn record(&self, _lane: u16, _event: &Event) {}
}

/// Writes every event to the log and counts it.
#[derive(Debug)]
pub struct Telemetry {
    metrics: WorkerMetrics,
}

impl Telemetry {
    /// Takes the metrics to count on.
    #[must_use]
    pub const fn new(metrics: WorkerMetrics) -> Self {
        Self { metrics }
    }
}

impl Observer for Telemetry {
    fn record(&self, lane: u16, event: &Event) {
        log(lane, event);
        self.metrics.count(lane, event);
    }
}

fn log(lane: u16, event: &Event) {
    match event {
        Event::Read { .. } | Event::Settled { .. } | Event::Window { .. } => {}
        Event::Outcome { message_id, outcome, targets, age_ms } => {
            debug!(lane, %message_id, outcome = outcome.as_str(), targets, age_ms, "message has its outcome");
        }
        Event::Rerouted { message_id } => debug!(lane, %message_id, "not the owner, looked up again"),
        Event::Retry { message_id, failure, attempts, after } => {
            debug!(lane, %message_id, reason = failure.as_str(), attempts, ?after, "delivery failed, is retried");
        }
        Event::Later { message_id, due_ms } => debug!(lane, %message_id, due_ms, "put aside until its time"),
        Event::Dead { message_id, reason, attempts, error } => {
            warn!(lane, %message_id, reason = reason.as_str(), attempts, %error, "message is dead");
        }
        Event::Paused { step, wait, error } => {
            warn!(lane, step = step.as_str(), ?wait, %error, "waits, no attempt is counted");
        }
        Event::Lost => warn!(lane, "somebody else owns the lane, left it"),
        Event::Taken { term } => info!(lane, term, "this worker owns the lane"),
        // The one warning about it is the store's own.
        Event::StoreReplaced { silent } => {
            info!(lane, ?silent, "another run of the store answers, what was accepted last may be lost");
        }
        Event::EntriesGone { entries, unread, first } => {
            let first = first.map(tracing::field::display);
            error!(lane, entries, unread, first, "entries are gone from the store without an outcome");
        }
        Event::LaneBehind { seen, last } => {
            error!(lane, %seen, %last, "the store has lost the last entries of the lane: more was read than it knows");
        }
        Event::Panicked { error } => error!(lane, %error, "lane panicked, starts again with what is not settled"),
        Event::DeadLettersDropped { letters } => error!(lane, letters, "dead letters dropped, there are too many"),
        Event::StoredAnew { entries } => {
            warn!(lane, entries, "redis is another run: what was stored and not settled is stored anew");
        }
        Event::ReceiptsUntold { receipts } => {
            warn!(lane, receipts, "one message has sent too many out of a mailbox; some have no receipt");
        }
        Event::IdsForgotten { ids } => info!(lane, ids, "message ids forgotten before their window ended"),
        Event::Refused { bound } => info!(lane, bound, "entries refused, the bound is reached"),
    }
}
