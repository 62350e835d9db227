//! What a failed call to Redis means for whoever asked something of the queue.

use super::{QueueError, QueueErrorKind};
use crate::store::{StoreError, StoreErrorKind};

impl From<StoreError> for QueueError {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Unavailable => {
                Self::new(QueueErrorKind::Unavailable, because("redis cannot be reached", &error))
            }
            StoreErrorKind::Denied => Self::new(QueueErrorKind::Unavailable, because("redis lets nobody in", &error)),
            StoreErrorKind::Full => Self::new(QueueErrorKind::Full, "redis is out of memory"),
            StoreErrorKind::Refused if error.is("ENTRIES") => Self::full("entries"),
            StoreErrorKind::Refused if error.is("LATER") => Self::full("later"),
            StoreErrorKind::Refused => Self::new(QueueErrorKind::Unavailable, because("redis refused", &error)),
            // An answer nobody understands says nothing about what happened before it.
            StoreErrorKind::Unknown | StoreErrorKind::Corrupt => Self::unanswered(),
        }
    }
}

impl QueueError {
    /// Makes an error about a call as a whole.
    pub(crate) fn new(kind: QueueErrorKind, detail: impl Into<Box<str>>) -> Self {
        Self { kind, index: None, field: None, detail: detail.into() }
    }

    /// Makes the error of a bound that is reached.
    pub(crate) fn full(bound: &str) -> Self {
        let detail = match bound {
            "later" => "too many scheduled messages wait in this lane",
            _ => "too many messages wait in this lane",
        };
        Self::new(QueueErrorKind::Full, detail)
    }

    /// Makes the error of a call whose outcome is not known.
    pub(crate) fn unanswered() -> Self {
        Self::new(QueueErrorKind::Timeout, "redis did not answer; it may have taken effect: repeat it with the same id")
    }

    pub(crate) fn no_such_lane(lane: u16) -> Self {
        Self::new(QueueErrorKind::NoSuchLane, format!("there is no lane {lane}"))
    }
}

fn because(what: &str, error: &StoreError) -> String {
    match (&error.code, &error.source) {
        (Some(code), _) => format!("{what}: {code}"),
        (None, Some(source)) => format!("{what}: {source}"),
        (None, None) => what.to_owned(),
    }
}
