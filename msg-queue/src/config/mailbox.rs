//! Section `mailbox`: how much is kept of each user's durable messages.

use std::time::Duration;

use gim_proxy_sdk::mailbox::MailboxBounds;
use serde::{Deserialize, Serialize};

use super::duration;
use super::invalid::{Invalid, span_within, within};
use super::size::ByteSize;

const DAY: Duration = Duration::from_hours(24);

/// Durable messages, and last values of class `latest`. All bounds but the last are per user, or per group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailboxSection {
    /// Messages not acknowledged. At the bound the oldest go, announced to the client as a gap.
    pub messages: usize,
    /// Bytes of their payloads. At the bound the oldest go, announced as a gap.
    pub bytes: ByteSize,
    /// How long a message is kept. Then it goes, announced as a gap.
    #[serde(with = "duration")]
    pub age: Duration,
    /// Durable members of a group. At the bound nobody joins durably.
    pub durable_members: usize,
    /// Keys of class `latest` kept for newcomers. At the bound the one not written for longest goes.
    pub latest_keys: usize,
    /// Bytes of all mailboxes together in mode `local`, where they are in memory: payloads, and 256 more per message. At the
    /// bound nothing durable is delivered until clients have acknowledged; it waits in the queue.
    pub total_bytes: ByteSize,
}

impl Default for MailboxSection {
    fn default() -> Self {
        let MailboxBounds { messages, bytes: _, age, latest_keys } = MailboxBounds::default();
        let total_bytes = ByteSize::mib(1 << 10);
        Self { messages, bytes: ByteSize::mib(4), age, durable_members: 100_000, latest_keys, total_bytes }
    }
}

impl MailboxSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("mailbox.messages", self.messages, 1..=1_000_000)?;
        within("mailbox.bytes", self.bytes, ByteSize::mib(1)..=ByteSize::mib(1 << 10))?;
        span_within("mailbox.age", self.age, Duration::from_secs(1)..=DAY * 365)?;
        within("mailbox.durable_members", self.durable_members, 1..=10_000_000)?;
        within("mailbox.latest_keys", self.latest_keys, 1..=10_000)?;
        within("mailbox.total_bytes", self.total_bytes, ByteSize::mib(1)..=ByteSize::mib(1 << 20))
    }

    /// Tells the bounds.
    #[must_use]
    pub fn bounds(&self) -> MailboxBounds {
        let Self { messages, bytes, age, latest_keys, .. } = self;
        MailboxBounds { messages: *messages, bytes: bytes.as_usize(), age: *age, latest_keys: *latest_keys }
    }
}
