//! Section `session`: how one session lives, and what it may take.

use std::time::Duration;

use gim_msg_queue::config::{ByteSize, Invalid, duration, span_within, within};
use gim_proxy_sdk::directory::OnDuplicate;
use serde::{Deserialize, Serialize};

const SHORTEST: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);

/// One session. All bounds are per session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSection {
    /// What happens when a uid connects that is connected already.
    pub on_duplicate: OnDuplicate,
    /// What happens to a client that does not keep up.
    pub on_slow: OnSlow,
    /// How often the server pings. None: never.
    #[serde(with = "duration::or_none")]
    pub ping: Option<Duration>,
    /// How long a client may be silent. None: for ever. At the bound: close 4002. Longer than `ping`.
    #[serde(with = "duration::or_none")]
    pub keep_time: Option<Duration>,
    /// How long a command handler may take. At the bound the reply is 20008.
    #[serde(with = "duration")]
    pub handler_deadline: Duration,
    /// Bytes waiting in the outbox. At the bound `on_slow` decides; what may not be dropped closes with 4001 at twice
    /// the bound.
    pub outbox_bytes: ByteSize,
    /// Frames waiting in the outbox, with the same outcome as `outbox_bytes`.
    pub outbox_frames: usize,
    /// Bytes waiting in all outboxes of the node. Above it a session whose outbox holds more than 64 KiB counts as at its
    /// bound.
    pub outbox_total: ByteSize,
    /// How long a write may make no progress. At the bound: close 4001.
    #[serde(with = "duration")]
    pub write_progress: Duration,
    /// Bad frames per minute. At the bound: close 4502.
    pub bad_frames_per_minute: u32,
    /// Groups a session may be in. At the bound a join is answered 20002.
    pub groups: usize,
    /// Joins per second. 0: no limit. At the bound a join is answered 20009.
    pub joins_per_second: u32,
    /// How long temporary memberships outlive a disconnect. `0`: not at all.
    #[serde(with = "duration")]
    pub membership_grace: Duration,
    /// How long the other side may take to answer a close. At the bound the connection is cut.
    #[serde(with = "duration")]
    pub close_timeout: Duration,
    /// Size of an inbound frame. At the bound: close 1009.
    pub frame_bytes: ByteSize,
    /// Size of an inbound message, all its frames. At the bound: close 1009. At least `frame_bytes`.
    pub message_bytes: ByteSize,
    /// Whether permessage-deflate (RFC 7692) is agreed on with clients that offer it. Messages of 256 bytes and more are
    /// then compressed, once for all who get the same.
    pub deflate: bool,
}

/// What happens to a client that does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSlow {
    /// The oldest frames that may be dropped are, outcome `slow`; the session stays.
    #[default]
    DropOldest,
    /// The session is closed with 4001.
    Close,
}

impl Default for SessionSection {
    fn default() -> Self {
        Self {
            on_duplicate: OnDuplicate::default(),
            on_slow: OnSlow::default(),
            ping: Some(Duration::from_secs(25)),
            keep_time: Some(Duration::from_mins(1)),
            handler_deadline: Duration::from_secs(10),
            outbox_bytes: ByteSize::mib(1),
            outbox_frames: 4_096,
            outbox_total: ByteSize::mib(256),
            write_progress: Duration::from_secs(10),
            bad_frames_per_minute: 10,
            groups: 1_000,
            joins_per_second: 0,
            membership_grace: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
            frame_bytes: ByteSize::kib(64),
            message_bytes: ByteSize::kib(256),
            deflate: false,
        }
    }
}

impl SessionSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds, or two that contradict each other.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.validate_spans()?;
        self.validate_counts()?;
        match (self.ping, self.keep_time) {
            (Some(ping), Some(keep_time)) if ping >= keep_time => Err(Invalid::against(
                "session.ping",
                "session.keep_time",
                "must be shorter than session.keep_time, or every quiet client is closed",
            )),
            _ => Ok(()),
        }
    }

    fn validate_spans(&self) -> Result<(), Invalid> {
        let day = HOUR * 24;
        span_within("session.ping", self.ping.unwrap_or(day), SHORTEST..=day)?;
        span_within("session.keep_time", self.keep_time.unwrap_or(day), SHORTEST..=day)?;
        span_within("session.handler_deadline", self.handler_deadline, SHORTEST..=HOUR)?;
        span_within("session.write_progress", self.write_progress, SHORTEST..=HOUR)?;
        span_within("session.membership_grace", self.membership_grace, Duration::ZERO..=day)?;
        span_within("session.close_timeout", self.close_timeout, SHORTEST..=HOUR)
    }

    fn validate_counts(&self) -> Result<(), Invalid> {
        within("session.outbox_bytes", self.outbox_bytes, ByteSize::kib(1)..=ByteSize::mib(1 << 10))?;
        within("session.outbox_frames", self.outbox_frames, 1..=1_000_000)?;
        within("session.outbox_total", self.outbox_total, ByteSize::mib(1)..=ByteSize::mib(1 << 20))?;
        within("session.bad_frames_per_minute", self.bad_frames_per_minute, 1..=1_000_000)?;
        within("session.groups", self.groups, 1..=1_000_000)?;
        within("session.frame_bytes", self.frame_bytes, ByteSize(125)..=ByteSize::mib(64))?;
        within("session.message_bytes", self.message_bytes, ByteSize(125)..=ByteSize::mib(64))?;
        if self.message_bytes < self.frame_bytes {
            return Err(Invalid::against(
                "session.message_bytes",
                "session.frame_bytes",
                "must be at least session.frame_bytes",
            ));
        }
        Ok(())
    }
}
