//! The RPC surface: the unary calls of `gim.v1.Node` and `gim.v1.Queue`.
//!
//! Owns the translation between generated messages and the core, and nothing else. In mode `local` it listens on
//! loopback.

mod node;
mod queue;
mod status;

use std::sync::Arc;

use gim_proto::rpc::node_server::NodeServer;
use gim_proto::rpc::queue_server::QueueServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::core::Core;

/// A call's message is at most this long: 16 entries of the largest size.
const MOST_MESSAGE: usize = 16 * gim_proto::MAX_ENTRY_BYTES + 64 * 1024;
/// Calls of one connection at once; more wait.
const MOST_CALLS: usize = 256;

/// The RPC version this node speaks.
pub(crate) const VERSION: u32 = 1;

pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, stop: CancellationToken) {
    let node = NodeServer::new(node::NodeService::new(Arc::clone(&core))).max_decoding_message_size(MOST_MESSAGE);
    let queue = QueueServer::new(queue::QueueService::new(core)).max_decoding_message_size(MOST_MESSAGE);
    let served = Server::builder()
        .concurrency_limit_per_connection(MOST_CALLS)
        .add_service(node)
        .add_service(queue)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(error = %error, "the rpc listener failed");
    }
}
