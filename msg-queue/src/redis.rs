//! A lane kept in Redis: entries on a stream, what waits for its time beside it, one owner at a time.
//!
//! Owns the reader's side of a lane: its lease, reading, settling, trimming. Every script compares the term of the
//! ownership first, so that a worker that lost the lane can do nothing to it. What was read is *outstanding* until it is
//! settled, and never handed out twice meanwhile. After anything that may have lost an answer, what Redis holds as
//! handed out is compared with what is outstanding here, and the difference comes again. Never decides anything about
//! a message, and never restarts the process: every connection is made anew when it is needed.

mod aside;
mod behind;
mod chores;
mod clock;
mod connection;
mod decode;
mod drain;
mod fetch;
mod hand_out;
mod lease;
mod outstanding;
mod read;
mod renewal;
mod reply;
mod ride;
mod scripts;
mod settle;
mod shared;
mod survey;
mod trouble;
mod wake;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use gim_proto::{EntryId, Incarnation, Keys};
use gim_proxy_sdk::store::Store;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use self::fetch::Reader;
use self::lease::Own;
use self::shared::Shared;
use self::trouble::Trouble;
use crate::clock::Clock;
use crate::config::QueueSection;
use crate::observe::Observer;
use crate::source::{Backlog, Fetched, Room, Settlement, Source, SourceError};

pub use self::clock::RedisClock;

/// How often a lane that somebody else has is looked at: it may be given back before its lease is over.
const LOOK: Duration = Duration::from_millis(250);

/// A `fetch` begins anew so often when it finds that the lease or the consumer group is gone.
const TRIES: usize = 3;

/// What a [`RedisSource`] reads and for whom.
#[derive(Clone, Debug)]
pub struct LaneOptions {
    /// The lane, counted from 0.
    pub lane: u16,
    /// The run of the worker.
    pub owner: Incarnation,
    /// Runs of workers known to be dead: what they own is taken at once.
    pub voided: Vec<Incarnation>,
    /// Bounds of the lane.
    pub section: QueueSection,
    /// Where everything is.
    pub keys: Keys,
    /// How long a read waits for entries. Default of the callers: 1 s.
    pub block: Duration,
    /// How long the lane stays owned without a sign of life, renewed at a third. Default of the callers: 6 s.
    pub lease: Duration,
}

/// One lane as its worker reads it from Redis. Has to be used within a tokio runtime.
pub struct RedisSource {
    shared: Arc<Shared>,
    reader: Mutex<Reader>,
    renewal: OnceLock<AbortOnDropHandle<()>>,
}

impl RedisSource {
    /// Makes the source of a lane. It takes the lane when it is first read.
    #[must_use]
    pub fn new(store: &Store, options: LaneOptions, observer: Arc<dyn Observer>) -> Arc<Self> {
        let shared = Arc::new(Shared::new(store, options, observer));
        Arc::new(Self { shared, reader: Mutex::default(), renewal: OnceLock::new() })
    }

    /// Takes note that a run of a worker is dead: what it owns is taken at once.
    pub fn void(&self, incarnation: Incarnation) {
        self.shared.lease.void(incarnation);
        self.shared.wake.end_lease_wait();
    }

    /// Gives the lane back after the drain, if it is still this owner's. The source cannot be used any more.
    pub async fn release(&self) {
        if let Some(renewal) = self.renewal.get() {
            renewal.abort();
        }
        if let Ok(mut reader) = self.reader.try_lock() {
            reader.disconnect();
        }
        self.shared.release().await;
    }

    /// Waits until the lane is this owner's. False: somebody living has it.
    async fn own(&self) -> Result<bool, Trouble> {
        match self.shared.own().await? {
            Own::Held => {
                self.renewal.get_or_init(|| renewal::spawn(&self.shared));
                Ok(true)
            }
            Own::Waits(left) => {
                self.shared.wake.lease_wait(left.min(LOOK)).await;
                Ok(false)
            }
        }
    }

    async fn try_settle(&self, batch: &[(EntryId, Settlement)], run: Option<u64>) -> Result<(), Trouble> {
        match self.shared.settle(batch, run).await {
            // Nobody else's: Redis has lost it, or nobody renewed it while the process stood still.
            Err(Trouble::NoLease) => {
                self.shared.lease.doubt();
                match self.shared.own().await? {
                    Own::Held => self.shared.settle(batch, run).await,
                    Own::Waits(_) => Err(Trouble::NoLease),
                }
            }
            other => other,
        }
    }

    async fn try_fetch(&self, room: Room) -> Result<Vec<Fetched>, Trouble> {
        if !self.own().await? {
            return Ok(Vec::new());
        }
        self.reader.lock().await.fetch(&self.shared, room).await
    }
}

#[async_trait]
impl Source for RedisSource {
    fn lane(&self) -> u16 {
        self.shared.lane
    }

    fn term(&self) -> u64 {
        self.shared.lease.term()
    }

    /// That of the Redis that holds the lane.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock) as Arc<dyn Clock>
    }

    fn is_owned(&self) -> bool {
        self.shared.is_owned()
    }

    async fn confirm(&self) -> Result<(), SourceError> {
        self.own().await.map(|_| ()).map_err(SourceError::from)
    }

    fn doubt(&self) {
        self.shared.lease.doubt();
    }

    fn has_caught_up(&self) -> bool {
        self.shared.caught_up.load(Ordering::Acquire)
    }

    async fn fetch(&self, room: Room) -> Result<Vec<Fetched>, SourceError> {
        let mut last = Trouble::NoLease;
        for _ in 0..TRIES {
            last = match self.try_fetch(room).await {
                Err(Trouble::NoLease) => {
                    self.shared.lease.doubt();
                    Trouble::NoLease
                }
                Err(Trouble::NoGroup) => {
                    self.shared.chores().group_is_gone();
                    Trouble::NoGroup
                }
                other => return other.map_err(SourceError::from),
            };
        }
        Err(last.into())
    }

    async fn settle(&self, batch: &[(EntryId, Settlement)]) -> Result<(), SourceError> {
        self.try_settle(batch, None).await.map_err(SourceError::from)
    }

    fn run(&self) -> u64 {
        self.shared.run()
    }

    async fn settle_in(&self, run: u64, batch: &[(EntryId, Settlement)]) -> Result<(), SourceError> {
        let settled = self.try_settle(batch, Some(run)).await;
        if matches!(settled, Err(Trouble::OtherRun)) && self.shared.run() == run {
            // Redis has said so before anybody here knew: from now on it is known.
            self.shared.meet_run().await?;
        }
        settled.map_err(SourceError::from)
    }

    fn look_again(&self) {
        self.shared.caught_up.store(false, Ordering::Release);
        self.shared.chores().taken(false);
    }

    async fn rewind(&self) -> Result<usize, SourceError> {
        self.shared.caught_up.store(false, Ordering::Release);
        self.reader.lock().await.forget();
        self.shared.chores().start_over();
        Ok(self.shared.outstanding().clear())
    }

    fn stop_waiting(&self) {
        self.shared.wake.stop();
        self.shared.ring();
    }

    fn keeps_unread(&self) -> bool {
        true
    }

    fn backlog(&self) -> Backlog {
        self.shared.backlog()
    }
}
