//! The embedded store of a service that is one process: rows that outlive it.
//!
//! Owns the folder, one thread that writes, and what waits for it. Everything submitted since the last commit goes into the
//! next one, and whoever waits for it is answered together. An error of the disk is final: nothing is kept any more, so that
//! what is there stays what was there at one moment. Never interprets a row.

mod committer;
mod disk;
mod inbox;
mod tail;
#[cfg(test)]
pub(in crate::local) mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use gim_proxy_sdk::journal::{Change, Journal, JournalError, JournalErrorKind, Kept, Table};

use self::disk::Disk;
use self::inbox::Inbox;
use crate::config::{Fsync, LocalSection};

pub use self::inbox::{StoreFigures, WaitingBounds};

/// The store as its users see it. When the last handle is gone it ends, with what was submitted written.
pub struct LocalStore {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the store held when it was opened. Holds its folder: let go of it once all is read.
pub struct Rows(Disk);

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// Why the store cannot be opened, or a row of it not read.
#[derive(Debug, thiserror::Error)]
#[error("the store in {}: {what}", path.display())]
pub struct StoreError {
    /// What went wrong, for decisions.
    pub kind: StoreErrorKind,
    /// Its folder.
    pub path: PathBuf,
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Another process has it.
    Taken,
    /// It is of a version that this one does not read.
    Other,
    /// What waits there is of another number of lanes than is configured.
    Lanes,
    /// What is there is not what was written.
    Corrupt,
    /// The disk does not answer as it should.
    Disk,
}

/// When and how much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When it reaches the disk.
    pub fsync: Fsync,
    /// How often, with [`Fsync::Interval`].
    pub interval: Duration,
    /// What may wait to be written.
    pub waiting: WaitingBounds,
}

impl From<&LocalSection> for Policy {
    fn from(section: &LocalSection) -> Self {
        Self { fsync: section.fsync, interval: section.fsync_interval, waiting: WaitingBounds::default() }
    }
}

impl LocalStore {
    /// Opens the store in a folder, made if missing, and shows what it holds. Reads all of the disk it needs before it
    /// returns: not for a thread that others wait for.
    ///
    /// # Errors
    /// Another process has it, it is damaged or of another version, or the disk does not answer.
    pub fn open(path: &Path, policy: Policy) -> Result<(Arc<Self>, Rows), StoreError> {
        let disk = Disk::open(path)?;
        let inbox = Arc::new(Inbox::new(policy.waiting));
        let thread = committer::start(disk.clone(), Arc::clone(&inbox), policy)
            .map_err(|error| StoreError::new(StoreErrorKind::Disk, path, "no thread can be started", error))?;
        Ok((Arc::new(Self { inbox, thread: Mutex::new(Some(thread)) }), Rows(disk)))
    }

    /// Tells whether the disk has taken everything so far.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.inbox.is_well()
    }

    /// Tells what was written so far, and what waits.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        self.inbox.figures()
    }

    /// Writes what was submitted, has it reach the disk, and lets go of the folder. Waits for the disk: not for a thread that
    /// others wait for. Nothing is kept from then on.
    pub fn close(&self) {
        self.inbox.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread has panicked");
        }
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl Journal for LocalStore {
    fn submit(&self, changes: Vec<Change>) -> Kept {
        match self.inbox.put(changes) {
            Ok(None) => std::future::ready(Ok(())).boxed(),
            // The thread is gone without an answer.
            Ok(Some(answer)) => {
                answer.map(|answer| answer.unwrap_or_else(|_| Err(JournalErrorKind::Failed.into()))).boxed()
            }
            Err(error) => std::future::ready(Err::<(), JournalError>(error)).boxed(),
        }
    }
}

impl Rows {
    /// Reads a table, in the order of its keys.
    ///
    /// # Errors
    /// What is there is not what was written.
    pub fn of(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.0.rows(table)
    }

    /// Refuses what is there: a row is not what this version writes, or the table does not fit what is configured.
    #[must_use]
    pub fn refuse(&self, kind: StoreErrorKind, what: impl Into<String>) -> StoreError {
        StoreError { kind, path: self.0.path().to_owned(), what: what.into(), source: None }
    }
}

impl StoreError {
    fn new(
        kind: StoreErrorKind,
        path: &Path,
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, path: path.to_owned(), what: what.to_owned(), source: Some(source.into()) }
    }
}
