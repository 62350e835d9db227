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
    /// Logins in a row after a quiet time, at least `logins_per_second`. 0: as many as that. Counts with it.
    pub login_burst: u32,
    /// Logins under way at once: the application asked, the uid claimed, the mailbox opened. Others wait.
    pub logins_at_once: usize,
    /// Logins that wait for their turn, at most for half of what is left of `handshake`. At the bound the answer is 503 with
    /// `Retry-After`.
    pub logins_waiting: usize,
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
            login_burst: 0,
            logins_at_once: 128,
            logins_waiting: 10_000,
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
        within("limits.connections", self.connections, 0..=100_000_000)?;
        within("limits.logins_per_second", self.logins_per_second, 0..=1_000_000)?;
        within("limits.login_burst", self.login_burst, 0..=1_000_000)?;
        if self.login_burst != 0 && self.login_burst < self.logins_per_second {
            // Who is refused is told whole seconds: as many as have a turn in one come at once.
            let allowed = "must be 0, or at least limits.logins_per_second";
            return Err(Invalid::against("limits.login_burst", "limits.logins_per_second", allowed));
        }
        within("limits.logins_at_once", self.logins_at_once, 1..=1_000_000)?;
        within("limits.logins_waiting", self.logins_waiting, 0..=10_000_000)
    }

    /// Logins in a row after a quiet time.
    pub(crate) const fn burst(&self) -> u32 {
        if self.login_burst > 0 { self.login_burst } else { self.logins_per_second }
    }
}
