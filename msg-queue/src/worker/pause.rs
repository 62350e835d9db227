//! Waits for a store that does not answer: longer with each failure, gone with the first success.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::{Backoff, Jitter};

/// One step's wait.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Tells whether the step has to wait at this time.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Tells when the step may be tried again.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Begins a wait after a failure and tells how long it is.
    pub(super) fn begin(&mut self, now: Instant, backoff: &Backoff, jitter: &mut Jitter) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = backoff.wait(self.failures, jitter).max(backoff.first);
        self.until = Some(now + wait);
        wait
    }

    /// Ends it all after a success.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}
