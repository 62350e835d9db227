//! One lane in this worker's hands, from the moment it is to have it until it is given back.
//!
//! Owns the lane's source and task. A lane that was lost to somebody else is wanted again after a pause, with a source
//! that remembers nothing, as long as the lane is this worker's share.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use crate::redis::RedisSource;
use crate::source::Source;
use crate::worker::{DrainReport, LaneHandle, Worker};

/// Pause before a lane that was lost is wanted again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long giving the lease back may take beyond the deadline: it ends by itself.
const GIVING_BACK: Duration = Duration::from_secs(1);

/// Until when a lane has to be given back. None: it is wanted.
pub(super) type Leave = Option<Instant>;

/// Works on a lane until it has to be given back. Returns what came of it.
pub(super) async fn serve(team: Arc<Shared>, lane: u16, mut leave: watch::Receiver<Leave>) -> (u16, DrainReport) {
    let mut report = DrainReport::default();
    loop {
        let source = team.take(lane);
        let handle = Worker::start_lane(Arc::clone(&source) as Arc<dyn Source>, &team.ports, &team.worker);
        let asked = tokio::select! {
            asked = asked_to_leave(&mut leave) => Some(asked),
            () = handle.ended() => None,
        };
        report = report.and(end(&team, &source, handle, asked).await);
        // Nobody takes the lane again before the one that had it is over.
        if asked.is_some() || timeout(AGAIN, asked_to_leave(&mut leave)).await.is_ok() {
            return (lane, report);
        }
    }
}

/// Ends the work on a lane. Not asked: the lane is lost, and there is nothing to give back.
async fn end(team: &Shared, source: &RedisSource, handle: LaneHandle, asked: Leave) -> DrainReport {
    let report = handle.drain(asked.unwrap_or_else(Instant::now)).await;
    // Before it is somebody else's.
    team.left(source.lane());
    let Some(deadline) = asked else { return report.handed_over() };
    // Boxed: the types of so many calls are more than the compiler looks through.
    let _expires = timeout_at(deadline.max(Instant::now()) + GIVING_BACK, source.release().boxed()).await;
    report
}

/// Waits until the lane, or all of them, has to be given back.
pub(super) async fn asked_to_leave(leave: &mut watch::Receiver<Leave>) -> Instant {
    match leave.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        Err(_) => Instant::now(),
    }
}
