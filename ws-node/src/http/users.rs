//! `/api/v1/users`: where users are connected, and how to end that.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gim_msg_queue::admin::ApiError;
use gim_proto::Uid;
use gim_proto::codes::ErrorCode;
use gim_proxy_sdk::RunProxy;
use gim_proxy_sdk::directory::{Freshness, Owner};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Body, Path};
use super::messages::check_content_type;
use crate::core::Core;

/// Users in one query.
pub(crate) const MOST_USERS: usize = 10_000;

#[derive(Deserialize)]
struct Asked {
    uids: Vec<String>,
}

/// Tells of many users whether and where they are connected, in the order asked.
pub(super) async fn query(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    check_content_type(&headers)?;
    let Asked { uids } = serde_json::from_slice(&body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::JsonError, error.to_string()))?;
    if uids.len() > MOST_USERS {
        return Err(ApiError::bad_request("uids", format!("ask for at most {MOST_USERS} users at once")));
    }
    let parse = |(at, uid): (usize, &String)| {
        Uid::parse(uid).map_err(|error| ApiError::bad_request(format!("uids.{at}"), error.to_string()))
    };
    let uids = uids.iter().enumerate().map(parse).collect::<Result<Vec<Uid>, ApiError>>()?;
    let owners = core.directory.lookup(&uids, Freshness::Current).await.map_err(gim_proxy_sdk::Error::from)?;
    let users: Vec<Value> = uids.iter().zip(owners).map(|(uid, owner)| state(uid, owner)).collect();
    Ok(Json(json!({ "users": users })))
}

fn state(uid: &Uid, owner: Option<Owner>) -> Value {
    match owner {
        Some(owner) => json!({ "uid": uid, "online": true, "node": owner.node.id, "fence": owner.fence.0 }),
        None => json!({ "uid": uid, "online": false }),
    }
}

/// A user may be called `query`, like the call beside it.
pub(super) async fn show_query(state: State<Arc<Core>>) -> Result<Json<Value>, ApiError> {
    show(state, Path("query".to_owned())).await
}

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
