//! Whoever owns a uid that a newcomer claims: here, on another node, or nowhere any more.
//!
//! Owns the questions to it and their deadline. Never decides who may have the uid: that is the directory's, by the
//! policy of `session.on_duplicate`.

use std::time::Duration;

use gim_proto::codes::CloseCode;
use gim_proxy_sdk::directory::{OnDuplicate, Owner};
use gim_proxy_sdk::peers::Stop;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::core::Core;
use crate::embed::Refusal;
use crate::session::Session;

/// How long a holder that does not answer is waited for.
pub(super) const HOLDER_PROBE: Duration = Duration::from_millis(300);
/// How long of that in the login's turn: a node that lives has answered by then, but on a busy machine.
pub(super) const HOLDER_IN_TURN: Duration = Duration::from_millis(20);
/// How often the directory is asked whether another node's session has released its uid: nobody announces that here.
const AGAIN: Duration = Duration::from_millis(20);
/// A node that does not answer and is dead has lost its lease after so many seconds.
const LEASE_S: u64 = 10;

/// What the holder of a uid does, when it keeps it by the policy.
pub(super) enum Holder {
    /// It stays connected, or ends with 4504 where both have to.
    Stays,
    /// It is on its way out and will release the uid.
    Leaves,
}

/// Asks the session that keeps the uid.
///
/// # Errors
/// Its node does not answer.
pub(super) async fn ask(core: &Core, newcomer: &Session, owner: &Owner) -> Result<Holder, Refusal> {
    let both = core.settings.on_duplicate == OnDuplicate::CloseBoth;
    if core.has_lived_as(&owner.node.incarnation) {
        let held = core.hub.session(newcomer.uid(), owner.session).filter(|held| !held.is_closing());
        let Some(held) = held else { return Ok(Holder::Leaves) };
        if both {
            held.close(CloseCode::AlreadyConnected, "connected from elsewhere");
        }
        return Ok(Holder::Stays);
    }
    let silent = || Refusal::unavailable("the node of the previous connection does not answer", LEASE_S);
    let peers = core.peers.as_ref().ok_or_else(silent)?;
    let stop = if both { Stop::AlreadyConnected } else { Stop::Ask };
    match peers.stop(newcomer.uid(), owner, stop, HOLDER_PROBE).await {
        Ok(true) => Ok(Holder::Stays),
        Ok(false) => Ok(Holder::Leaves),
        Err(error) => {
            tracing::debug!(uid = %newcomer.uid(), node = %owner.node.id, error = %error, "the holder's node is silent");
            Err(silent())
        }
    }
}

/// Waits until the holder may have released the uid. False: it has had its time.
pub(super) async fn wait_for_release(core: &Core, owner: &Owner, released: Notified<'_>, give_up: Instant) -> bool {
    if core.has_lived_as(&owner.node.incarnation) {
        return timeout_at(give_up, released).await.is_ok();
    }
    let next = Instant::now() + AGAIN;
    sleep_until(next).await;
    next < give_up
}

/// Tells the session that owned the uid until now to end, and waits until it has or its node has had its time: a
/// message that is routed to it afterwards finds nobody.
pub(super) async fn replace(core: &Core, newcomer: &Session, previous: &Owner) {
    // One that is gone already has been taken down by its own task.
    if core.has_lived_as(&previous.node.incarnation) {
        if let Some(held) = core.hub.session(newcomer.uid(), previous.session) {
            held.close(CloseCode::Replaced, "replaced by a newer connection");
        }
        return;
    }
    let Some(peers) = &core.peers else { return };
    if let Err(error) = peers.stop(newcomer.uid(), previous, Stop::Replaced, HOLDER_PROBE).await {
        // Its fence is too low from now on. Its node is told again until it has answered or its lease has ended.
        tracing::debug!(uid = %newcomer.uid(), node = %previous.node.id, error = %error, "the previous node is silent");
        core.metrics.silent_holder();
        core.superseded.note(newcomer.uid(), previous);
    }
}
