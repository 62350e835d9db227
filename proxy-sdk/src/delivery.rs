//! What travels from a worker to a node and back: messages with their recipients, and one outcome per target.
//!
//! Owns the types alone. Who routes is the worker, who offers is the node.

mod rest;

pub use self::rest::Rest;

use crate::mailbox::Position;
use bytes::Bytes;
use gim_proto::{Class, EntryId, Fence, MessageId, Payload, SessionId, Tgid, Uid};
use smallvec::SmallVec;
use std::sync::Arc;

/// A message as a node delivers it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Minted once, in every log line of its road.
    pub id: MessageId,
    /// How it is treated when it cannot be written at once.
    pub class: Class,
    /// Collapse key of class `latest`.
    pub key: Option<Arc<str>>,
    /// What the client gets.
    pub payload: Payload,
    /// Users that do not get it.
    pub except: Vec<Uid>,
    /// When it is not worth delivering any more, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Its outcomes are written to the receipts.
    pub receipt: bool,
    /// Its steps are written down.
    pub traced: bool,
}

/// Sessions a message is addressed to. One, as a rule, needs no memory of its own.
pub type Sessions = SmallVec<[Addressed; 1]>;

/// One answer per addressed session. A few need no memory of their own.
pub type TargetReports = SmallVec<[TargetReport; 8]>;

/// To whom a node delivers a message.
#[derive(Clone, Debug)]
pub enum Recipients {
    /// These sessions and no others of the same users.
    Sessions(Sessions),
    /// These sessions, whose users' mailboxes have it already.
    Stored {
        /// The sessions.
        to: Sessions,
        /// Where it is in the mailbox of each, in the same order.
        at: Vec<Position>,
    },
    /// One session, only if it is a member of one of these groups.
    Member {
        /// The session.
        to: Addressed,
        /// The groups, one of which it must be in.
        of: Vec<Tgid>,
    },
    /// Every session of this node that is in one of these groups, each once.
    Groups(Vec<Tgid>),
    /// Every session of this node.
    All,
}

impl Recipients {
    /// Names the addressed sessions, in order. Groups and all address none.
    #[must_use]
    pub fn addressed(&self) -> &[Addressed] {
        match self {
            Self::Sessions(all) | Self::Stored { to: all, .. } => all,
            Self::Member { to, .. } => std::slice::from_ref(to),
            Self::Groups(_) | Self::All => &[],
        }
    }
}

/// A user's session, as the directory named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// The user.
    pub uid: Uid,
    /// The session that owned the uid when it was looked up.
    pub session: SessionId,
    /// Its fence. A session accepts only its own.
    pub fence: Fence,
}

/// One message on its way to one node.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The entry it comes from, by which a node knows repeats. None: a direct send.
    pub entry: Option<EntryId>,
    /// What.
    pub message: Arc<Message>,
    /// To whom.
    pub to: Recipients,
}

/// Deliveries to one node, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The lane they come from. None: direct sends, past the queue.
    pub lane: Option<LaneOrigin>,
    /// In the order of the lane.
    pub deliveries: Vec<Delivery>,
}

/// The lane a batch comes from, as its owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneOrigin {
    /// The lane, counted from 0.
    pub lane: u16,
    /// Number of the lane's ownership. A node refuses one below the highest it has seen.
    pub term: u64,
    /// The lowest entry of the lane that may come again. None: none before those of the batch.
    pub low_water: Option<EntryId>,
}

/// What became of a message for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The session's outbox took it. For a group: at least one session's did.
    Offered,
    /// The user is not connected. For a group: nobody there is.
    Offline,
    /// The user is connected and not in the group named.
    NotMember,
    /// Its time had passed.
    Expired,
    /// A message with this id was accepted before.
    Duplicate,
    /// The client reads too slowly: the message was dropped.
    Slow,
    /// Class `durable`: it is in the mailbox of the user, who gets it. For a group: in that of at least one member.
    Stored,
}

impl Outcome {
    /// The word used in metrics, logs and receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Offline => "offline",
            Self::NotMember => "not_member",
            Self::Expired => "expired",
            Self::Duplicate => "duplicate",
            Self::Slow => "slow",
            Self::Stored => "stored",
        }
    }
}

/// What a node answers for one addressed session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetReport {
    /// Final.
    Done(Outcome),
    /// This node does not hold that session under that fence: look up again.
    NotOwner,
}

/// What a node answers for one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// One answer per addressed session, in the order of [`Recipients::addressed`].
    Targets(TargetReports),
    /// How many sessions took it and how many were too slow ([`Recipients::Groups`], [`Recipients::All`]).
    Count {
        /// Outboxes that took it.
        offered: u64,
        /// Sessions that dropped it.
        slow: u64,
    },
}

/// What one send had for an outcome, for callers that send directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id.
    pub id: MessageId,
    /// What became of it.
    pub outcome: Outcome,
    /// Sessions whose outbox took it.
    pub sessions: u64,
}

/// A body to send: what a client sees in its frame.
#[derive(Clone, Debug)]
pub enum Body {
    /// A JSON object, put into the response envelope as `a`.
    Response(Bytes),
    /// Bytes delivered as they are.
    Raw(Bytes),
}
