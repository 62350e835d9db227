//! Users that stop reading, and how to notice that the node noticed.

use std::time::Duration;

use bytes::Bytes;
use gim_proto::Uid;
use gim_proxy_sdk::{Outcome, RunProxy};

use super::node::TestNode;
use super::{http, within};

/// One message of the filling.
pub(crate) const PIECE: usize = 64 * 1024;

/// Sends directly to a user that does not read until the node says it is too slow, or 32 MiB were taken.
/// That is more than any socket buffers here plus the outbox.
pub(crate) async fn stall(node: &TestNode, uid: &str) -> bool {
    let uid = Uid::parse(uid).expect("a uid");
    let proxy = node.node.proxy();
    let piece = Bytes::from(vec![b'.'; PIECE]);
    for _ in 0..512 {
        let sent = proxy.send_msg_to_user(&uid, piece.clone()).await.expect("a direct send");
        match sent.outcome {
            Outcome::Offered => {}
            Outcome::Slow | Outcome::Offline => return true,
            other => panic!("{other:?} for a connected user"),
        }
    }
    false
}

/// Sends directly until the user's socket takes nothing any more: buffers grow for a while after they seem full.
pub(crate) async fn fill(node: &TestNode, uid: &str) {
    let uid = Uid::parse(uid).expect("a uid");
    let proxy = node.node.proxy();
    let piece = Bytes::from(vec![b'.'; PIECE]);
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    within("a socket to be full", async {
        loop {
            for _ in 0..64 {
                let sent = proxy.send_msg_to_user(&uid, piece.clone()).await.expect("a direct send");
                if sent.outcome == Outcome::Offline {
                    return;
                }
            }
            let mut looks = 0;
            while looks < 20 && waits(node).await {
                pause.tick().await;
                looks += 1;
            }
            if looks == 20 {
                return;
            }
        }
    })
    .await;
}

/// Whether some outbox holds what its socket did not take.
async fn waits(node: &TestNode) -> bool {
    let metrics = http::respond("GET", node.admin, "/metrics", &[], b"").await.text();
    metrics.lines().any(|line| line == "gim_outboxes_waiting 1")
}
