//! What a failed call means.
//!
//! Owns the one translation from the client library's errors. The question that matters is whether the call may have
//! taken effect.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("redis: {kind:?}")]
pub struct StoreError {
    /// What went wrong, for decisions.
    pub kind: StoreErrorKind,
    /// First word of a server's error, such as `OOM`, `NOGROUP`, or a word of our own scripts.
    pub code: Option<Box<str>>,
    /// The client library's error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// It cannot be reached, loads, or is not the master now. Nothing took effect.
    Unavailable,
    /// The call was sent and not answered. It may have taken effect.
    Unknown,
    /// It is out of memory. Nothing took effect.
    Full,
    /// It wants another password, or the user may not do this.
    Denied,
    /// It refused for another reason; see the code.
    Refused,
    /// It answered what this version does not understand.
    Corrupt,
}

/// Calls refused at once because there were too many, by what there were too many of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrowdedCalls {
    /// That somebody waited for.
    pub waiting: u64,
    /// Whose answer had not come, also where nobody waited for it any more.
    pub under_way: u64,
}

impl std::ops::Add for CrowdedCalls {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { waiting: self.waiting + other.waiting, under_way: self.under_way + other.under_way }
    }
}

impl StoreError {
    /// Makes an error of a deadline that passed after the call was sent.
    pub(crate) const fn unanswered() -> Self {
        Self { kind: StoreErrorKind::Unknown, code: None, source: None }
    }

    /// Makes an error of a server that could not be reached.
    pub(crate) const fn unreachable() -> Self {
        Self { kind: StoreErrorKind::Unavailable, code: None, source: None }
    }

    /// Makes an error of a connection that could not be made: whatever it was, no call was sent.
    pub(crate) fn of_connecting(error: RedisError) -> Self {
        let mut error = Self::from(error);
        if error.kind != StoreErrorKind::Denied {
            error.kind = StoreErrorKind::Unavailable;
        }
        error
    }

    /// Makes an error of a call that was one too many: it was not sent.
    pub(crate) fn crowded() -> Self {
        Self { kind: StoreErrorKind::Unavailable, code: None, source: Some(Box::new(Crowded)) }
    }

    /// Makes an error of a server that could not be reached, with what the machine says about it.
    pub(crate) fn unreachable_for(error: std::io::Error) -> Self {
        Self { kind: StoreErrorKind::Unavailable, code: None, source: Some(Box::new(error)) }
    }

    /// Makes an error of a connection that broke: what was on its way may have taken effect.
    pub(crate) fn broken(error: std::io::Error) -> Self {
        Self { kind: StoreErrorKind::Unknown, code: None, source: Some(Box::new(error)) }
    }

    /// Makes an error of what a server said, its first word the code.
    pub(crate) fn of_server(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        let code: Option<Box<str>> = text.split_whitespace().next().map(Box::from);
        let kind = match code.as_deref() {
            Some("LOADING" | "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY") => {
                StoreErrorKind::Unavailable
            }
            code => of_code(code),
        };
        Self { kind, code, source: Some(Box::new(Said(text))) }
    }

    /// Tells whether the server's error has this first word.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Tells whether the connection it came over is of no use any more.
    pub(crate) fn breaks_connection(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
    }
}

/// A bound of the process was reached.
#[derive(Debug, thiserror::Error)]
#[error("too many calls under way")]
struct Crowded;

/// What a server said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        let code = error.code().map(Box::from);
        let kind = kind_of(&error, code.as_deref());
        Self { kind, code, source: Some(Box::new(error)) }
    }
}

fn kind_of(error: &RedisError, code: Option<&str>) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::Io if error.is_connection_refusal() => StoreErrorKind::Unavailable,
        ErrorKind::Io => StoreErrorKind::Unknown,
        ErrorKind::AuthenticationFailed => StoreErrorKind::Denied,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreErrorKind::Corrupt,
        ErrorKind::Server(kind) => of_server(kind, code),
        ErrorKind::Extension => of_code(code),
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::EmptySentinelList => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Refused,
    }
}

fn of_server(kind: ServerErrorKind, code: Option<&str>) -> StoreErrorKind {
    use ServerErrorKind as Server;
    match kind {
        Server::BusyLoading
        | Server::Moved
        | Server::Ask
        | Server::TryAgain
        | Server::ClusterDown
        | Server::MasterDown
        | Server::ReadOnly => StoreErrorKind::Unavailable,
        Server::NoPerm => StoreErrorKind::Denied,
        _ => of_code(code),
    }
}

fn of_code(code: Option<&str>) -> StoreErrorKind {
    match code {
        Some("OOM") => StoreErrorKind::Full,
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => StoreErrorKind::Denied,
        // A master that may not write alone, a disk that is full: later it can.
        Some("NOREPLICAS" | "MISCONF" | "BUSY" | "UNBLOCKED") => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Refused,
    }
}
