//! What the suites share: a node on free ports, clients that speak to it, and waits with deadlines.
//!
//! Owns no expectation about the node: those are in the suites.

pub(crate) mod beside;
pub(crate) mod chromium;
pub(crate) mod client;
pub(crate) mod gim;
pub(crate) mod http;
pub(crate) mod mode;
pub(crate) mod node;
pub(crate) mod raw;
pub(crate) mod stalled;
pub(crate) mod way;

use std::future::Future;
use std::time::Duration;

/// How long anything a test waits for may take. Far above what it takes, so that a busy machine fails nothing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Waits for something that must happen, and says what was missing if it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Asks again until the answer is there. For states that others reach and nobody announces.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    within(what, async {
        loop {
            pause.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    })
    .await
}
