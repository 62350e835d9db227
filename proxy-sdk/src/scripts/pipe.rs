//! One connection of our own that all calls share: what many ask for at the same time goes out in one write.
//!
//! Owns the queue of calls, their deadlines and the connection, which is made anew for ever after it broke. A call is
//! answered, or fails: at once while there is no connection, when its deadline passes, and when the connection breaks, which
//! tells those that were sent from those that were not. Never sends anything twice, and never knows what it is.

mod answer;
mod driver;
mod words;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::fred::types::Value;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use self::answer::Caller;
pub(crate) use self::words::{Word, Words};
use crate::store::{Address, Store, StoreError};

/// Calls under way, at most, also those that nobody waits for any more. Further ones fail at once.
const UNDER_WAY: usize = 100_000;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Pipe(Arc<Shared>);

struct Shared {
    store: Store,
    to: End,
    queue: Mutex<Queue>,
    driver: AtomicWaker,
    /// Something for the driver to look at.
    news: AtomicBool,
    is_up: AtomicBool,
    /// The server is no master any more.
    demoted: AtomicBool,
    closing: AtomicBool,
    under_way: AtomicUsize,
    /// Calls refused because so many are.
    crowded: AtomicU64,
}

/// Whom a pipe leads to.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The one server there is, or whoever is the master at the time.
    Master,
    /// One server of a cluster.
    Server(Address),
}

/// What is not taken up by the driver yet.
#[derive(Default)]
struct Queue {
    /// None is taken while this is false.
    is_open: bool,
    out: Vec<u8>,
    calls: Vec<Call>,
}

struct Call {
    caller: Caller,
    /// When it is given up.
    due: Instant,
}

impl Pipe {
    pub(super) fn new(store: Store, to: End) -> Self {
        Self(Arc::new(Shared {
            store,
            to,
            queue: Mutex::default(),
            driver: AtomicWaker::new(),
            news: AtomicBool::new(false),
            is_up: AtomicBool::new(false),
            demoted: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            crowded: AtomicU64::new(0),
        }))
    }

    /// Connects, and keeps at it until [`close`](Self::close).
    pub(super) async fn open(&self) -> Result<JoinHandle<()>, StoreError> {
        let wire = self.0.connect().await?;
        // Whoever calls next must not find it closed because its task has not run yet.
        self.0.begin();
        Ok(tokio::spawn(driver::drive(Arc::clone(&self.0), Some(wire))))
    }

    /// Keeps trying to connect until [`close`](Self::close), beginning after a pause.
    pub(super) fn open_later(&self) -> JoinHandle<()> {
        tokio::spawn(driver::drive(Arc::clone(&self.0), None))
    }

    pub(super) fn is_up(&self) -> bool {
        self.0.is_up.load(Ordering::Acquire)
    }

    /// Counts the calls refused because too many were under way.
    pub(super) fn crowded(&self) -> u64 {
        self.0.crowded.load(Ordering::Relaxed)
    }

    /// Has the connection made anew after a pause, to whoever is the master then.
    pub(super) fn renew(&self) {
        self.0.demoted.store(true, Ordering::Release);
        self.0.ring();
    }

    /// Ends the connection when what is under way is answered, or after a while.
    pub(super) async fn close(&self, mut driver: JoinHandle<()>) {
        self.0.closing.store(true, Ordering::Release);
        self.0.ring();
        if timeout(GOODBYE, &mut driver).await.is_err() {
            driver.abort();
            // It is cancelled, and does not panic.
            let _ = driver.await;
        }
        self.0.shut();
    }

    /// Sends one command.
    pub(super) async fn call(&self, due: Instant, write: impl FnOnce(&mut Words<'_>)) -> Result<Value, StoreError> {
        let (caller, answer) = oneshot::channel();
        self.0.push(Caller::one(caller), due, write)?;
        // Dropped without an answer: the driver is gone, and what was sent with it.
        answer.await.unwrap_or_else(|_| Err(StoreError::unanswered()))
    }

    /// Sends so many commands, and waits for all answers.
    pub(super) async fn call_all(
        &self,
        commands: usize,
        due: Instant,
        write: impl FnOnce(&mut Words<'_>),
    ) -> Result<Vec<Value>, StoreError> {
        if commands == 0 {
            return Ok(Vec::new());
        }
        let (caller, answers) = oneshot::channel();
        self.0.push(Caller::many(caller, commands), due, write)?;
        answers.await.unwrap_or_else(|_| Err(StoreError::unanswered()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::Release);
        self.0.ring();
    }
}

impl Shared {
    fn push(&self, caller: Caller, due: Instant, write: impl FnOnce(&mut Words<'_>)) -> Result<(), StoreError> {
        let is_first = {
            let mut queue = self.queue();
            if !queue.is_open {
                return Err(StoreError::unreachable());
            }
            if self.under_way.load(Ordering::Relaxed) >= UNDER_WAY {
                self.crowded.fetch_add(1, Ordering::Relaxed);
                return Err(StoreError::crowded());
            }
            self.under_way.fetch_add(1, Ordering::Relaxed);
            write(&mut Words::onto(&mut queue.out));
            queue.calls.push(Call { caller, due });
            queue.calls.len() == 1
        };
        if is_first {
            self.ring();
        }
        Ok(())
    }

    fn ring(&self) {
        self.news.store(true, Ordering::Release);
        self.driver.wake();
    }

    /// Takes calls from now on.
    fn begin(&self) {
        self.queue().is_open = true;
        self.is_up.store(true, Ordering::Release);
    }

    /// Takes no more calls. Those that were not sent took no effect.
    fn shut(&self) {
        self.is_up.store(false, Ordering::Release);
        let unsent = {
            let mut queue = self.queue();
            queue.is_open = false;
            queue.out = Vec::new();
            std::mem::take(&mut queue.calls)
        };
        self.under_way.fetch_sub(unsent.len(), Ordering::Relaxed);
        unsent.into_iter().for_each(|call| call.caller.fail(StoreError::unreachable));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
