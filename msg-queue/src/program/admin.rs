//! The routes of the worker's admin listener: whether it runs and can work, its figures, for programs and for people.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use gim_proxy_sdk::queue::LaneStats;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::running::{Phase, Standing};
use crate::admin::{self, Guard};
use crate::config::Secret;
use crate::host;

/// Nothing is sent here.
const MOST_BODY: usize = 4 * 1024;

/// Routes of the admin listener. `token`: what callers must present; without one they must be on this machine.
pub(super) fn router(standing: Arc<Standing>, token: Option<Secret>) -> Router {
    let guard = Guard::new(token);
    let guarded = Router::new()
        .route("/sysinfo", get(sysinfo))
        .route("/metrics", get(metrics))
        .fallback(admin::not_found)
        .method_not_allowed_fallback(admin::method_not_allowed)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(guard, admin::check));
    let open = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    let count = middleware::from_fn_with_state(Arc::clone(&standing), count);
    open.merge(guarded).layer(count).with_state(standing)
}

/// Counts a request and bounds its time.
async fn count(State(standing): State<Arc<Standing>>, request: Request, next: Next) -> Response {
    let response = admin::bounded(request, next).await;
    standing.figures.exporter.http_done(response.status().as_u16());
    response
}

/// The process runs.
async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The worker can work: Redis answers, and it is known which nodes live.
async fn readyz(State(standing): State<Arc<Standing>>) -> Response {
    let state = match standing.phase() {
        Phase::Running if !standing.redis_is_well().await => "redis_unavailable",
        Phase::Running if !standing.membership.live().view().is_known() => "no_view",
        phase => phase.as_str(),
    };
    let status = if state == Phase::Running.as_str() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "status": state, "lanes": standing.team.owned().len() }))).into_response()
}

async fn metrics(State(standing): State<Arc<Standing>>) -> Response {
    let well = standing.redis_is_well().await;
    let lanes = standing.lanes(well).await;
    let text = standing.figures.render(&standing, well, &lanes);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn sysinfo(State(standing): State<Arc<Standing>>) -> Json<Value> {
    let well = standing.redis_is_well().await;
    let owned = standing.team.owned();
    let mut lanes: Vec<LaneStats> = standing.lanes(well).await;
    lanes.retain(|lane| owned.contains(&lane.lane));
    let up = |up: bool| if up { "up" } else { "down" };
    let mut info = of_process(&standing);
    info["lanes"] = json!(lanes);
    info["lanes_owned"] = json!(owned);
    info["lanes_share"] = json!(standing.team.share());
    info["workers"] = workers(&standing);
    info["nodes"] = nodes(&standing);
    info["nodes_awaited"] = json!(standing.membership.stats().awaited.nodes);
    let losses = standing.store.losses();
    info["redis"] = json!({ "runs": losses.runs(), "possible_loss": losses.all() });
    info["dependencies"] = json!({
        "directory": up(well),
        "queue": up(well),
        "etcd": up(standing.watcher.is_connected()),
    });
    Json(info)
}

fn of_process(standing: &Standing) -> Value {
    let usage = host::usage();
    json!({
        "name": standing.id,
        "incarnation": standing.me.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "phase": standing.phase().as_str(),
        "numGoroutine": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        "cpuPercent": usage.cpu_percent,
        "memPercent": usage.memory_percent,
        "numCPU": usage.cores,
        "rss_bytes": host::resident_bytes(),
    })
}

fn workers(standing: &Standing) -> Value {
    let workers = standing.team.workers();
    workers.iter().map(|worker| json!({ "name": worker.id, "incarnation": worker.incarnation.to_string() })).collect()
}

fn nodes(standing: &Standing) -> Value {
    let (view, peers) = (standing.membership.live().view(), standing.peers.stats());
    let of_node = |member: &gim_proxy_sdk::members::Member| {
        let peer = peers.iter().find(|peer| peer.node == member.node);
        json!({
            "name": member.node.id,
            "incarnation": member.node.incarnation.to_string(),
            "rpc": &*member.rpc,
            "version": &*member.version,
            "connected": peer.is_some_and(|peer| peer.is_connected),
            "batches": peer.map_or(0, |peer| peer.batches),
            "reconnects": peer.map_or(0, |peer| peer.reconnects),
        })
    };
    view.members().iter().map(of_node).collect()
}
