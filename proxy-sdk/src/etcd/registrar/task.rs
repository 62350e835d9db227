//! The task of a registrar: holding the key, telling in time that it may be gone, and leaving.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::hold::Holder;
use super::{Facts, RegistrarState, Wanted};
use crate::etcd::backoff::Backoff;
use crate::etcd::fault::EtcdError;

/// A timer does not run while the machine sleeps: so often the clock is looked at that does.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until it is told to leave, or nobody is left to tell.
pub(super) async fn run(
    mut holder: Holder,
    facts: Arc<Facts>,
    mut wanted: watch::Receiver<Wanted>,
    state: watch::Sender<RegistrarState>,
) {
    let leaves = select! {
        never = hold(&mut holder) => match never {},
        () = tell_of_the_end(&facts, &state) => false,
        wanted = wanted.wait_for(|wanted| wanted.leave) => wanted.is_ok(),
    };
    facts.ends();
    if leaves {
        holder.leave().await;
    }
    state.send_replace(RegistrarState::Left);
}

async fn hold(holder: &mut Holder) -> std::convert::Infallible {
    let mut backoff = Backoff::default();
    loop {
        let error = holder.hold(&mut backoff).await;
        note(&error, &backoff);
        sleep(backoff.next()).await;
    }
}

fn note(error: &EtcdError, backoff: &Backoff) {
    let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
    if backoff.has_failed() {
        tracing::debug!(%error, cause, "this node's key in etcd is still not seen to");
    } else {
        tracing::warn!(%error, cause, "this node's key in etcd cannot be seen to; it is tried again");
    }
}

/// Says that the key may be gone, as soon as etcd may have dropped it: a call that hangs does not hold that up.
async fn tell_of_the_end(facts: &Facts, state: &watch::Sender<RegistrarState>) {
    let mut states = state.subscribe();
    let is_held = |state: &RegistrarState| matches!(state, RegistrarState::Registered { .. });
    while states.wait_for(is_held).await.is_ok() {
        match facts.remaining() {
            Some(left) => sleep(left.min(LOOK)).await,
            None => seek(facts, state),
        }
    }
}

fn seek(facts: &Facts, state: &watch::Sender<RegistrarState>) {
    let ended = state.send_if_modified(|state| {
        // Looked at again behind the lock: an answer may have come in between.
        let ends = matches!(state, RegistrarState::Registered { .. }) && facts.is_past();
        if ends {
            *state = RegistrarState::Seeking { since: Instant::now() };
        }
        ends
    });
    if ended {
        tracing::warn!("etcd has not answered for as long as it keeps this node's key: it counts as gone");
    }
}
