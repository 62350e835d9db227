//! What the public listener answers beside sessions: a page to try it, and whether the node lives and takes logins.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use gim_msg_queue::admin::{method_not_allowed, not_found};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::core::Core;

const PAGE: &str = include_str!("page.html");

/// The page loads nothing from anywhere and may be framed by nobody.
const PAGE_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
             connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Routes of the public listener. `page`: whether `/` is answered; `admin`: what the page's curl line names.
pub(crate) fn router(core: Arc<Core>, page: bool, admin: String) -> Router {
    let mut router = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    if page {
        let html: Arc<str> = PAGE.replace("__ADMIN__", &admin).replace("__VERSION__", env!("CARGO_PKG_VERSION")).into();
        router = router.route("/", get(async move || (PAGE_HEADERS, Html(html.to_string()))));
    }
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(core)
}

/// The process runs.
pub(super) async fn healthz() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

/// The node takes connections, now. The connection that asks takes a place itself, for a moment.
async fn readyz(State(core): State<Arc<Core>>) -> Response {
    readiness(&core, core.admission.held().saturating_sub(1))
}

/// The same, asked on the admin listener.
pub(super) async fn readyz_for_operators(State(core): State<Arc<Core>>) -> Response {
    readiness(&core, core.admission.held())
}

fn readiness(core: &Core, held: usize) -> Response {
    let phase = core.phase();
    let full = held >= core.admission.connections();
    let well = core.redis_is_well().unwrap_or(true);
    let kept = core.store_is_well().unwrap_or(true);
    let ready = core.takes_logins() && !full && well && kept;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let state = match (full, well) {
        (true, _) => "full",
        (false, false) if core.takes_logins() => "redis_unavailable",
        (false, true) if core.takes_logins() && !kept => "store_failed",
        (false, _) => phase.as_str(),
    };
    (status, Json(json!({ "status": state, "connections": held }))).into_response()
}
