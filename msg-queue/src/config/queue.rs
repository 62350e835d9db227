//! Section `queue`: how much the downstream queue holds.

use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use super::invalid::{Invalid, span_within, within};
use super::size::ByteSize;

const LANES: u16 = 64;
const ENTRIES: u64 = 1_000_000_000;
const DAY: Duration = Duration::from_hours(24);

/// The downstream queue. All bounds are per lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSection {
    /// Number of lanes, 1 to 64. A target always takes the same lane; lanes are worked on side by side.
    pub lanes: NonZeroU16,
    /// Entries waiting in a lane. At the bound an enqueue is refused: HTTP 429, a retryable error for the SDK.
    pub entries: u64,
    /// Bytes of a lane's entries that are not settled, scheduled ones included; dead letters have as many of their own.
    /// At the bound an enqueue is refused with 429, and the oldest dead letters go.
    pub bytes: ByteSize,
    /// Dead letters kept. At the bound the oldest go, counted.
    pub dead_letters: u64,
    /// Scheduled entries waiting for their time. At the bound a scheduled enqueue is refused with 429.
    pub later: u64,
    /// How long a message id is remembered. A repeat within it is answered and not queued again.
    #[serde(with = "duration")]
    pub idempotency_window: Duration,
    /// Message ids remembered. At the bound the oldest are forgotten before their window ends, counted.
    pub idempotency_ids: u64,
    /// How far ahead a message may be scheduled, at most 30 days. Beyond it the message is malformed.
    #[serde(with = "duration")]
    pub schedule_ahead: Duration,
}

impl Default for QueueSection {
    fn default() -> Self {
        Self {
            lanes: NonZeroU16::MIN,
            entries: 5_000_000,
            bytes: ByteSize::mib(1 << 10),
            dead_letters: 100_000,
            later: 1_000_000,
            idempotency_window: Duration::from_mins(10),
            idempotency_ids: 5_000_000,
            schedule_ahead: DAY * 30,
        }
    }
}

impl QueueSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("queue.lanes", self.lanes.get(), 1..=LANES)?;
        within("queue.entries", self.entries, 1..=ENTRIES)?;
        // The largest call must fit, or it would be repeated for ever.
        within("queue.bytes", self.bytes, ByteSize::mib(8)..=ByteSize::mib(1 << 20))?;
        within("queue.dead_letters", self.dead_letters, 1..=ENTRIES)?;
        within("queue.later", self.later, 1..=ENTRIES)?;
        span_within("queue.idempotency_window", self.idempotency_window, Duration::from_secs(1)..=DAY)?;
        within("queue.idempotency_ids", self.idempotency_ids, 1..=ENTRIES)?;
        span_within("queue.schedule_ahead", self.schedule_ahead, Duration::from_secs(1)..=DAY * 30)
    }
}
