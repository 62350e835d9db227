//! What a failed call means to whoever may try it again.

use ::fred::error::{Error, ErrorKind};

use crate::store::StoreError;

/// Why a call failed.
pub(super) enum Fault {
    /// The server does not know the script.
    Unknown,
    /// The slot is at another server, which is known by now. Nothing took effect.
    Moved,
    /// The script found itself to be too late. The time there.
    Late(i64),
    Other(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error.code.as_deref() {
            Some("NOSCRIPT") => Self::Unknown,
            Some("MOVED") => Self::Moved,
            Some("LATE") => {
                let time = error.source.as_ref().and_then(|said| time(&said.to_string()));
                time.map_or(Self::Other(error), Self::Late)
            }
            _ => Self::Other(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Routing => Self::Moved,
            _ => Self::Other(error.into()),
        }
    }
}

impl Fault {
    pub(super) fn error(self) -> StoreError {
        match self {
            // As often as that it is no accident.
            Self::Unknown => StoreError::of_server(b"NOSCRIPT"),
            Self::Moved => StoreError::unreachable(),
            Self::Late(_) => StoreError::of_server(b"LATE"),
            Self::Other(error) => error,
        }
    }
}

fn time(said: &str) -> Option<i64> {
    said.strip_prefix("LATE ")?.trim().parse().ok()
}
