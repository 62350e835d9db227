//! What a failed call means to who asks the directory.

use crate::directory::{DirectoryError, DirectoryErrorKind};
use crate::store::{StoreError, StoreErrorKind};

impl DirectoryError {
    pub(super) fn corrupt() -> Self {
        Self { kind: DirectoryErrorKind::Corrupt, source: None }
    }

    pub(super) fn unavailable() -> Self {
        Self { kind: DirectoryErrorKind::Unavailable, source: None }
    }
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::Unknown => DirectoryErrorKind::Timeout,
            StoreErrorKind::Corrupt => DirectoryErrorKind::Corrupt,
            StoreErrorKind::Refused if error.is("CORRUPT") || error.is("WRONGTYPE") => DirectoryErrorKind::Corrupt,
            StoreErrorKind::Unavailable | StoreErrorKind::Full | StoreErrorKind::Denied | StoreErrorKind::Refused => {
                DirectoryErrorKind::Unavailable
            }
        };
        Self { kind, source: Some(Box::new(error)) }
    }
}
