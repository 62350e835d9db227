//! The RPC surface: calls and streams of batches of `gim.v1.Node`, and the calls of `gim.v1.Queue` and `gim.v1.Ledger`, beside them health and
//! reflection.
//!
//! Owns the translation between generated messages and the core, who is let in, and nothing else. With a token everything
//! but health is closed to who does not show it; without one the listener is on loopback.

mod deliver;
mod door;
mod health;
mod ledger;
mod node;
mod queue;
mod status;

use std::sync::Arc;

use gim_msg_queue::config::Secret;
use gim_proto::rpc::ledger_server::LedgerServer;
use gim_proto::rpc::node_server::NodeServer;
use gim_proto::rpc::queue_server::QueueServer;
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use self::door::Door;
use crate::core::Core;
use crate::intake::Intake;

/// A call's message is at most this long: 16 entries of the largest size, or a batch's part twice over.
const MOST_MESSAGE: usize = 16 * gim_proto::MAX_ENTRY_BYTES + 64 * 1024;
/// Calls of one connection at once; more wait.
const MOST_CALLS: usize = 256;
/// How often a connection is asked whether it still stands, and how long it may take to say so.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// What calls under way get once the node is down. Streams end by themselves.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// The RPC versions this node speaks, lowest and highest.
pub(crate) const VERSIONS: std::ops::RangeInclusive<u32> = gim_proxy_sdk::client::VERSIONS;

/// What calls are answered with.
pub(crate) struct Calls {
    pub(crate) core: Arc<Core>,
    pub(crate) intake: Arc<Intake>,
    /// What callers have to show. None: nothing.
    pub(crate) token: Option<Secret>,
}

/// Answers calls until the node stops.
pub(crate) async fn serve(calls: Calls, listener: TcpListener, stop: CancellationToken) {
    let Calls { core, intake, token } = calls;
    let door = Door::new(Arc::clone(&core), token);
    let node = node::NodeService::new(Arc::clone(&core), intake, stop.clone());
    let queue = queue::QueueService::new(Arc::clone(&core));
    let ledger = ledger::LedgerService::new(Arc::clone(&core));
    let (health, followed) = health::service(&core, stop.clone());
    let server = Server::builder()
        .concurrency_limit_per_connection(MOST_CALLS)
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .add_service(health)
        .add_optional_service(reflection().map(|service| InterceptedService::new(service, door.clone())))
        .add_service(InterceptedService::new(
            NodeServer::new(node).max_decoding_message_size(MOST_MESSAGE),
            door.clone(),
        ))
        .add_service(InterceptedService::new(LedgerServer::new(ledger), door.clone()))
        .add_service(InterceptedService::new(QueueServer::new(queue).max_decoding_message_size(MOST_MESSAGE), door))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.clone().cancelled_owned(),
        );
    let last_calls = async {
        followed.await;
        sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = server => if let Err(error) = served {
            tracing::error!(error = %error, "the rpc listener failed");
        },
        () = last_calls => {}
    }
}

fn reflection() -> Option<ServerReflectionServer<impl ServerReflection>> {
    let contract = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(gim_proto::rpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    // The descriptors are built into the program: if they could not be read, its tests say so.
    contract.build_v1().inspect_err(|error| tracing::error!(error = %error, "no reflection")).ok()
}
