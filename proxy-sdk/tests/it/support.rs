//! What the suites share: a node made of closures, and waits with deadlines.

pub(crate) mod fake;
pub(crate) mod line;
pub(crate) mod relay;
pub(crate) mod streams;

use std::time::Duration;

use gim_proxy_sdk::ClientOptions;

/// Far above what anything here takes, so that a busy machine fails nothing.
pub(crate) const LONG: Duration = Duration::from_secs(15);
/// What a call may take that is meant to fail.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) fn patient() -> ClientOptions {
    ClientOptions { deadline: LONG, ..ClientOptions::default() }
}

pub(crate) fn impatient() -> ClientOptions {
    ClientOptions { deadline: SHORT, ..ClientOptions::default() }
}

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {LONG:?} in vain for {what}"),
    }
}
