//! What a producer may be told.

use std::num::NonZeroU16;
use std::time::Duration;

/// How a [`Producer`](super::Producer) finds its queue, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// What keys begin with: the nodes' `prefix`. `gim` unless set.
    pub prefix: String,
    /// Number of lanes, for a queue that no node has started yet. Not set: what the nodes agreed on.
    pub lanes: Option<NonZeroU16>,
    /// See there.
    pub bounds: Bounds,
}

/// Bounds of what is enqueued. Those of a lane are the same for everybody who puts something on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries of a lane that are not settled. At the bound a call is refused. 5,000,000 unless set.
    pub entries: u64,
    /// Entries of a lane that wait for their time. At the bound a scheduled entry is refused. 1,000,000 unless set.
    pub later: u64,
    /// How long an id is remembered, from its first acceptance on. 10 minutes unless set, 1 ms at least.
    pub idempotency_window: Duration,
    /// How far ahead an entry may be scheduled. 30 days unless set, and never more.
    pub schedule_ahead: Duration,
    /// Calls on their way at once. Further ones wait. 4,096 unless set.
    pub calls_in_flight: usize,
    /// Bytes of entries on their way at once. Further calls wait; one that is larger goes alone. 64 MiB unless set.
    pub bytes_in_flight: usize,
    /// How long a call may take, waiting for its turn and connecting included. 5 s unless set.
    pub deadline: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self { prefix: "gim".to_owned(), lanes: None, bounds: Bounds::default() }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries: 5_000_000,
            later: 1_000_000,
            idempotency_window: Duration::from_mins(10),
            schedule_ahead: gim_proto::MAX_SCHEDULE,
            calls_in_flight: 4_096,
            bytes_in_flight: 64 << 20,
            deadline: Duration::from_secs(5),
        }
    }
}
