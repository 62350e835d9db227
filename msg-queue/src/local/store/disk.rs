//! The store's files: tables of rows in a folder.
//!
//! Owns the one place that knows which library writes them, and the mark that says of which version they are.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use gim_proxy_sdk::journal::{Change, Table};

use super::tail::Tail;
use super::{Row, StoreError, StoreErrorKind};

/// The library's own error.
pub(super) type DiskError = fjall::Error;

/// Of which version the rows are. Another one is not read.
const SCHEMA: &[u8] = b"1";
const SCHEMA_KEY: &[u8] = b"schema";

/// A file that is there from the end of the first start on: from then on the row above is there, or something is lost.
const BEGUN: &str = "begun";

/// Rows of one table in memory before they go to a file of their own. What came and went within it costs no file.
const MEMTABLE: u64 = 8 << 20;
/// Bytes of logs of commits, before tables with few changes are written out for their sake.
const LOGS: u64 = 256 << 20;
/// Bytes of blocks kept in memory. They are read at start alone.
const CACHE: u64 = 1 << 20;

/// How far a commit has to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It outlives the process.
    System,
    /// It outlives the machine's end.
    Disk,
}

/// The open files. Cheap to clone; they are let go with the last.
#[derive(Clone)]
pub(super) struct Disk {
    path: PathBuf,
    database: Database,
    tables: Arc<[Keyspace; Table::ALL.len()]>,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |error| translate(path, error);
        std::fs::create_dir_all(path).map_err(|error| fail(error.into()))?;
        let tail = Tail::read(path).map_err(|error| fail(error.into()))?;
        let builder = Database::builder(path).worker_threads(1).max_journaling_size(LOGS).cache_size(CACHE);
        let opened = guarded(path, || builder.open());
        if let Some(bytes) = tail.cut_off().map_err(|error| fail(error.into()))? {
            drop(opened);
            tail.restore(bytes).map_err(|error| fail(error.into()))?;
            return Err(damaged(path, "a log of commits is damaged, with whole commits behind the damage"));
        }
        let database = opened?;
        let of = |table: Table| database.keyspace(table.as_str(), options).map_err(fail);
        let mut tables = Vec::with_capacity(Table::ALL.len());
        for table in Table::ALL {
            tables.push(of(table)?);
        }
        let tables: Box<[Keyspace; Table::ALL.len()]> =
            tables.into_boxed_slice().try_into().map_err(|_| damaged(path, "a table is missing"))?;
        let disk = Self { path: path.to_owned(), database, tables: Arc::from(tables) };
        disk.check_schema()?;
        Ok(disk)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all changes or none.
    pub(super) fn write(&self, changes: &[Change], reach: Reach) -> Result<(), DiskError> {
        let mode = if reach == Reach::Disk { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = self.database.batch().durability(Some(mode));
        for change in latest(changes) {
            let table = self.table(change.table);
            match &change.value {
                Some(value) => batch.insert(table, change.key.as_ref(), value.as_ref()),
                None => batch.remove(table, change.key.as_ref()),
            }
        }
        batch.commit()
    }

    /// Has everything written reach the disk.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        self.database.persist(PersistMode::SyncData)
    }

    pub(super) fn rows(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        let copy = Bytes::copy_from_slice;
        let row = |guard: fjall::Guard| guard.into_inner().map(|(key, value)| (copy(&key), copy(&value)));
        guarded(&self.path, || self.table(table).iter().map(row).collect())
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        let fail = |error| translate(&self.path, error);
        let has_begun = self.path.join(BEGUN).try_exists().map_err(|error| fail(error.into()))?;
        match self.table(Table::Meta).get(SCHEMA_KEY).map_err(fail)? {
            Some(schema) if schema.as_ref() == SCHEMA => self.begin(),
            Some(schema) => {
                let what = format!("it is of schema {}", String::from_utf8_lossy(&schema));
                Err(StoreError { kind: StoreErrorKind::Other, path: self.path.clone(), what, source: None })
            }
            None if has_begun => Err(damaged(&self.path, "a part of it is gone")),
            None => {
                let mark = Change::put(Table::Meta, SCHEMA_KEY.into(), SCHEMA.into());
                self.write(&[mark], Reach::Disk).map_err(fail)?;
                self.begin()
            }
        }
    }

    fn begin(&self) -> Result<(), StoreError> {
        let begun = File::create(self.path.join(BEGUN)).and_then(|file| file.sync_all());
        let begun = begun.and_then(|()| File::open(&self.path)?.sync_all());
        begun.map_err(|error| translate(&self.path, error.into()))
    }

    fn table(&self, table: Table) -> &Keyspace {
        #[expect(clippy::indexing_slicing, reason = "there is one per variant, in their order")]
        &self.tables[table as usize]
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE)
}

/// Leaves out what is overwritten within the same commit: its changes have no order among themselves.
fn latest(changes: &[Change]) -> impl Iterator<Item = &Change> {
    let mut last = HashMap::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        last.insert((change.table, change.key.as_ref()), at);
    }
    let is_last = move |(at, change): &(usize, &Change)| last.get(&(change.table, change.key.as_ref())) == Some(at);
    changes.iter().enumerate().filter(is_last).map(|(_, change)| change)
}

/// Reads what may be damaged: some of it the library does not answer with an error.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, DiskError>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| translate(path, error)),
        Err(_) => Err(damaged(path, "it is damaged; nothing of it was changed")),
    }
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError { kind: StoreErrorKind::Corrupt, path: path.to_owned(), what: what.to_owned(), source: None }
}

fn translate(path: &Path, error: DiskError) -> StoreError {
    let (kind, what) = match &error {
        fjall::Error::Locked => (StoreErrorKind::Taken, "another process has it"),
        fjall::Error::Io(_) => (StoreErrorKind::Disk, "it cannot be read or written"),
        fjall::Error::InvalidVersion(_) => (StoreErrorKind::Other, "it is of another version of the store's library"),
        fjall::Error::Storage(fjall::LsmError::Io(_)) => (StoreErrorKind::Disk, "it cannot be read or written"),
        _ => (StoreErrorKind::Corrupt, "it is damaged; nothing of it was changed"),
    };
    StoreError::new(kind, path, what, error)
}
