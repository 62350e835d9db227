//! Durable messages: one mailbox per user, appended by workers, read by the session that owns the uid.
//!
//! Owns the port [`Mailboxes`] and what passes through it. A mailbox numbers what it holds: *offsets* count from 1 within an
//! *epoch*, and an epoch ends only when offsets may have been lost. Whoever appends may repeat: a message keeps the offset
//! it got first. Whoever reads is told what is missing, and why. Also the last value per key of class `latest`, which a
//! newcomer is given. Never knows a connection.

pub mod local;
mod page;
pub(crate) mod redis;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gim_proto::frame::{GapReason, MsgType};
use gim_proto::{EntryId, Fence, MessageId, Tgid, Uid};

pub use self::redis::RedisMailboxes;
use crate::delivery::{LaneOrigin, Message};
use crate::store::CrowdedCalls;

/// What a mailbox holds at most. What is beyond goes, the oldest first, and is announced as a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxBounds {
    /// Messages not acknowledged.
    pub messages: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
    /// How long a message is kept. A mailbox nobody touches for this long and a day is forgotten whole.
    pub age: Duration,
    /// Keys of class `latest` per user or group. At the bound the one not written for longest goes.
    pub latest_keys: usize,
}

impl MailboxBounds {
    /// Tells how long a mailbox is kept that nobody touches.
    #[must_use]
    pub fn kept(&self) -> Duration {
        const LONGER: Duration = Duration::from_hours(24);
        self.age + LONGER
    }
}

impl Default for MailboxBounds {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self { messages: 1_000, bytes: 4 << 20, age: DAY * 7, latest_keys: 100 }
    }
}

/// A place in a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Generation of the mailbox. Microseconds since 1970 when it began, or more. Below 2^53.
    pub epoch: u64,
    /// Counts messages from 1. 0: before the first.
    pub offset: u64,
}

/// A message on its way into mailboxes.
#[derive(Clone, Debug)]
pub struct Post {
    /// The entry it comes from, of the lane the call names.
    pub entry: EntryId,
    /// What.
    pub message: Arc<Message>,
    /// How clients see it: as a push to a user or to a group.
    pub kind: MsgType,
    /// To whom, each once.
    pub to: Vec<Uid>,
    /// Only to members of one of these groups, as the directory has it. Empty: no such condition.
    pub of: Arc<[Tgid]>,
}

/// What became of a message at one mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is there, now or since it came before; or it was, and is acknowledged.
    Stored(Position),
    /// The user is in none of the groups named.
    NotMember,
}

/// What appending came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appends {
    /// One answer per user of each message.
    pub answers: Vec<Vec<Appended>>,
    /// Messages of which receipts are wanted that went because a mailbox was full, and whose they were. A repeat names
    /// them again, as long as it is known for one.
    pub trimmed: Vec<(Uid, MessageId)>,
    /// Such messages that are not named, because one append sent more than [`MOST_TOLD`] on their way.
    pub untold: u64,
}

/// Messages that one append names as trimmed, at most.
pub const MOST_TOLD: usize = 1_000;
/// Messages that one look names of which receipts are wanted, at most.
pub const MOST_WANTED: usize = 250;
/// Messages that one sweep names, about: there may be more as soon as it names so many.
pub const MOST_SWEPT: usize = 1_000;

/// A message in a mailbox of which receipts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number.
    pub offset: u64,
    /// Its id.
    pub id: MessageId,
    /// Its time is over: nobody is given it any more.
    pub is_over: bool,
}

/// A message of which receipts are wanted, whose time is over, and which is in its mailbox until somebody has told that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Whose mailbox.
    pub uid: Uid,
    /// Its number there.
    pub offset: u64,
    /// Its id.
    pub id: MessageId,
}

/// As whom a session opens its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It begins behind the last acknowledgement.
    Anew,
    /// The client says what it has: counts as an acknowledgement of it. Where receipts are wanted of any of that, nothing
    /// is acknowledged yet and `acked` is below it: who opens writes them ([`Mailboxes::wanted`]), and acknowledges then.
    Resumes(Position),
    /// The session has written up to here and asks whether the mailbox still has it. Acknowledges nothing.
    Survives(Position),
}

/// A mailbox as a session finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its generation now.
    pub epoch: u64,
    /// The last offset stored. 0: none yet.
    pub last: u64,
    /// The last offset acknowledged. What comes next is sent first.
    pub acked: u64,
    /// What the session or its client had is of no use any more: everything unacknowledged is sent again.
    pub is_reset: bool,
}

/// How much is read at once: at least one message, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBounds {
    /// Messages.
    pub messages: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

/// What follows a position, in order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The generation it is of. Another than asked for: everything begins anew.
    pub epoch: u64,
    /// The last offset stored.
    pub last: u64,
    /// Each offset after the position asked for is a message, in a gap, or acknowledged by then.
    pub items: Vec<Item>,
    /// Offsets and ids of messages whose time is over and of which receipts are wanted, in order. Each is in a gap.
    pub over: Vec<(u64, MessageId)>,
}

/// One thing of a page.
#[derive(Clone, Debug)]
pub enum Item {
    /// A message.
    Letter {
        /// Its number.
        offset: u64,
        /// How clients see it.
        kind: MsgType,
        /// What.
        message: Arc<Message>,
    },
    /// Messages that will not come.
    Gap {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        /// Why.
        reason: GapReason,
    },
}

/// An acknowledgement: of everything up to a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Whose mailbox.
    pub uid: Uid,
    /// The number of the ownership under which it is acknowledged. One that was superseded acknowledges nothing.
    pub fence: Fence,
    /// Up to where.
    pub upto: Position,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// It counts, now or before.
    Done,
    /// The uid is somebody else's by now.
    Superseded,
    /// The mailbox is of another epoch, or never got so far.
    Unknown,
}

/// Who the last value of a key is kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// A user.
    User(Uid),
    /// The members of a group.
    Group(Tgid),
}

/// A message of class `latest` on its way to where newcomers find it. One with a lower entry than what is there changes
/// nothing.
#[derive(Clone, Debug)]
pub struct Value {
    /// The entry it comes from.
    pub entry: EntryId,
    /// What. Has a key.
    pub message: Arc<Message>,
    /// For whom, each once.
    pub scopes: Vec<Scope>,
}

/// Why a mailbox did not answer.
#[derive(Debug, thiserror::Error)]
#[error("mailbox: {kind:?}")]
pub struct MailboxError {
    /// What went wrong, for decisions.
    pub kind: MailboxErrorKind,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a call of a mailbox. Every call may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxErrorKind {
    /// The store cannot be reached, or has no room.
    Unavailable,
    /// No answer within the deadline. The call may have taken effect.
    Timeout,
    /// What was found there is not what this version writes.
    Corrupt,
    /// A later owner of the lane has appended here: whoever asked owns it no more.
    Stale,
}

/// Figures of mailboxes, counted since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailboxStats {
    /// Messages that went because a mailbox was full.
    pub trimmed: u64,
    /// Calls refused because too many waited for an answer.
    pub refused: u64,
    /// Calls that its connection was too crowded for, with those of others who share it.
    pub crowded: CrowdedCalls,
}

/// The mailboxes of all users.
///
/// A call has a deadline of the adapter's. After an error of kind `Timeout` it has taken effect before, or will never, or it
/// is one that may be repeated with no more effect.
#[async_trait]
pub trait Mailboxes: Send + Sync + 'static {
    /// Appends messages of a lane, in order, each to its users' mailboxes. A message that came before, from the same entry,
    /// keeps its offset, as long as that entry is not below the lane's low water.
    async fn append(&self, lane: &LaneOrigin, posts: &[Post]) -> Result<Appends, MailboxError>;

    /// Opens the mailbox of a user for the session that owns the uid under this fence. Makes it where there is none.
    async fn open(&self, uid: &Uid, fence: Fence, arrival: Arrival) -> Result<Opened, MailboxError>;

    /// Reads what follows a position.
    async fn read(&self, uid: &Uid, after: Position, bounds: PageBounds) -> Result<Page, MailboxError>;

    /// Acknowledges. Returns one answer each, in order.
    async fn ack(&self, acks: &[Ack]) -> Result<Vec<Acked>, MailboxError>;

    /// Names the messages up to a position that are not acknowledged and of which receipts are wanted: the first of them, at
    /// most [`MOST_WANTED`]. None of another epoch.
    async fn wanted(&self, uid: &Uid, upto: Position) -> Result<Vec<Wanted>, MailboxError>;

    /// Takes a message out that is not acknowledged. Returns whether it was there. To the reader it is a gap.
    async fn cancel(&self, uid: &Uid, id: &MessageId) -> Result<bool, MailboxError>;

    /// Keeps values for newcomers.
    async fn keep(&self, values: &[Value]) -> Result<(), MailboxError>;

    /// Names the values kept for a newcomer, one per key, oldest first.
    async fn kept(&self, scope: &Scope) -> Result<Vec<Arc<Message>>, MailboxError>;

    /// Forgets what has passed its time, in bounded steps. Called about once a second. What receipts are wanted of it
    /// names first, and forgets it when the next call says that it was `told`; it is named again otherwise.
    async fn sweep(&self, told: &[Overdue]) -> Result<Vec<Overdue>, MailboxError>;

    /// Counts what happened. Nothing, where nobody counts.
    fn stats(&self) -> MailboxStats {
        MailboxStats::default()
    }
}

impl From<MailboxErrorKind> for MailboxError {
    fn from(kind: MailboxErrorKind) -> Self {
        Self { kind, source: None }
    }
}
