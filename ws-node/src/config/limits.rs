//! Section `limits`: what the public listener lets in.

use std::time::Duration;

use gim_msg_queue::config::{ByteSize, Invalid, duration, span_within, within};
use serde::{Deserialize, Serialize};

/// The public listener's bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// From accept to claim. At the bound the connection is closed, counted.
    #[serde(with = "duration")]
    pub handshake: Duration,
    /// Size of a request's head. At the bound the answer is 431.
    pub request_head: ByteSize,
    /// Header lines of a request. At the bound the answer is 431.
    pub request_headers: usize,
    /// Connections of this node. 0: the open-file limit less a reserve. At the bound the answer is 503 with
    /// `Retry-After`.
    pub connections: usize,
    /// Logins per second. 0: no limit. At the bound the answer is 503 with `Retry-After`.
    pub logins_per_second: u32,
    /// Connections from one IP address. 0: no limit. At the bound the answer is 429.
    pub connections_per_ip: u32,
    /// Whether `/` serves the page to try the service.
    pub page: bool,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            request_head: ByteSize::kib(8),
            request_headers: 64,
            connections: 0,
            logins_per_second: 0,
            connections_per_ip: 0,
            page: true,
        }
    }
}

impl LimitsSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        span_within("limits.handshake", self.handshake, Duration::from_millis(100)..=Duration::from_mins(10))?;
        // Less than this refuses ordinary browsers.
        within("limits.request_head", self.request_head, ByteSize::kib(1)..=ByteSize::mib(1))?;
        within("limits.request_headers", self.request_headers, 16..=1_024)?;
        within("limits.connections", self.connections, 0..=100_000_000)
    }
}
