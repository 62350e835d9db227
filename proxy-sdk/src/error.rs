//! Errors of calls through this SDK: what kind, where from, whether to try again.

/// What went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The arguments are not acceptable. Repeating the call makes no sense.
    Invalid,
    /// The node or the queue cannot be reached, or refuses because it is stopping.
    Unavailable,
    /// No answer within the deadline. The call may have taken effect.
    Timeout,
    /// A bound is reached. Later there may be room.
    Full,
    /// The other side does not do this in its mode or version.
    Unsupported,
    /// The other side failed in a way it should not.
    Internal,
}

/// An error of a call through this SDK. Being offline is none, see [`crate::Outcome`].
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// What went wrong, for decisions.
    pub kind: ErrorKind,
    /// What went wrong, for people.
    pub detail: Box<str>,
    /// What caused it.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error without a cause.
    pub fn new(kind: ErrorKind, detail: impl Into<Box<str>>) -> Self {
        Self { kind, detail: detail.into(), source: None }
    }

    /// Makes an error with its cause.
    pub fn with_source(
        kind: ErrorKind,
        detail: impl Into<Box<str>>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, detail: detail.into(), source: Some(source.into()) }
    }

    /// Whether the same call may succeed later. A timed-out call may have taken effect: repeat it with the same id.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Full)
    }
}

impl From<crate::queue::QueueError> for Error {
    fn from(error: crate::queue::QueueError) -> Self {
        use crate::queue::QueueErrorKind as Queue;
        let kind = match error.kind {
            Queue::Malformed | Queue::TooLarge | Queue::NoSuchLane => ErrorKind::Invalid,
            Queue::Unsupported => ErrorKind::Unsupported,
            Queue::Full => ErrorKind::Full,
            Queue::Unavailable => ErrorKind::Unavailable,
            Queue::Timeout => ErrorKind::Timeout,
        };
        Self::with_source(kind, error.to_string(), error)
    }
}

impl From<crate::directory::DirectoryError> for Error {
    fn from(error: crate::directory::DirectoryError) -> Self {
        use crate::directory::DirectoryErrorKind as Directory;
        let kind = match error.kind {
            Directory::Unavailable => ErrorKind::Unavailable,
            Directory::Timeout => ErrorKind::Timeout,
            Directory::Corrupt => ErrorKind::Internal,
        };
        Self::with_source(kind, "the directory did not answer", error)
    }
}

impl From<crate::store::StoreError> for Error {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreErrorKind as Store;
        let (kind, detail) = match error.kind {
            Store::Unavailable => (ErrorKind::Unavailable, "redis cannot be reached"),
            Store::Unknown => (ErrorKind::Timeout, "redis did not answer"),
            Store::Full => (ErrorKind::Full, "redis is out of memory"),
            Store::Denied => (ErrorKind::Unavailable, "redis lets nobody in"),
            Store::Refused => (ErrorKind::Internal, "redis refused"),
            Store::Corrupt => (ErrorKind::Internal, "redis holds what this version does not understand"),
        };
        Self::with_source(kind, detail, error)
    }
}

impl From<crate::peers::PeerError> for Error {
    fn from(error: crate::peers::PeerError) -> Self {
        use crate::peers::PeerErrorKind as Peer;
        let (kind, detail) = match error.kind {
            Peer::Unreachable => (ErrorKind::Unavailable, "the node cannot be reached"),
            Peer::Unknown => (ErrorKind::Timeout, "the node did not answer"),
            Peer::Refused | Peer::Suspended => (ErrorKind::Unavailable, "the node may not act right now"),
            Peer::Full => (ErrorKind::Full, "too much is in flight to the node"),
        };
        Self::with_source(kind, detail, error)
    }
}
