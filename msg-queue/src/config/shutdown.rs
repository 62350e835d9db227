//! Section `shutdown`: how a process leaves. A worker knows the deadline only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use super::invalid::{Invalid, span_within, within};

const LONGEST: Duration = Duration::from_hours(1);

/// Leaving on SIGTERM: not ready, then sessions closed in jittered waves, then an end by force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownSection {
    /// The whole of it. At the bound what is left is ended by force and reported.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// Sessions closed per second, at least; raised so that all are closed within `drain_over`.
    pub drain_rate: u32,
    /// The span in which all sessions are closed, however many there are. At most `deadline`.
    #[serde(with = "duration")]
    pub drain_over: Duration,
    /// Clients are told to reconnect after a random wait of up to this. `0`: at once.
    #[serde(with = "duration")]
    pub hint_spread: Duration,
}

impl Default for ShutdownSection {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            drain_rate: 500,
            drain_over: Duration::from_secs(20),
            hint_spread: Duration::from_secs(5),
        }
    }
}

impl ShutdownSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds, or two that contradict each other.
    pub fn validate(&self) -> Result<(), Invalid> {
        span_within("shutdown.deadline", self.deadline, Duration::from_millis(100)..=LONGEST)?;
        within("shutdown.drain_rate", self.drain_rate, 1..=1_000_000)?;
        span_within("shutdown.drain_over", self.drain_over, Duration::ZERO..=LONGEST)?;
        span_within("shutdown.hint_spread", self.hint_spread, Duration::ZERO..=LONGEST)?;
        if self.drain_over > self.deadline {
            return Err(Invalid::against(
                "shutdown.drain_over",
                "shutdown.deadline",
                "must be at most shutdown.deadline",
            ));
        }
        Ok(())
    }
}
