//! What a client may be told about time and room.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Bounds of a [`NodeClient`](super::NodeClient), and what it shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long a call may take, connecting and waiting for its turn included. 2 s unless set.
    pub deadline: Duration,
    /// The same for a drain, which closes a node's sessions in waves. 40 s unless set: more than a node's own deadline
    /// for it.
    pub drain_deadline: Duration,
    /// How long one attempt to connect may take. 1 s unless set.
    pub connect_timeout: Duration,
    /// How often an idle connection is asked whether it still stands. 10 s unless set.
    pub keep_alive: Duration,
    /// How long it may take to say so before the connection counts as broken. 5 s unless set.
    pub keep_alive_timeout: Duration,
    /// Bytes of requests in flight at once; each counts as [`SMALLEST`](Self::SMALLEST) at least. 8 MiB unless set,
    /// which is up to 256 calls. A request that is larger goes alone.
    pub in_flight: usize,
    /// What every call shows as `authorization: Bearer ...`: the nodes' `rpc.token`. None unless set. Never shown by
    /// `Debug`.
    pub token: Option<Arc<str>>,
}

impl ClientOptions {
    /// Bytes that the smallest request counts for in [`in_flight`](Self::in_flight).
    pub const SMALLEST: usize = 32 * 1024;

    /// Takes the defaults for processes of one service that call each other: a connection that stands still is found out
    /// within 3 s.
    #[must_use]
    pub fn between_processes(token: Option<Arc<str>>) -> Self {
        let second = Duration::from_secs(1);
        Self { keep_alive: second, keep_alive_timeout: 2 * second, token, ..Self::default() }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            drain_deadline: Duration::from_secs(40),
            connect_timeout: Duration::from_secs(1),
            keep_alive: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            in_flight: 8 * 1024 * 1024,
            token: None,
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientOptions")
            .field("deadline", &self.deadline)
            .field("drain_deadline", &self.drain_deadline)
            .field("connect_timeout", &self.connect_timeout)
            .field("keep_alive", &self.keep_alive)
            .field("keep_alive_timeout", &self.keep_alive_timeout)
            .field("in_flight", &self.in_flight)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", ClientOptions::between_processes(Some(Arc::from("0123456789abcdef"))));
        assert!(shown.contains("***") && !shown.contains("0123"), "{shown}");
    }
}
