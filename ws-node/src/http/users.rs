//! `/api/v1/users`: where a user is connected, and how to end that.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gim_msg_queue::admin::ApiError;
use gim_proto::Uid;
use gim_proxy_sdk::RunProxy;
use gim_proxy_sdk::directory::Freshness;
use http::StatusCode;
use serde_json::{Value, json};

use super::extract::Path;
use crate::core::Core;

pub(super) async fn show(State(core): State<Arc<Core>>, Path(uid): Path<String>) -> Result<Json<Value>, ApiError> {
    let uid = Uid::parse(&uid)?;
    let found = core.directory.lookup(std::slice::from_ref(&uid), Freshness::Current).await;
    let found = found.map_err(gim_proxy_sdk::Error::from)?;
    let Some(owner) = found.into_iter().next().flatten() else {
        return Ok(Json(json!({ "uid": uid, "online": false })));
    };
    let session = core.hub.session(&uid, owner.session);
    let groups = session.as_ref().map(crate::session::Session::groups);
    let peer = session.as_ref().map(|session| session.peer().to_string());
    Ok(Json(json!({
        "uid": uid,
        "online": true,
        "node": owner.node.id,
        // The session's id is its client's secret: who presents it gets its groups.
        "fence": owner.fence.0,
        "groups": groups,
        "peer": peer,
    })))
}

pub(super) async fn kick(State(core): State<Arc<Core>>, Path(uid): Path<String>) -> Result<StatusCode, ApiError> {
    let uid = Uid::parse(&uid)?;
    if core.proxy().stop_user_client(&uid, "").await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::offline()) }
}
