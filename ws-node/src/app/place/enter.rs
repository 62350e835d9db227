//! Taking the node's place: lanes agreed on, lease taken. A Redis that starts at the same time is waited for.

use gim_proto::{Incarnation, Keys};
use gim_proxy_sdk::lease::{LeaseError, LeaseOptions, NodeLease, RpcProbe};
use gim_proxy_sdk::queue::{LanesError, agree_on_lanes};
use gim_proxy_sdk::store::{Store, StoreErrorKind};
use tokio::time::{Duration, Instant, sleep};

use super::AGAIN;
use crate::app::backend::Candidate;
use crate::config::{Config, Invalid, Mode};
use crate::node::StartError;

/// How long a Redis that does not answer yet is waited for at start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Agrees on the lanes and takes the lease. Returns with it whose place it took.
pub(super) async fn enter(
    store: &Store,
    keys: &Keys,
    config: &Config,
    candidate: &Candidate,
) -> Result<(NodeLease, Vec<Incarnation>), StartError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match try_to_enter(store, keys, config, candidate).await {
            Err(StartError::Redis(error)) if is_passing(&error.kind) && Instant::now() < give_up => {
                tracing::warn!(error = %error, "redis does not answer yet");
                sleep(AGAIN).await;
            }
            other => return other,
        }
    }
}

async fn try_to_enter(
    store: &Store,
    keys: &Keys,
    config: &Config,
    candidate: &Candidate,
) -> Result<(NodeLease, Vec<Incarnation>), StartError> {
    agree_on_lanes(store, keys, config.queue.lanes).await.map_err(|error| match error {
        LanesError::Store(error) => StartError::Redis(error),
        other => StartError::Config(Invalid::new("queue.lanes", format!("must be as in redis: {other}"))),
    })?;
    let (rpc, public) = addresses(config, candidate);
    let id = candidate.id.clone();
    let options = match config.mode {
        Mode::Cluster => LeaseOptions::clustered(id, &rpc, public),
        Mode::Local | Mode::Redis => LeaseOptions::alone(id, &rpc, public),
    };
    let probe = RpcProbe { own: rpc, token: config.rpc.shown() };
    NodeLease::acquire(store, keys, options, &probe).await.map_err(|error| match error {
        LeaseError::Store(error) => StartError::Redis(error),
        held => StartError::Place(held),
    })
}

/// Where others reach the node: calls, and clients.
pub(super) fn addresses(config: &Config, candidate: &Candidate) -> (String, String) {
    let rpc = config.node.advertise_rpc.clone().unwrap_or_else(|| candidate.rpc.to_string());
    let public = config.node.advertise_public.clone().unwrap_or_else(|| candidate.public.to_string());
    (rpc, public)
}

const fn is_passing(kind: &StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
}
