//! What is written down about messages and users, for those who ask later: receipts, journeys, presence.
//!
//! Owns the port [`Ledger`] and what passes through it. A *receipt* is an outcome of a message for a target, written before
//! the entry is settled; a *hop* is a step of a message's journey, written when there is time; *presence* is who came and
//! went, with the fence that tells which of two is newer. All of it is bounded, the oldest goes first.

mod counts;
mod fields;
pub mod local;
mod redis;
mod steps;

use std::time::Duration;

use async_trait::async_trait;
use gim_proto::{EntryId, Fence, MessageId, NodeId, SessionId, Uid};
use serde::Serialize;

pub use self::counts::Written;
pub use self::redis::RedisLedger;
pub use self::steps::{Step, steps};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerBounds {
    /// Receipts.
    pub receipts: u64,
    /// Users that came or went.
    pub presence: u64,
    /// Steps of one journey. Beyond it, later ones are not written.
    pub hops: usize,
    /// How long a journey is kept after its last step.
    pub journey: Duration,
}

impl Default for LedgerBounds {
    fn default() -> Self {
        Self { receipts: 1_000_000, presence: 1_000_000, hops: 1_000, journey: Duration::from_hours(1) }
    }
}

/// An outcome of a message for a target (docs/wire.md, section 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The message.
    pub id: MessageId,
    /// A uid, a tgid, or `all`.
    pub target: Box<str>,
    /// What became of it.
    pub state: ReceiptState,
    /// More about it, in one word or for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// The process that knows.
    pub node: Box<str>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// What became of a message for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptState {
    /// It is in the mailbox.
    Stored,
    /// The kernel has its bytes.
    Written,
    /// The client said that it has it.
    Acked,
    /// The user was not connected.
    Offline,
    /// Its time had passed.
    Expired,
    /// The client read too slowly.
    Slow,
    /// The user is not in the group.
    NotMember,
    /// Another message with its id was accepted before.
    Duplicate,
    /// It left its mailbox before it was acknowledged: the reason is `full` or `expired`.
    Trimmed,
    /// It was taken back.
    Cancelled,
    /// It became a dead letter.
    Dead,
}

impl ReceiptState {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Written => "written",
            Self::Acked => "acked",
            Self::Offline => "offline",
            Self::Expired => "expired",
            Self::Slow => "slow",
            Self::NotMember => "not_member",
            Self::Duplicate => "duplicate",
            Self::Trimmed => "trimmed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}

/// One step of a message's journey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The message.
    pub id: MessageId,
    /// What happened, in one word: `accepted`, `read`, `later`, `stored`, `routed`, `offered`, `written`, `acked`, `retry`,
    /// `settled`, `dead`, or a receipt's state.
    pub hop: Box<str>,
    /// To whom, where it is about one target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<str>>,
    /// More about it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// The process it happened in.
    pub node: Box<str>,
    /// When, microseconds since 1970 on that process's clock.
    pub at_us: u64,
}

/// A user that came or went (docs/wire.md, section 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// The user.
    pub uid: Uid,
    /// Whether the user is there from then on.
    pub is_online: bool,
    /// Number of the ownership. News with a lower one than known are old; of the same those with the later time count, and
    /// of these `offline`.
    pub fence: Fence,
    /// The node.
    pub node: NodeId,
    /// The session.
    pub session: SessionId,
    /// Why, in one word: `login`, `closed`, `node_lost`, `returned` (its node was taken for dead, or Redis had lost it).
    pub reason: Box<str>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// A stream of the ledger that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Outcomes.
    Receipts,
    /// Users that come and go.
    Presence,
}

/// Something written down, as it is on the wire: names and values in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its place.
    pub id: EntryId,
    /// Names and values.
    pub fields: Vec<(Box<str>, Box<str>)>,
}

/// Why the ledger did not answer.
#[derive(Debug, thiserror::Error)]
#[error("ledger: {kind:?}")]
pub struct LedgerError {
    /// What went wrong, for decisions.
    pub kind: LedgerErrorKind,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a call of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerErrorKind {
    /// The store cannot be reached, or has no room.
    Unavailable,
    /// No answer within the deadline. It may be written.
    Timeout,
}

/// See the module.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Writes receipts. They are kept when this is answered; repeated after an error, some may be there twice.
    async fn receipts(&self, receipts: &[Receipt]) -> Result<(), LedgerError>;

    /// Writes steps of journeys when there is time. Never waits; what is too much is dropped, and counted.
    fn note(&self, hops: Vec<Hop>);

    /// Counts steps that were dropped.
    fn dropped(&self) -> u64;

    /// Tells what was written since the process started. A ledger that counts nothing else tells what was dropped.
    fn written(&self) -> Written {
        Written { dropped: self.dropped(), ..Written::default() }
    }

    /// Writes who came or went. Kept when this is answered.
    async fn presence(&self, news: &[Presence]) -> Result<(), LedgerError>;

    /// Tells the journey of a message, in the order of time. Empty: nothing is known of it, any more or yet.
    async fn journey(&self, id: &MessageId) -> Result<Vec<Hop>, LedgerError>;

    /// Reads a log after a place, oldest first, at most `limit`.
    async fn read(&self, log: Log, after: Option<EntryId>, limit: usize) -> Result<Vec<Noted>, LedgerError>;
}

impl From<LedgerErrorKind> for LedgerError {
    fn from(kind: LedgerErrorKind) -> Self {
        Self { kind, source: None }
    }
}
