//! Section `upstream`: client commands that business applications read.

use gim_msg_queue::config::{Invalid, within};
use serde::{Deserialize, Serialize};

/// What becomes of commands nobody here handles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSection {
    /// Whether commands without a handler go to the upstream stream, instead of being answered 20004.
    pub enabled: bool,
    /// Commands that wait there, not acknowledged by every group that reads. At the bound: answered 20005.
    pub entries: u64,
}

impl Default for UpstreamSection {
    fn default() -> Self {
        Self { enabled: false, entries: 1_000_000 }
    }
}

impl UpstreamSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("upstream.entries", self.entries, 1..=1_000_000_000)
    }
}
