//! `grpc.health.v1`: whether this node takes calls, for whoever spreads them.
//!
//! Owns the step from the node's phase to the answer. Open to everybody: it says no more than that.

use std::sync::Arc;

use gim_proto::rpc::node_server::SERVICE_NAME;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::core::Core;
use crate::shutdown::Phase;

/// The node as a whole, and the one service that others need of it.
const SERVICES: [&str; 2] = ["", SERVICE_NAME];

/// Makes the service, and what keeps its answers true until the node stops.
pub(super) fn service(
    core: &Arc<Core>,
    stop: CancellationToken,
) -> (HealthServer<HealthService>, impl Future<Output = ()> + use<>) {
    let reporter = HealthReporter::new();
    let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    (service, follow(Arc::clone(core), reporter, stop))
}

async fn follow(core: Arc<Core>, reporter: HealthReporter, stop: CancellationToken) {
    let mut phases = core.phases();
    loop {
        let status = match *phases.borrow_and_update() {
            Phase::Running => ServingStatus::Serving,
            _ => ServingStatus::NotServing,
        };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = phases.changed() => if changed.is_err() { break },
        }
    }
    // Whoever watches would keep the listener from closing.
    let mut reporter = reporter;
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}
