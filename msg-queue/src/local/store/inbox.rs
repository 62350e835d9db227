//! What was submitted and is not kept yet.
//!
//! Owns the bound of it, and the answers to whoever waits. Everything that came while the last commit was under way is one
//! [`Batch`], which is the next commit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gim_proxy_sdk::journal::{Change, JournalError, JournalErrorKind};
use tokio::sync::oneshot;

type Answer = Result<(), JournalError>;

/// What may wait to be written. A change is taken whole, however large, when nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingBounds {
    /// Rows.
    pub rows: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
}

impl Default for WaitingBounds {
    fn default() -> Self {
        Self { rows: 500_000, bytes: 64 << 20 }
    }
}

/// What a store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Commits so far.
    pub commits: u64,
    /// Rows written so far, those that went included.
    pub rows: u64,
    /// Commits the disk did not take.
    pub failures: u64,
    /// Changes that were not taken because too much waited.
    pub refused: u64,
    /// Rows submitted and not kept.
    pub waiting: u64,
}

/// See the module.
pub(super) struct Inbox {
    bounds: WaitingBounds,
    state: Mutex<State>,
    bell: Condvar,
    commits: AtomicU64,
    rows: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    failed: AtomicBool,
}

#[derive(Default)]
struct State {
    next: Batch,
    /// A batch is under way; its rows and bytes are counted.
    busy: bool,
    rows: usize,
    bytes: usize,
    closed: bool,
    failure: Option<JournalError>,
}

/// What is committed together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    waiters: Vec<oneshot::Sender<Answer>>,
    rows: usize,
    bytes: usize,
}

/// What the thread has to do next.
pub(super) enum Task {
    Commit(Batch),
    /// Nothing came in time.
    Nothing,
    /// All is written and nothing comes any more.
    End,
}

impl Inbox {
    pub(super) fn new(bounds: WaitingBounds) -> Self {
        Self {
            bounds,
            state: Mutex::default(),
            bell: Condvar::new(),
            commits: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Takes a change. None: it is kept already.
    pub(super) fn put(&self, changes: Vec<Change>) -> Result<Option<oneshot::Receiver<Answer>>, JournalError> {
        let bytes = changes.iter().map(bytes_of).sum();
        let mut state = self.lock();
        state.check_open()?;
        if changes.is_empty() && state.is_idle() {
            return Ok(None);
        }
        if !state.has_room(changes.len(), bytes, self.bounds) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(JournalErrorKind::Full.into());
        }
        let answer = state.add(changes, bytes);
        drop(state);
        self.bell.notify_one();
        Ok(Some(answer))
    }

    /// Waits for what is to be done.
    pub(super) fn next(&self, wait: Option<Duration>) -> Task {
        let idle = |state: &mut State| state.next.is_empty() && !state.closed;
        let state = self.lock();
        let mut state = match wait {
            None => self.bell.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
            Some(wait) => self.bell.wait_timeout_while(state, wait, idle).unwrap_or_else(PoisonError::into_inner).0,
        };
        if !state.next.is_empty() {
            state.busy = true;
            return Task::Commit(std::mem::take(&mut state.next));
        }
        if state.closed { Task::End } else { Task::Nothing }
    }

    /// The batch is kept.
    pub(super) fn kept(&self, batch: Batch) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(batch.rows as u64, Ordering::Relaxed);
        let mut state = self.lock();
        state.busy = false;
        state.rows -= batch.rows;
        state.bytes -= batch.bytes;
        drop(state);
        batch.answer(&Ok(()));
    }

    /// The disk does not take it: neither the batch nor anything later.
    pub(super) fn fail(&self, batch: Batch, error: &JournalError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.store(true, Ordering::Release);
        let mut state = self.lock();
        state.failure = Some(error.clone());
        state.busy = false;
        let waiting = std::mem::take(&mut state.next);
        (state.rows, state.bytes) = (0, 0);
        drop(state);
        batch.answer(&Err(error.clone()));
        waiting.answer(&Err(error.clone()));
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.bell.notify_all();
    }

    pub(super) fn is_well(&self) -> bool {
        !self.failed.load(Ordering::Acquire)
    }

    pub(super) fn figures(&self) -> StoreFigures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let waiting = self.lock().rows as u64;
        let (commits, rows) = (of(&self.commits), of(&self.rows));
        StoreFigures { commits, rows, failures: of(&self.failures), refused: of(&self.refused), waiting }
    }

    // Every change of the state is made after its last check.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_open(&self) -> Result<(), JournalError> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None if self.closed => Err(JournalErrorKind::Failed.into()),
            None => Ok(()),
        }
    }

    fn is_idle(&self) -> bool {
        self.next.is_empty() && !self.busy
    }

    fn has_room(&self, rows: usize, bytes: usize, bounds: WaitingBounds) -> bool {
        self.rows == 0 || (self.rows + rows <= bounds.rows && self.bytes + bytes <= bounds.bytes)
    }

    fn add(&mut self, changes: Vec<Change>, bytes: usize) -> oneshot::Receiver<Answer> {
        let rows = changes.len();
        let (sender, answer) = oneshot::channel();
        self.rows += rows;
        self.bytes += bytes;
        self.next.rows += rows;
        self.next.bytes += bytes;
        self.next.waiters.push(sender);
        if self.next.changes.is_empty() {
            self.next.changes = changes;
        } else {
            self.next.changes.extend(changes);
        }
        answer
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    fn answer(self, answer: &Answer) {
        for waiter in self.waiters {
            // Whoever does not wait any more does not need to know.
            let _gone = waiter.send(answer.clone());
        }
    }
}

fn bytes_of(change: &Change) -> usize {
    change.key.len() + change.value.as_ref().map_or(0, |value| value.len())
}
