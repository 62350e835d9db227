//! What a subscriber may be told.

use std::time::Duration;

use crate::{Error, ErrorKind};

/// How a [`Subscriber`](super::Subscriber) reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberOptions {
    /// What keys begin with: the nodes' `prefix`. `gim` unless set.
    pub prefix: String,
    /// The application. Each group gets every command.
    pub group: String,
    /// The one process of it, under a name that stays the same when it starts again.
    pub consumer: String,
    /// Commands read at once, 1 to 10,000. 100 unless set.
    pub batch: usize,
    /// A command that was not acknowledged for so long is handed out again, 1 ms at least. 60 s unless set.
    pub claim_after: Duration,
    /// How long a read waits, 1 ms at least. 1 s unless set.
    pub block: Duration,
}

impl SubscriberOptions {
    /// Takes the names; the rest has defaults.
    pub fn new(group: impl Into<String>, consumer: impl Into<String>) -> Self {
        Self {
            prefix: "gim".to_owned(),
            group: group.into(),
            consumer: consumer.into(),
            batch: 100,
            claim_after: Duration::from_mins(1),
            block: Duration::from_secs(1),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Invalid, what));
        match self {
            Self { group, .. } if group.is_empty() => wrong("the group has no name"),
            Self { consumer, .. } if consumer.is_empty() => wrong("the consumer has no name"),
            Self { batch, .. } if !(1..=10_000).contains(batch) => wrong("a batch is 1 to 10,000 commands"),
            Self { claim_after, block, .. } if claim_after.as_millis() == 0 || block.as_millis() == 0 => {
                wrong("a wait is 1 ms at least")
            }
            _ => Ok(()),
        }
    }
}
