//! What the tests share: a whole cluster of processes with links that break, numbered traffic, clients that note what they
//! see and come back elsewhere, and the oracle.

#[expect(unreachable_pub, reason = "the rule of the example client itself")]
#[path = "../../../examples/src/backoff.rs"]
pub(crate) mod backoff;
#[path = "../it/support/beside.rs"]
pub(crate) mod beside;
#[expect(dead_code, reason = "shared with the suites of one process, which use more of it")]
#[path = "../it/support/client.rs"]
pub(crate) mod client;
pub(crate) mod cluster;
#[expect(dead_code, reason = "shared with the suites of one process, which use more of it")]
#[path = "../it/support/http.rs"]
pub(crate) mod http;
#[expect(dead_code, reason = "shared with the suite of faults, which uses more of it")]
#[path = "../faults/support/lanes.rs"]
pub(crate) mod lanes;
pub(crate) mod link;
pub(crate) mod node;
pub(crate) mod oracle;
pub(crate) mod play;
pub(crate) mod ports;
pub(crate) mod program;
pub(crate) mod recorder;
pub(crate) mod tap;
#[expect(dead_code, reason = "shared with the suite of faults, which uses more of it")]
#[path = "../faults/support/traffic.rs"]
pub(crate) mod traffic;

use std::future::Future;
use std::time::{Duration, SystemTime};

/// How long anything a test waits for may take. Far above what it takes, so that a busy machine fails nothing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that must happen, and says what was missing if it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Asks again until the answer is there. For states that others reach and nobody announces.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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

/// Unix milliseconds: the clock that entries are numbered by.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500000000")
}
