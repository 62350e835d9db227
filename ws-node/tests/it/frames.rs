//! The WebSocket of RFC 6455, byte by byte, in the manner of the Autobahn test suite: against a node that returns
//! every frame unchanged.

mod chopping;
mod closing;
mod control;
mod deflate;
mod fragments;
mod handshake;
mod head;
mod limits;
mod reserved;
mod sizes;
mod utf8;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::node::TestNode;
use crate::support::raw::Raw;

/// An echo node that many connections of one test share, each as a user of its own.
struct Echo {
    node: TestNode,
    users: AtomicU32,
}

impl Echo {
    async fn start() -> Self {
        // Hundreds of connections end by a breach, after which nobody answers the close frame.
        let node = TestNode::echo_with(|config| config.session.close_timeout = Duration::from_millis(200)).await;
        Self { node, users: AtomicU32::new(0) }
    }

    /// A client with text frames on `/acc`, where nothing comes unasked.
    async fn client(&self) -> Raw {
        let user = self.users.fetch_add(1, Ordering::Relaxed);
        Raw::connect(self.node.public, &format!("/acc?uid=u{user}&msg_code=1")).await
    }

    /// A fresh connection must be closed with this code for these bytes.
    async fn refuses(&self, what: &str, bytes: &[u8], code: u16) {
        let mut client = self.client().await;
        client.send_anyway(bytes).await;
        let found = client.frame().await;
        assert_eq!(found.close_code(), Some(code), "{what}");
        client.half_close().await;
        client.expect_end().await;
    }
}
