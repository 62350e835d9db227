//! Figures of a lane.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use ::redis::Script;

use super::Lane;
use crate::queue::LaneStats;
use crate::store::StoreError;

static STATS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("stats.lua")));

/// The workers' consumer group.
const GROUP: &str = "gim";

impl Lane<'_> {
    /// Asks for the figures of one moment. Ages are on Redis' clock.
    pub(super) async fn stats(self) -> Result<LaneStats, StoreError> {
        let keys = &self.queue.keys;
        let mut call = STATS.key(keys.queue(self.lane));
        call.key(keys.later(self.lane)).key(keys.dead(self.lane)).arg(GROUP);
        let mut connection = self.connection().await?;
        let (lag, pending, later, dead, oldest_pending_ms) = call.invoke_async(&mut *connection).await?;
        let settled = self.settled.load(Ordering::Relaxed);
        Ok(LaneStats { lane: self.lane, lag, pending, later, dead, oldest_pending_ms, settled })
    }
}
