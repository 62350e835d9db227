//! The queue in Redis streams, as producers and operators see it.
//!
//! Owns the operators' calls; enqueuing is the [`Producer`]'s. Long answers are read, and letters moved, over connections
//! of their own, so that no entry waits behind them. Never reads a lane: that is the worker's.

mod cancel;
mod dead;
mod redrive;
mod stats;
mod wake;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bb8::PooledConnection;
use gim_proto::{EntryId, Fields, Keys, MessageId};

use super::{Cancelled, DeadLetter, LaneStats, PerLane, Queue, QueueError, QueueErrorKind, Selection};
use crate::producer::{Bounds, Producer};
use crate::store::{Home, Pool, Store, StoreError};

/// The queue in Redis. Connects when it is first used.
#[derive(Debug)]
pub struct RedisQueue {
    producer: Producer,
    keys: Keys,
    later: u64,
    pools: PerLane<Pool>,
    settled: Box<[Arc<AtomicU64>]>,
    closed: AtomicBool,
}

/// One lane of the queue.
#[derive(Clone, Copy)]
struct Lane<'a> {
    queue: &'a RedisQueue,
    lane: u16,
    pool: &'a Pool,
    settled: &'a AtomicU64,
}

impl<'a> Lane<'a> {
    // On the heap: connecting makes it large, and most calls find a connection.
    async fn connection(self) -> Result<PooledConnection<'a, Home>, StoreError> {
        Box::pin(self.pool.connection()).await
    }
}

impl RedisQueue {
    /// Makes the queue of a node that has [agreed](super::agree_on_lanes) on the number of lanes.
    #[must_use]
    pub fn new(store: &Store, keys: Keys, lanes: NonZeroU16, bounds: Bounds) -> Self {
        let pools = PerLane::new(store, |lane| store.pool(keys.queue(lane)));
        Self {
            later: bounds.later,
            producer: Producer::of_node(store, keys.clone(), lanes, bounds),
            keys,
            pools,
            settled: (0..lanes.get()).map(|_| Arc::default()).collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Accepts nothing from now on: every enqueue and redrive answers [`QueueErrorKind::Unavailable`]. What was accepted
    /// stays, and calls on their way end as they would.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Shows the producer that this queue enqueues with.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Shows the counter of a lane's entries settled since this process started. A worker in this process counts there;
    /// without one it stays 0. None: there is no such lane.
    #[must_use]
    pub fn settled(&self, lane: u16) -> Option<Arc<AtomicU64>> {
        self.settled.get(usize::from(lane)).map(Arc::clone)
    }

    fn lane(&self, lane: u16) -> Result<Lane<'_>, QueueError> {
        let found = self.settled.get(usize::from(lane)).zip(self.pools.of(lane));
        let (settled, pool) = found.ok_or_else(|| {
            let highest = self.settled.len().saturating_sub(1);
            QueueError::new(QueueErrorKind::NoSuchLane, format!("the highest lane is {highest}"))
        })?;
        Ok(Lane { queue: self, lane, pool, settled })
    }

    fn check_open(&self) -> Result<(), QueueError> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(QueueError::new(QueueErrorKind::Unavailable, "the queue is shutting down")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueError> {
        self.check_open()?;
        self.producer.enqueue(entries).await
    }

    async fn stats(&self) -> Result<Vec<LaneStats>, QueueError> {
        let mut stats = Vec::with_capacity(self.settled.len());
        for lane in 0..u16::try_from(self.settled.len()).unwrap_or(u16::MAX) {
            stats.push(self.lane(lane)?.stats().await?);
        }
        Ok(stats)
    }

    async fn dead(&self, lane: u16, after: Option<EntryId>, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.lane(lane)?.dead(after, limit).await?)
    }

    async fn redrive(&self, lane: u16, which: Selection) -> Result<u64, QueueError> {
        let lane = self.lane(lane)?;
        self.check_open()?;
        lane.redrive(which).await
    }

    async fn purge(&self, lane: u16, which: Selection) -> Result<u64, QueueError> {
        Ok(self.lane(lane)?.purge(which).await?)
    }

    async fn cancel(&self, id: &MessageId) -> Result<Cancelled, QueueError> {
        self.cancel_everywhere(id).await
    }
}
