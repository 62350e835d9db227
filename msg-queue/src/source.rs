//! Where a lane's entries come from and go back to when they are settled: the port [`Source`].
//!
//! Owns the types on both sides of it. Adapters turn them into memory ([`crate::local`]) or streams; none of them decides
//! anything about a message: that is the lane's.

use std::sync::Arc;

use async_trait::async_trait;
use gim_proto::{DeadReason, Entry, EntryId, Incarnation, Malformed, MessageId, Uid};

use crate::clock::Clock;

/// An entry as it is read.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where it was accepted. Stays the same through waits and redrives, unique among what is not settled.
    pub entry_id: EntryId,
    /// The producer's id, or `<lane>-<entry id>`.
    pub message_id: MessageId,
    /// Bytes it counts for in the lane's window.
    pub size: usize,
    /// How often it was tried before, 0 the first time.
    pub attempts: u32,
    /// What of it is still to be done. None: everything.
    pub rest: Option<Rest>,
    /// Another entry with this id was accepted within the idempotency window.
    pub duplicate: bool,
    /// What is to be delivered.
    pub body: Result<Entry, Malformed>,
}

/// What of an entry is still to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Only these of its users.
    Users(Vec<Uid>),
    /// All nodes but these runs of nodes. For groups and `all`.
    NodesBut(Vec<Incarnation>),
}

/// What becomes of an entry. Final for the source: it forgets the entry, puts it aside, or buries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Every target has its outcome.
    Ack,
    /// It comes again at its time, under its origin id. Entries with the same due time come in the order of their ids.
    Later {
        /// When, Unix milliseconds.
        due_ms: u64,
        /// How often it was tried.
        attempts: u32,
        /// What is still to be done.
        rest: Option<Rest>,
    },
    /// It becomes a dead letter.
    Dead(Box<Death>),
}

/// Why and how an entry died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Why, in one word.
    pub reason: DeadReason,
    /// How often it was tried, the last time included.
    pub attempts: u32,
    /// What went wrong last, for people.
    pub error: Box<str>,
    /// The targets that did not get it: uids, tgids or `all`. Empty: not one of them is known.
    pub failed_targets: Vec<Box<str>>,
    /// What a redrive has to do.
    pub rest: Option<Rest>,
}

/// How much a lane takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Entries, at least 1.
    pub entries: usize,
    /// Bytes. One entry is read however large it is.
    pub bytes: usize,
}

/// What a source still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Entries due and not read.
    pub unread: u64,
    /// Entries that wait for their time.
    pub scheduled: u64,
}

/// Why a source did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("source: {kind:?}")]
pub struct SourceError {
    /// What went wrong, for decisions.
    pub kind: SourceErrorKind,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The store cannot be reached. The lane waits and counts no attempt.
    Unavailable,
    /// No answer in time. The call may have taken effect.
    Timeout,
    /// Somebody else owns the lane by now: this worker has to leave it alone.
    Lost,
    /// What was found there is not what this version writes.
    Corrupt,
    /// The store is another run than the one that is named: what was written to that one may be lost.
    Replaced,
}

/// One lane's entries, for its one reader.
///
/// The worker has one `fetch` and one `settle` on their way at a time, side by side. It never drops a `fetch` that has
/// begun, because an adapter may lose what the store had already handed out; only the end of the process, or a panic
/// with a [`rewind`](Source::rewind) after it, does. At shutdown it begins no further one, unless what is unread would be lost with the process
/// ([`keeps_unread`](Source::keeps_unread)).
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The lane, counted from 0.
    fn lane(&self) -> u16;

    /// Number of the lane's ownership, rising from owner to owner.
    fn term(&self) -> u64;

    /// The clock that due times and ttl of its entries count in.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Tells, without asking anybody, whether the lane is this owner's for long enough to send a batch. If not, nothing is
    /// sent before [`confirm`](Source::confirm) has said so.
    fn is_owned(&self) -> bool {
        true
    }

    /// Makes sure that the lane is this owner's, as far as that can be found out now.
    async fn confirm(&self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Takes note that somebody else may own the lane: a node has heard of a higher term.
    fn doubt(&self) {}

    /// Tells whether everything that earlier owners, or this one before a [`rewind`](Source::rewind), may have tried and
    /// not settled has been read again. Until then nobody may forget an outcome.
    fn has_caught_up(&self) -> bool {
        true
    }

    /// Reads entries in order, those first whose time has come. Waits until there is one, or for a time of the
    /// adapter's choice; then, and after [`stop_waiting`](Source::stop_waiting), the answer may be empty.
    async fn fetch(&self, room: Room) -> Result<Vec<Fetched>, SourceError>;

    /// Settles entries. Repeating a batch has no effect on those that were settled before.
    async fn settle(&self, batch: &[(EntryId, Settlement)]) -> Result<(), SourceError>;

    /// Counts the runs of the store that were noticed. What was written under one number may be lost under the next.
    fn run(&self) -> u64 {
        0
    }

    /// Settles entries as [`settle`](Source::settle) does, if the store is still the run of that number: of what was written
    /// under it before, no settlement outlives what it is of. Otherwise nothing is settled, and it is `Replaced`.
    async fn settle_in(&self, run: u64, batch: &[(EntryId, Settlement)]) -> Result<(), SourceError> {
        if self.run() == run { self.settle(batch).await } else { Err(SourceErrorKind::Replaced.into()) }
    }

    /// Has what the store holds as handed out, and the worker does not know of, read again, before anything that is new. Until
    /// then it has not [caught up](Source::has_caught_up).
    fn look_again(&self) {}

    /// Makes everything read and not settled come again, in order, each counted as one more attempt; in between what was
    /// put aside, because others may have been held back behind it. Returns how many. No `fetch` is on its way.
    async fn rewind(&self) -> Result<usize, SourceError>;

    /// Ends the wait of a `fetch` and lets no later one wait.
    fn stop_waiting(&self);

    /// Tells whether entries that were not read survive this process. If not, a worker reads on until there are none.
    fn keeps_unread(&self) -> bool;

    /// Counts what is left.
    fn backlog(&self) -> Backlog;
}

impl From<SourceErrorKind> for SourceError {
    fn from(kind: SourceErrorKind) -> Self {
        Self { kind, source: None }
    }
}
