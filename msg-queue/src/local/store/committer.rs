//! The one thread that writes: a batch, then the next.
//!
//! Owns when the disk is synced. However it ends, whoever waits is answered.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use gim_proxy_sdk::journal::{JournalError, JournalErrorKind};
use tokio::time::Instant;

use super::Policy;
use super::disk::{Disk, DiskError, Reach};
use super::inbox::{Batch, Inbox, Task};
use crate::config::Fsync;

pub(super) fn start(disk: Disk, inbox: Arc<Inbox>, policy: Policy) -> io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("gim-store".to_owned());
    thread.spawn(move || Committer { disk, inbox, policy, unsynced: None }.run())
}

struct Committer {
    disk: Disk,
    inbox: Arc<Inbox>,
    policy: Policy,
    /// Since when something is written that may not have reached the disk.
    unsynced: Option<Instant>,
}

/// Answers whoever waits, should the thread panic.
struct Last<'a>(&'a Inbox);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Batch::default(), &JournalErrorKind::Failed.into());
        }
    }
}

impl Committer {
    fn run(mut self) {
        let inbox = Arc::clone(&self.inbox);
        let _last = Last(&inbox);
        loop {
            match inbox.next(self.until_sync()) {
                Task::Commit(batch) => self.commit(batch),
                Task::Nothing => {}
                Task::End => return self.sync(),
            }
            if self.until_sync().is_some_and(|left| left.is_zero()) {
                self.sync();
            }
        }
    }

    /// How long it is until the disk has to be synced. None: until something is written.
    fn until_sync(&self) -> Option<std::time::Duration> {
        let since = self.unsynced.filter(|_| self.policy.fsync == Fsync::Interval)?;
        Some(self.policy.interval.saturating_sub(since.elapsed()))
    }

    fn commit(&mut self, batch: Batch) {
        let reach = if self.policy.fsync == Fsync::Always { Reach::Disk } else { Reach::System };
        match self.disk.write(&batch.changes, reach) {
            Ok(()) => {
                if reach == Reach::System {
                    self.unsynced.get_or_insert_with(Instant::now);
                }
                self.inbox.kept(batch);
            }
            Err(error) => self.fail(batch, error),
        }
    }

    fn sync(&mut self) {
        if self.unsynced.take().is_none() || !self.inbox.is_well() {
            return;
        }
        if let Err(error) = self.disk.sync() {
            self.fail(Batch::default(), error);
        }
    }

    fn fail(&self, batch: Batch, error: DiskError) {
        tracing::error!(%error, path = %self.disk.path().display(), "the disk does not take what has to be kept: nothing is accepted until this process is started again with room to write");
        let error = JournalError { kind: JournalErrorKind::Failed, source: Some(Arc::new(error)) };
        self.inbox.fail(batch, &error);
    }
}
