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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_with_each_failure_and_end_with_a_success() {
        let backoff = Backoff::default();
        let mut jitter = Jitter::seeded(3);
        let mut pause = Pause::default();
        let waits: Vec<Duration> = (0..12).map(|_| pause.begin(Instant::now(), &backoff, &mut jitter)).collect();
        assert!(waits.iter().all(|wait| (backoff.first..=backoff.max).contains(wait)));
        assert!(waits.iter().max() > Some(&Duration::from_secs(10)));
        assert!(pause.is_on(Instant::now()));
        advance(backoff.max).await;
        assert!(!pause.is_on(Instant::now()));
        pause.begin(Instant::now(), &backoff, &mut jitter);
        pause.end();
        assert!(!pause.is_on(Instant::now()));
        assert_eq!(pause.begin(Instant::now(), &backoff, &mut jitter), backoff.first);
    }
}
