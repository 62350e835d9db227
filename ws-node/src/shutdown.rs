//! How a node stops: in phases, with a deadline, ending in a report.
//!
//! Owns the order: not ready, queue drained, sessions closed in waves with a hint when to come back, the rest forced.
//! What was accepted and is due is offered before the first session is closed.

use std::sync::Arc;
use std::time::Duration;

use gim_proto::codes::CloseCode;
use tokio::time::Instant;

use crate::config::ShutdownSection;
use crate::core::Core;
use crate::hub::Users;
use crate::session::Session;

/// Where a node stands between start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Takes connections and messages.
    Running = 0,
    /// Takes no new connections and no new messages; `/readyz` says so.
    NotReady = 1,
    /// Delivers what was accepted.
    DrainingQueue = 2,
    /// Closes its sessions in waves.
    DrainingSessions = 3,
    /// Everything is down.
    Stopped = 4,
}

impl Phase {
    /// The word in logs and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::NotReady => "not_ready",
            Self::DrainingQueue => "draining_queue",
            Self::DrainingSessions => "draining_sessions",
            Self::Stopped => "stopped",
        }
    }
}

/// What a stop came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Sessions that were gone, close frame written, before the deadline.
    pub clean: u64,
    /// Sessions cut at the deadline.
    pub forced: u64,
    /// Entries accepted and due that had no outcome at the deadline. Lost in mode `local`.
    pub unsettled: u64,
    /// Entries scheduled for later. Lost in mode `local`, whose queue lives in memory.
    pub scheduled: u64,
}

/// Closes all sessions in waves and waits until they are gone. Returns how many went clean and how many did not.
pub(crate) async fn drain_sessions(core: &Arc<Core>, section: &ShutdownSection, deadline: Instant) -> (u64, u64) {
    let sessions: Vec<Session> = (0..Users::SHARDS).flat_map(|shard| core.hub.users.shard(shard)).collect();
    let total = sessions.len() as u64;
    let pause = wave_pause(sessions.len(), section, deadline);
    for (number, session) in sessions.iter().enumerate() {
        session.close_with_hint(CloseCode::Restarting, "the node is stopping", hint(number, section.hint_spread));
        if let Some(pause) = pause
            && number % WAVE == WAVE - 1
        {
            tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
        }
    }
    drop(sessions);
    core.sessions.close();
    let gone = tokio::time::timeout_at(deadline, core.sessions.wait()).await;
    let forced = if gone.is_ok() { 0 } else { core.sessions.len() as u64 };
    (total.saturating_sub(forced), forced)
}

/// Closes all sessions and takes no new ones; the process stays. What is on the queue is not waited for.
pub(crate) async fn drain_alone(core: &Arc<Core>) -> (u64, u64) {
    core.enter(Phase::NotReady);
    core.enter(Phase::DrainingSessions);
    let section = &core.settings.drain;
    drain_sessions(core, section, Instant::now() + section.deadline).await
}

/// Sessions closed at once.
const WAVE: usize = 50;

/// When the queue has to be done, so that the sessions are not all cut at once.
pub(crate) fn queue_deadline(core: &Core, section: &ShutdownSection, start: Instant) -> Instant {
    let waves = Duration::from_secs_f64(core.hub.users.len() as f64 / f64::from(section.drain_rate));
    let for_sessions = waves.min(section.drain_over) + core.settings.close_timeout;
    start + section.deadline - for_sessions.min(section.deadline.mul_f64(2.0 / 3.0))
}

/// How long to wait between waves: as fast as `drain_rate`, or faster where all have to go within `drain_over` or the
/// deadline. `None`: all fit in one wave.
fn wave_pause(sessions: usize, section: &ShutdownSection, deadline: Instant) -> Option<Duration> {
    let waves = sessions.div_ceil(WAVE);
    if waves <= 1 {
        return None;
    }
    let by_rate = WAVE as f64 / f64::from(section.drain_rate);
    let left = deadline.saturating_duration_since(Instant::now()).mul_f64(0.75);
    let by_time = section.drain_over.min(left).as_secs_f64() / waves as f64;
    Some(Duration::from_secs_f64(by_rate.min(by_time)))
}

/// Spreads clients over the time in which they come back. A stride coprime to the modulus visits all values before it
/// repeats one, and neighbours are far apart.
fn hint(number: usize, spread: Duration) -> Duration {
    const STEPS: usize = 1_000;
    const STRIDE: usize = 617;
    let step = u32::try_from(number.wrapping_mul(STRIDE) % STEPS).unwrap_or(0);
    Duration::from_millis(100) + spread * step / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_spread_and_stay_within_the_spread() {
        let spread = Duration::from_secs(5);
        let hints: std::collections::HashSet<_> = (0..1_000).map(|number| hint(number, spread)).collect();
        assert_eq!(hints.len(), 1_000);
        assert!(hints.iter().all(|hint| *hint <= spread + Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn many_sessions_are_closed_faster_than_the_rate_when_time_is_short() {
        let section = ShutdownSection { drain_rate: 500, drain_over: Duration::from_secs(20), ..Default::default() };
        let late = Instant::now() + Duration::from_secs(30);
        assert_eq!(wave_pause(10, &section, late), None);
        assert_eq!(wave_pause(1_000, &section, late), Some(Duration::from_millis(100)));
        let pause = wave_pause(100_000, &section, late).unwrap();
        assert!(pause.mul_f64(2_000.0) <= Duration::from_secs(20), "{pause:?}");
    }
}
