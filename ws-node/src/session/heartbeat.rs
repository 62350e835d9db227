//! Liveness: pings what has been silent, closes what has been silent too long.
//!
//! Owns the rule for one session. There is no timer per session: one task of the node visits all of them in turn.

use std::sync::atomic::Ordering;

use gim_proto::codes::CloseCode;
use gim_proto::websocket::Opcode;

use super::Session;

/// Looks at one session. `now_ms` is the node's clock.
pub(crate) fn sweep(session: &Session, now_ms: u64) {
    let settings = &session.0.core.settings;
    let silent = now_ms.saturating_sub(session.0.seen_ms.load(Ordering::Relaxed));
    // A client that waits for its answer is not read, and cannot be heard.
    let attending = session.0.attending.load(Ordering::Relaxed);
    if settings.keep_time_ms > 0 && silent >= settings.keep_time_ms && !attending {
        session.close(CloseCode::HeartbeatLost, "nothing was heard from the client");
        return;
    }
    let since_ping = now_ms.saturating_sub(session.0.pinged_ms.load(Ordering::Relaxed));
    // Behind waiting frames a ping would only measure the backlog.
    if settings.ping_ms > 0
        && silent >= settings.ping_ms
        && since_ping >= settings.ping_ms
        && session.has_nothing_waiting()
    {
        session.0.pinged_ms.store(now_ms, Ordering::Relaxed);
        session.reply(Opcode::Ping, &[]);
    }
}
