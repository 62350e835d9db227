//! The task that keeps a lane's lease alive.
//!
//! Ends with the source, and when the lane is lost. A renewal that fails is tried again sooner; what it means for the
//! lane is decided by whoever wants to read next.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::shared::Shared;

pub(super) fn spawn(shared: &Arc<Shared>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(run(Arc::downgrade(shared), shared.lease_time)))
}

async fn run(shared: Weak<Shared>, lease: Duration) {
    let mut wait = lease / 3;
    loop {
        sleep(wait).await;
        let Some(shared) = shared.upgrade().filter(|shared| !shared.lease.is_lost()) else { return };
        wait = if shared.renew().await.is_ok() { lease / 3 } else { lease / 12 };
    }
}
