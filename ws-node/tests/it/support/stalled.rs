//! Users that stop reading, and how to notice that the node noticed.

use bytes::Bytes;
use gim_proto::Uid;
use gim_proxy_sdk::{Outcome, RunProxy};

use super::node::TestNode;

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

/// Sends directly as much as surely fills the sockets' buffers, whatever becomes of it.
pub(crate) async fn fill(node: &TestNode, uid: &str) {
    let uid = Uid::parse(uid).expect("a uid");
    let proxy = node.node.proxy();
    let piece = Bytes::from(vec![b'.'; PIECE]);
    for _ in 0..256 {
        proxy.send_msg_to_user(&uid, piece.clone()).await.expect("a direct send");
    }
}
