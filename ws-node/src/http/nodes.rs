//! `/api/v1/nodes`: who belongs to the cluster, and how to empty one of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gim_proto::NodeId;
use gim_proto::codes::ErrorCode;
use gim_proxy_sdk::members::Member;
use http::StatusCode;
use serde_json::{Value, json};

use super::extract::Path;
use super::sysinfo::others;
use crate::core::Core;
use crate::shutdown;
use gim_msg_queue::admin::ApiError;

pub(super) async fn list(State(core): State<Arc<Core>>) -> Json<Value> {
    let node = core.node();
    let own = json!({
        "id": node.id,
        "incarnation": node.incarnation.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "phase": core.phase().as_str(),
    });
    let nodes: Vec<Value> = std::iter::once(own).chain(others(&core).iter().map(show)).collect();
    Json(json!({ "nodes": nodes }))
}

fn show(member: &Member) -> Value {
    json!({
        "id": member.node.id,
        "incarnation": member.node.incarnation.to_string(),
        "version": *member.version,
        "rpc": *member.rpc,
        "public": *member.public,
    })
}

/// Begins to close a node's sessions and answers. `/sysinfo` tells how far it is: `phase`, `managerInfo.clientsLen`.
pub(super) async fn drain(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let id = NodeId::parse(&id)?;
    if core.node().id == id {
        let core = Arc::clone(&core);
        tokio::spawn(async move { shutdown::drain_alone(&core).await });
        return Ok(begun(&id));
    }
    let other = others(&core).into_iter().find(|member| member.node.id == id);
    let Some((other, peers)) = other.zip(core.peers.as_ref()) else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, ErrorCode::ParamsError, "no living node has this id"));
    };
    let client = peers.client(&other.node).map_err(gim_proxy_sdk::Error::from)?;
    // Whether it answers at all is told now; the drain itself takes longer than a request may.
    client.hello().await?;
    tokio::spawn(async move {
        match client.drain().await {
            Ok(drained) => tracing::info!(node = %id, clean = drained.clean, forced = drained.forced, "node drained"),
            Err(error) => tracing::warn!(node = %id, error = %error, "the node did not say how its drain ended"),
        }
    });
    Ok(begun(&other.node.id))
}

fn begun(id: &NodeId) -> (StatusCode, Json<Value>) {
    (StatusCode::ACCEPTED, Json(json!({ "id": id, "draining": true })))
}
