//! What producers and operators ask of the queue: enqueue, lag, dead letters.
//!
//! Owns the port and its types, shared by nodes, workers and the `gim` command. Never reads a lane: that is the worker's.

mod fault;
mod lanes;
mod per_lane;
mod redis;

use async_trait::async_trait;
use gim_proto::{EntryId, Fields, MessageId};
use serde::Serialize;

pub use self::lanes::{LanesError, agree_on_lanes};
pub(crate) use self::per_lane::PerLane;
pub use self::redis::RedisQueue;

/// Lanes of a queue, at most.
pub const MAX_LANES: u16 = 64;

/// Why entries were not accepted, or a question not answered.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct QueueError {
    /// What went wrong, for decisions.
    pub kind: QueueErrorKind,
    /// Which entry of the call it is about, counted from 0.
    pub index: Option<usize>,
    /// Which field of it.
    pub field: Option<Box<str>>,
    /// What is wrong with it, for people.
    pub detail: Box<str>,
}

/// What went wrong with a queue call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueErrorKind {
    /// An entry breaks the wire's rules. Repeating it makes no sense.
    Malformed,
    /// An entry is larger than the bound.
    TooLarge,
    /// The entry is well-formed and asks for something this mode does not do.
    Unsupported,
    /// A bound of the queue is reached. Later there may be room.
    Full,
    /// The queue cannot be reached or is shutting down. Nothing took effect.
    Unavailable,
    /// No answer in time, or only a part of the call was done: it may have taken effect. Repeat it with the same ids.
    Timeout,
    /// No such lane.
    NoSuchLane,
}

impl QueueErrorKind {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Full | Self::Unavailable | Self::Timeout)
    }
}

/// Figures of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LaneStats {
    /// The lane, counted from 0.
    pub lane: u16,
    /// Entries accepted and not yet read by the worker.
    pub lag: u64,
    /// Entries read and not settled.
    pub pending: u64,
    /// Entries that wait for their time.
    pub later: u64,
    /// Dead letters kept.
    pub dead: u64,
    /// Age of the oldest entry that is accepted, due and not settled, in milliseconds. 0: there is none.
    pub oldest_pending_ms: u64,
    /// Entries settled since this process started.
    pub settled: u64,
}

/// An entry that could not be settled otherwise.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its place in the lane's dead letters.
    pub id: EntryId,
    /// The original fields and those that say why (`gim_reason`, `gim_attempts`, ...).
    pub fields: Fields,
}

/// Which dead letters of a lane a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// Those with these ids; ids that are not there are passed over.
    Ids(Vec<EntryId>),
}

/// What became of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was taken back before anybody began to deliver it: these entries, one per lane that had one. Of users of several
    /// lanes, some may have got it nevertheless.
    Done(Vec<Fields>),
    /// It is being delivered, or was.
    TooLate,
    /// Nobody remembers such a message.
    Unknown,
}

impl Cancelled {
    /// Puts the answers of two lanes together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done(mut some), Self::Done(others)) => {
                some.extend(others);
                Self::Done(some)
            }
            (done @ Self::Done(_), _) | (_, done @ Self::Done(_)) => done,
            (Self::TooLate, _) | (_, Self::TooLate) => Self::TooLate,
            (Self::Unknown, Self::Unknown) => Self::Unknown,
        }
    }
}

/// The queue as producers and operators see it.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Accepts all entries or none. Returns their message ids in order; an entry whose id was accepted within the
    /// idempotency window returns that id and has no effect.
    ///
    /// # Errors
    /// Names the first entry and field that is not acceptable.
    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueError>;

    /// Figures of every lane.
    async fn stats(&self) -> Result<Vec<LaneStats>, QueueError>;

    /// Dead letters of a lane after an id, oldest first, at most `limit`.
    async fn dead(&self, lane: u16, after: Option<EntryId>, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Puts dead letters back on the queue under their id, for the targets that failed. Returns how many.
    async fn redrive(&self, lane: u16, which: Selection) -> Result<u64, QueueError>;

    /// Deletes dead letters. Returns how many.
    async fn purge(&self, lane: u16, which: Selection) -> Result<u64, QueueError>;

    /// Takes a message back that nobody has begun to deliver: unread, or scheduled. A producer's id is known for the
    /// idempotency window, that of a scheduled message until its time and the window after it.
    async fn cancel(&self, id: &MessageId) -> Result<Cancelled, QueueError>;
}
