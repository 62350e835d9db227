//! The node's clocks: one that only rises, one that tells the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Milliseconds since the node started.
    pub(crate) fn elapsed_ms(self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Unix time in milliseconds.
    pub(crate) fn unix_ms(self) -> u64 {
        self.unix_us() / 1_000
    }

    /// Unix time in microseconds.
    #[expect(clippy::unused_self, reason = "it is the node's clock that is asked")]
    pub(crate) fn unix_us(self) -> u64 {
        unix_us()
    }
}

/// Unix time in microseconds, for whoever has no node at hand.
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
