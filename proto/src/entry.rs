//! Queue entries: what a producer puts on the queue and a worker takes from it.
//!
//! Owns the fields, their JSON form and every rule an entry must keep. A value of [`Entry`] has passed them all, so that
//! nobody behind the decoder checks again. Never reads a clock: what depends on the time is asked with it.

mod decode;
mod fields;
mod json;
mod known;
mod malformed;
mod payload;
mod target;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::names::{MessageId, Uid};

pub use fields::Fields;
pub use malformed::{DeadReason, Malformed, MalformedKind};
pub use payload::MAX_DEPTH;
pub use target::Target;

/// Bytes of names and values of one entry, at most.
pub const MAX_ENTRY_BYTES: usize = 262_144;
/// Users or groups one entry names, at most.
pub const MAX_TARGETS: usize = 10_000;
/// How far ahead an entry may be scheduled.
pub const MAX_SCHEDULE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A queue entry that keeps every rule of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// To whom.
    pub target: Target,
    /// Not to these users.
    pub except: Vec<Uid>,
    /// What the client gets.
    pub payload: Payload,
    /// The producer's idempotency key, which becomes the message id.
    pub id: Option<MessageId>,
    /// What happens when it cannot be written at once.
    pub class: Class,
    /// Collapse key: always there in class `latest`. 1 to 128 bytes without control characters.
    pub key: Option<Arc<str>>,
    /// How long it is worth delivering, counted from its id or from `deliver_at_ms`.
    pub ttl: Option<Duration>,
    /// Not before this time, Unix milliseconds.
    pub deliver_at_ms: Option<u64>,
    /// Which of two targets' messages goes first.
    pub priority: Priority,
    /// Whether outcomes are written to the receipts.
    pub receipt: bool,
    /// W3C trace context.
    pub traceparent: Option<Arc<str>>,
}

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Compact JSON, the `a` of the response envelope. Always an object.
    Json(Bytes),
    /// Bytes delivered as they are.
    Raw(Bytes),
}

/// What happens to a message that cannot be written at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// It is dropped, with an outcome.
    #[default]
    Live,
    /// The last value per collapse key is kept.
    Latest,
    /// It is kept until the client has acknowledged it.
    Durable,
}

impl Class {
    /// Tells the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Latest => "latest",
            Self::Durable => "durable",
        }
    }
}

/// Which of two messages to different targets goes first. Never reorders one target's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After the others.
    Low,
    /// As they come.
    #[default]
    Normal,
    /// Before the others.
    High,
}

impl Priority {
    /// Tells the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

impl Entry {
    /// Whether its steps are written down: its producer wants receipts, or samples its trace (W3C trace context, flag 01).
    #[must_use]
    pub fn is_traced(&self) -> bool {
        let flags = self.traceparent.as_deref().and_then(|parent| parent.rsplit('-').next());
        let flags = flags.and_then(|flags| u8::from_str_radix(flags, 16).ok());
        self.receipt || flags.is_some_and(|flags| flags & 1 == 1)
    }

    /// Checks that the entry is not scheduled too far ahead of `now_ms`, Unix milliseconds.
    ///
    /// # Errors
    /// `deliver_at_ms` is more than [`MAX_SCHEDULE`] ahead.
    pub fn check_schedule(&self, now_ms: u64) -> Result<(), Malformed> {
        let ahead = Duration::from_millis(self.deliver_at_ms.unwrap_or(0).saturating_sub(now_ms));
        if ahead > MAX_SCHEDULE {
            return Err(Malformed::new("deliver_at_ms", MalformedKind::OutOfRange, "is more than 30 days ahead"));
        }
        Ok(())
    }
}
