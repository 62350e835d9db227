//! The node's timer wheel: one task that visits every session in turn.
//!
//! Owns the pace. A session is looked at every quarter of the shortest span that matters to it, so pings and idle limits
//! are exact to that.

use std::sync::Arc;
use std::time::Duration;

use gim_msg_queue::exporter::as_f64;
use gim_proxy_sdk::mailbox::Overdue;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::hub::Users;
use crate::listener;
use crate::receipts::{End, Step};
use crate::session;

/// The directory forgets what has passed its time about this often.
const SWEEP: Duration = Duration::from_secs(1);

pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let beats = async {
        let Some(span) = shortest(core.settings.ping_ms, core.settings.keep_time_ms) else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval((span / 4 / u32::try_from(Users::SHARDS).unwrap_or(64)).max(FINEST));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for shard in 0..Users::SHARDS {
                ticks.tick().await;
                visit(&core, shard).await;
            }
        }
    };
    let sweeps = async {
        let mut told = Vec::new();
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            core.metrics.upkeep();
            core.settle_groups().await;
            listener::tell_superseded(&core).await;
            if let Err(error) = core.directory.sweep().await {
                tracing::warn!(error = %error, "the directory was not swept");
            }
            told = sweep_mailboxes(&core, &told).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = beats => {}
        () = sweeps => {}
    }
}

/// Returns what may be forgotten: what of it receipts are wanted of is written.
async fn sweep_mailboxes(core: &Core, told: &[Overdue]) -> Vec<Overdue> {
    // It can be named again, unlike most of what waits.
    if core.has_many_receipts() {
        return told.to_vec();
    }
    match core.mailboxes.sweep(told).await {
        Ok(overdue) => {
            core.metrics.mailbox_overdue.set(as_f64(overdue.len() as u64));
            let ends: Vec<_> = overdue.iter().map(|over| End::wanted(&over.uid, &over.id, Step::Expired)).collect();
            if core.tell_ends(&ends).await { overdue } else { Vec::new() }
        }
        Err(error) => {
            tracing::warn!(error = %error, "the mailboxes were not swept");
            Vec::new()
        }
    }
}

const FINEST: Duration = Duration::from_millis(1);

async fn visit(core: &Core, shard: usize) {
    let now = core.clock.elapsed_ms();
    for session in core.hub.users.shard(shard) {
        session::heartbeat(&session, now);
        tokio::task::coop::consume_budget().await;
    }
}

fn shortest(ping_ms: u64, keep_time_ms: u64) -> Option<Duration> {
    [ping_ms, keep_time_ms].into_iter().filter(|span| *span > 0).min().map(Duration::from_millis)
}
