//! What time it is, as the queue and the worker are told.
//!
//! Owns the port and its two implementations. Wall-clock time decides when a message is due or expired; waits between
//! two attempts run on tokio's own clock and never on this one, so that a stepped wall clock holds no retry back.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Tells the time, Unix milliseconds.
    fn unix_ms(&self) -> u64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that starts at a given time and goes on with tokio's, also where that is paused.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start_ms: u64,
    start: Instant,
}

impl TokioClock {
    /// Starts the clock at a time, Unix milliseconds.
    #[must_use]
    pub fn starting_at(start_ms: u64) -> Self {
        Self { start_ms, start: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn unix_ms(&self) -> u64 {
        self.start_ms + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
