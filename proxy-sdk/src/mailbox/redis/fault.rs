//! What a failed call means to who asks a mailbox.

use crate::mailbox::{MailboxError, MailboxErrorKind};
use crate::store::{StoreError, StoreErrorKind};

impl From<StoreError> for MailboxError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::Unknown => MailboxErrorKind::Timeout,
            StoreErrorKind::Corrupt => MailboxErrorKind::Corrupt,
            StoreErrorKind::Refused if error.is("TERM") => MailboxErrorKind::Stale,
            StoreErrorKind::Refused if error.is("WRONGTYPE") => MailboxErrorKind::Corrupt,
            StoreErrorKind::Unavailable | StoreErrorKind::Full | StoreErrorKind::Denied | StoreErrorKind::Refused => {
                MailboxErrorKind::Unavailable
            }
        };
        Self { kind, source: Some(Box::new(error)) }
    }
}
