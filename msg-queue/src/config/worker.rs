//! Section `worker`: how fast and how stubbornly entries are delivered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use super::invalid::{Invalid, span_within, within};
use super::size::ByteSize;

const HOUR: Duration = Duration::from_hours(1);

/// The worker: source, lane, route, deliver, settle. All bounds are per lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSection {
    /// Whether this process works on the queue itself.
    pub embedded: bool,
    /// Entries read at once, 1 to 10,000.
    pub read_batch: usize,
    /// Messages read but not settled. At the bound the lane stops reading, its lag shows.
    pub unsettled_messages: usize,
    /// Bytes read but not settled. At the bound the lane stops reading, its lag shows.
    pub unsettled_bytes: ByteSize,
    /// Messages held back behind a retry to the same target, of a group: at the same node. At the bound the lane stops
    /// reading.
    pub held_per_target: usize,
    /// Deliveries tried before a message is dead, reason `attempts`.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles with each further one. Half of a wait is jitter.
    #[serde(with = "duration")]
    pub backoff_first: Duration,
    /// The longest wait between two attempts.
    #[serde(with = "duration")]
    pub backoff_max: Duration,
}

impl Default for WorkerSection {
    fn default() -> Self {
        Self {
            embedded: true,
            read_batch: 1_000,
            unsettled_messages: 20_000,
            unsettled_bytes: ByteSize::mib(64),
            held_per_target: 1_000,
            attempts: 30,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
        }
    }
}

impl WorkerSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds, or two that contradict each other.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("worker.read_batch", self.read_batch, 1..=10_000)?;
        within("worker.unsettled_messages", self.unsettled_messages, 1..=10_000_000)?;
        // One entry of the largest size must fit, or the lane would stop for good.
        within("worker.unsettled_bytes", self.unsettled_bytes, ByteSize::kib(256)..=ByteSize::mib(64 << 10))?;
        within("worker.held_per_target", self.held_per_target, 1..=1_000_000)?;
        within("worker.attempts", self.attempts, 1..=1_000)?;
        span_within("worker.backoff_first", self.backoff_first, Duration::from_millis(1)..=HOUR)?;
        span_within("worker.backoff_max", self.backoff_max, Duration::from_millis(1)..=HOUR)?;
        if self.backoff_max < self.backoff_first {
            return Err(Invalid::against(
                "worker.backoff_max",
                "worker.backoff_first",
                "must be at least worker.backoff_first",
            ));
        }
        Ok(())
    }
}
