//! The clock that goes on while a process is frozen and while its machine sleeps.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine started, time asleep included.
#[derive(Clone, Copy, Debug)]
pub struct BootClock;

impl BootClock {
    /// Tells the time.
    #[must_use]
    pub fn now_ms() -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
        seconds * 1_000 + nanos / 1_000_000
    }
}
