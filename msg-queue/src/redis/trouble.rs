//! What can go wrong with a lane in Redis, and what it is to the worker.
//!
//! Owns the translation from the store's errors to the port's.

use gim_proxy_sdk::store::{StoreError, StoreErrorKind};

use crate::source::{SourceError, SourceErrorKind};

#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody else owns the lane, or did in the meantime.
    Lost,
    /// Nobody owns the lane.
    NoLease,
    /// The stream or its consumer group is gone.
    NoGroup,
    /// Redis is another run than the one that is named.
    OtherRun,
    /// An answer has another form than it should.
    Odd(&'static str),
    /// The store failed.
    Store(StoreError),
}

/// The form of an answer that this version does not understand.
#[derive(Debug, thiserror::Error)]
#[error("redis answered something else than {0}")]
struct Odd(&'static str);

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error.code.as_deref() {
            Some("LOSTTERM") => Self::Lost,
            Some("NOLEASE") => Self::NoLease,
            Some("NOGROUP") => Self::NoGroup,
            Some("OTHERRUN") => Self::OtherRun,
            _ => Self::Store(error),
        }
    }
}

impl From<Trouble> for SourceError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost => SourceErrorKind::Lost.into(),
            Trouble::NoLease | Trouble::NoGroup => SourceErrorKind::Unavailable.into(),
            Trouble::OtherRun => SourceErrorKind::Replaced.into(),
            Trouble::Odd(what) => Self { kind: SourceErrorKind::Corrupt, source: Some(Box::new(Odd(what))) },
            Trouble::Store(error) => Self { kind: kind_of(&error), source: Some(Box::new(error)) },
        }
    }
}

fn kind_of(error: &StoreError) -> SourceErrorKind {
    match error.kind {
        StoreErrorKind::Unavailable | StoreErrorKind::Full | StoreErrorKind::Denied => SourceErrorKind::Unavailable,
        StoreErrorKind::Unknown => SourceErrorKind::Timeout,
        StoreErrorKind::Refused | StoreErrorKind::Corrupt => SourceErrorKind::Corrupt,
    }
}

/// An answer that did not come in time.
pub(super) const fn unanswered() -> Trouble {
    Trouble::Store(StoreError { kind: StoreErrorKind::Unknown, code: None, source: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kind: StoreErrorKind, code: Option<&str>) -> SourceErrorKind {
        let error = StoreError { kind, code: code.map(Box::from), source: None };
        SourceError::from(Trouble::from(error)).kind
    }

    #[test]
    fn every_error_of_the_store_is_one_of_the_port() {
        use SourceErrorKind::{Corrupt, Lost, Timeout, Unavailable};
        for unavailable in [StoreErrorKind::Unavailable, StoreErrorKind::Full, StoreErrorKind::Denied] {
            assert_eq!(kind(unavailable, None), Unavailable);
        }
        assert_eq!(kind(StoreErrorKind::Unknown, None), Timeout);
        assert_eq!(kind(StoreErrorKind::Corrupt, None), Corrupt);
        assert_eq!(kind(StoreErrorKind::Refused, Some("WRONGTYPE")), Corrupt);
        assert_eq!(kind(StoreErrorKind::Refused, Some("LOSTTERM")), Lost);
        assert_eq!(kind(StoreErrorKind::Refused, Some("NOLEASE")), Unavailable);
        assert_eq!(kind(StoreErrorKind::Refused, Some("NOGROUP")), Unavailable);
        assert_eq!(kind(StoreErrorKind::Refused, Some("OTHERRUN")), SourceErrorKind::Replaced);
    }
}
