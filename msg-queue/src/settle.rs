//! What becomes of a message for a target after an attempt: one pure function, [`decide`].
//!
//! Owns that decision and nothing else. Never counts, waits or writes.

use std::time::Duration;

use gim_proto::DeadReason;
use gim_proxy_sdk::Outcome;

use crate::backoff::{Backoff, Jitter};

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The target has its outcome.
    Reached(Outcome),
    /// It failed and may succeed another time.
    Failed,
    /// It can never succeed.
    Hopeless(DeadReason),
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing more.
    Ack,
    /// It is tried again.
    Retry {
        /// After this time.
        after: Duration,
    },
    /// It is given up and kept for people to look at.
    DeadLetter {
        /// Why.
        reason: DeadReason,
    },
}

/// How stubborn a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// Attempts, the first included.
    pub attempts: u32,
    /// Waits between them.
    pub backoff: Backoff,
}

/// Decides what becomes of a target after its `attempts`-th attempt, counted from 1.
pub fn decide(attempt: Attempt, attempts: u32, persistence: &Persistence, jitter: &mut Jitter) -> Decision {
    match attempt {
        Attempt::Reached(_) => Decision::Ack,
        Attempt::Hopeless(reason) => Decision::DeadLetter { reason },
        Attempt::Failed if attempts >= persistence.attempts => Decision::DeadLetter { reason: DeadReason::Attempts },
        Attempt::Failed => Decision::Retry { after: persistence.backoff.wait(attempts, jitter) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Persistence = Persistence {
        attempts: 3,
        backoff: Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) },
    };

    fn after(attempt: Attempt, attempts: u32) -> Decision {
        decide(attempt, attempts, &THREE, &mut Jitter::seeded(1))
    }

    #[test]
    fn every_outcome_settles_whatever_it_is() {
        use Outcome::{Duplicate, Expired, NotMember, Offered, Offline, Slow};
        for outcome in [Offered, Offline, NotMember, Expired, Duplicate, Slow] {
            assert_eq!(after(Attempt::Reached(outcome), 3), Decision::Ack);
        }
    }

    #[test]
    fn a_failure_is_retried_until_the_last_attempt() {
        assert!(matches!(after(Attempt::Failed, 1), Decision::Retry { after } if after.as_millis() <= 100));
        assert!(matches!(after(Attempt::Failed, 2), Decision::Retry { after } if after.as_millis() <= 200));
        assert_eq!(after(Attempt::Failed, 3), Decision::DeadLetter { reason: DeadReason::Attempts });
        assert_eq!(after(Attempt::Failed, 4), Decision::DeadLetter { reason: DeadReason::Attempts });
    }

    #[test]
    fn what_can_never_succeed_is_not_tried_again() {
        let reason = DeadReason::Malformed;
        assert_eq!(after(Attempt::Hopeless(reason), 1), Decision::DeadLetter { reason });
    }
}
