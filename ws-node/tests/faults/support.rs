//! What the tests share: the node as a process, numbered traffic, clients that note what they see, and the oracle.

#[expect(dead_code, reason = "shared with the suites of one process, which use more of it")]
#[path = "../it/support/client.rs"]
pub(crate) mod client;
#[expect(dead_code, reason = "shared with the suites of one process, which use more of it")]
#[path = "../it/support/http.rs"]
pub(crate) mod http;
pub(crate) mod lanes;
pub(crate) mod node;
pub(crate) mod oracle;
pub(crate) mod recorder;
pub(crate) mod traffic;

use std::future::Future;
use std::time::Duration;

/// How long anything a test waits for may take. Far above what it takes, so that a busy machine fails nothing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

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
