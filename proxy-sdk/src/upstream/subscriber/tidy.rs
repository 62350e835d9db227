//! Deleting what every group has acknowledged, now and then.

use std::sync::LazyLock;
use std::time::Duration;

use ::redis::Script;
use tokio::time::Instant;

use crate::store::Link;

static TRIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("trim.lua")));

/// Not more often than this.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Tidy {
    is_due: bool,
    next: Option<Instant>,
}

impl Tidy {
    /// Takes note that there may be something to delete.
    pub(super) fn note(&mut self) {
        self.is_due = true;
    }

    /// Lets the next call delete at once.
    pub(super) fn hurry(&mut self) {
        self.next = None;
    }

    /// Deletes if there may be something and the last time was long enough ago. That it fails is no harm: whoever reads
    /// does it next time.
    pub(super) async fn trim(&mut self, link: &Link, key: &str) {
        let now = Instant::now();
        if !self.is_due || self.next.is_some_and(|next| next > now) {
            return;
        }
        self.is_due = false;
        self.next = Some(now + INTERVAL);
        if let Err(error) = link.script::<u64>(&TRIM.key(key)).await {
            tracing::debug!(key, %error, "the stream was not trimmed");
            self.is_due = true;
        }
    }
}
