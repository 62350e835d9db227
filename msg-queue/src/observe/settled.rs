//! The count of settled entries, kept where the queue's figures are read.
//!
//! Owns the step from the worker's event to the queue's counter: a queue in Redis knows nothing of the worker in this
//! process. Passes every event on as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gim_proxy_sdk::queue::RedisQueue;

use super::{Event, Observer};

/// See the module.
pub struct CountSettled {
    lanes: Box<[Arc<AtomicU64>]>,
    next: Arc<dyn Observer>,
}

impl CountSettled {
    /// Counts in the queue what `next` hears of.
    #[must_use]
    pub fn new(queue: &RedisQueue, next: &Arc<dyn Observer>) -> Arc<Self> {
        let lanes = (0..).map_while(|lane| queue.settled(lane)).collect();
        Arc::new(Self { lanes, next: Arc::clone(next) })
    }
}

impl Observer for CountSettled {
    fn record(&self, lane: u16, event: &Event) {
        if let Event::Settled { entries } = event
            && let Some(settled) = self.lanes.get(usize::from(lane))
        {
            settled.fetch_add(*entries as u64, Ordering::Relaxed);
        }
        self.next.record(lane, event);
    }
}
