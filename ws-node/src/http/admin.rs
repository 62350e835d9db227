//! The routes of the admin listener.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use gim_msg_queue::admin::{self, ApiError, Guard};
use gim_msg_queue::config::Secret;
use gim_proto::MAX_ENTRY_BYTES;
use http::header;
use serde_json::json;

use super::{dead, groups, ledger, messages, nodes, public, users};
use crate::core::Core;

/// A request body is at most this long: 16 entries of the largest size, or 1,000 of 4 KiB.
const MOST_BODY: usize = 16 * MAX_ENTRY_BYTES;

/// Routes of the admin listener. `token`: what callers must present; without one they must be on this machine.
pub(crate) fn router(core: Arc<Core>, token: Option<Secret>) -> Router {
    let guard = Guard::new(token);
    let open =
        Router::new().route("/healthz", get(public::healthz)).route("/readyz", get(public::readyz_for_operators));
    let guarded = Router::new()
        .route("/sysinfo", get(sysinfo))
        .route("/metrics", get(metrics))
        .route("/api/v1/messages", post(messages::enqueue))
        .route("/api/v1/messages/{id}", get(ledger::journey).delete(messages::cancel))
        .route("/api/v1/receipts", get(ledger::receipts))
        .route("/api/v1/presence", get(ledger::presence))
        .route("/api/v1/users/query", post(users::query).get(users::show_query))
        .route("/api/v1/users/{uid}", get(users::show))
        .route("/api/v1/users/{uid}/trace", get(ledger::follow))
        .route("/api/v1/users/{uid}/session", delete(users::kick))
        .route("/api/v1/groups", get(groups::list))
        .route("/api/v1/groups/{tgid}", get(groups::show))
        .route("/api/v1/groups/{tgid}/members/{uid}", put(groups::join).delete(groups::leave))
        .route("/api/v1/queue", get(queue))
        .route("/api/v1/dead/{lane}", get(dead::list).delete(dead::purge))
        .route("/api/v1/dead/{lane}/redrive", post(dead::redrive))
        .route("/api/v1/nodes", get(nodes::list))
        .route("/api/v1/nodes/{id}/drain", post(nodes::drain))
        .fallback(admin::not_found)
        .method_not_allowed_fallback(admin::method_not_allowed)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(guard, admin::check));
    let count = middleware::from_fn_with_state(Arc::clone(&core), count);
    open.merge(guarded).layer(count).with_state(core)
}

/// Counts a request and bounds its time.
async fn count(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    let response = admin::bounded(request, next).await;
    core.metrics.http_done(response.status().as_u16());
    response
}

async fn sysinfo(State(core): State<Arc<Core>>) -> Json<serde_json::Value> {
    Json(super::sysinfo(&core).await)
}

async fn metrics(State(core): State<Arc<Core>>) -> Response {
    // A queue that does not answer leaves its figures as they were; `gim_redis_up` tells.
    let lanes = core.queue.stats().await.unwrap_or_default();
    let text = core.metrics.render(core.snapshot(), &lanes);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn queue(State(core): State<Arc<Core>>) -> Result<Json<serde_json::Value>, ApiError> {
    Ok(Json(json!({ "lanes": core.queue.stats().await? })))
}
