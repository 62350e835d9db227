//! Where a service that is one process keeps what must outlive it: the port [`Journal`].
//!
//! Owns the port. What is kept are rows: a table, a key, a value. Whoever changes something in memory submits the rows of
//! that change while nobody else can change the same, and answers its caller only when they are kept. Rows are kept in the
//! order they were submitted: what is found after a crash is what was there at one moment before it.

mod owed;
mod row;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use self::owed::Owed;
pub use self::row::{BadRow, RowReader, RowWriter};

/// A table of rows. Each owner of rows has tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// What the journal itself and its readers have to know first: schema, number of lanes.
    Meta,
    /// Entries of the lanes that are not settled.
    Entries,
    /// Dead letters.
    Dead,
    /// Ids seen within the idempotency window.
    Seen,
    /// Durable messages.
    Letters,
    /// Epoch and cursors of mailboxes.
    Mailboxes,
    /// Last values of class `latest`.
    Latest,
    /// Durable members of groups.
    Members,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Meta,
        Self::Entries,
        Self::Dead,
        Self::Seen,
        Self::Letters,
        Self::Mailboxes,
        Self::Latest,
        Self::Members,
    ];

    /// The name it is kept under.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Entries => "entries",
            Self::Dead => "dead",
            Self::Seen => "seen",
            Self::Letters => "letters",
            Self::Mailboxes => "mailboxes",
            Self::Latest => "latest",
            Self::Members => "members",
        }
    }
}

/// One row that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Which row.
    pub key: Bytes,
    /// What it is from now on. None: gone.
    pub value: Option<Bytes>,
}

impl Change {
    /// Makes a row be this from now on.
    #[must_use]
    pub const fn put(table: Table, key: Bytes, value: Bytes) -> Self {
        Self { table, key, value: Some(value) }
    }

    /// Takes a row out.
    #[must_use]
    pub const fn delete(table: Table, key: Bytes) -> Self {
        Self { table, key, value: None }
    }
}

/// Why rows are not kept.
#[derive(Clone, Debug, thiserror::Error)]
#[error("journal: {kind:?}")]
pub struct JournalError {
    /// What went wrong, for decisions.
    pub kind: JournalErrorKind,
    /// The store's own error.
    #[source]
    pub source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalErrorKind {
    /// Too much waits to be written. Nothing of the change is kept.
    Full,
    /// The disk does not take it. Nothing later is kept either: the process has to be restarted once there is room.
    Failed,
}

/// Completes when a change is kept as firmly as the policy says.
pub type Kept = BoxFuture<'static, Result<(), JournalError>>;

/// See the module.
pub trait Journal: Send + Sync + 'static {
    /// Submits the rows of one change: all are kept, or none. Never waits; what is awaited is the answer. Dropping that does
    /// not take the change back.
    fn submit(&self, changes: Vec<Change>) -> Kept;

    /// Does the same and tells at once if nothing of the change is kept. With no changes it completes when everything
    /// submitted before is kept.
    ///
    /// # Errors
    /// Nothing was taken.
    fn take(&self, changes: Vec<Change>) -> Result<Kept, JournalError> {
        let mut kept = self.submit(changes);
        match (&mut kept).now_or_never() {
            Some(Ok(())) => Ok(std::future::ready(Ok(())).boxed()),
            Some(Err(error)) => Err(error),
            None => Ok(kept),
        }
    }
}

/// Keeps nothing: everything is lost with the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepNothing;

impl Journal for KeepNothing {
    fn submit(&self, _changes: Vec<Change>) -> Kept {
        std::future::ready(Ok(())).boxed()
    }
}

impl From<JournalErrorKind> for JournalError {
    fn from(kind: JournalErrorKind) -> Self {
        Self { kind, source: None }
    }
}
