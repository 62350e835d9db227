//! `/api/v1/dead`: entries that could not be delivered, to look at, put back or delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gim_msg_queue::admin::ApiError;
use gim_proto::EntryId;
use gim_proxy_sdk::queue::Selection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Body, Path, Query};
use crate::core::Core;

/// Letters in one answer, unless fewer are asked for.
const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

/// Which letters, by id. Without a body or without `ids`: all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    ids: Option<Vec<String>>,
}

pub(super) async fn list(
    State(core): State<Arc<Core>>,
    Path(lane): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    let after = page.after.as_deref().map(parse_id).transpose()?;
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MOST);
    let letters = core.queue.dead(parse_lane(&lane)?, after, limit).await?;
    let letters: Vec<_> =
        letters.iter().map(|letter| json!({ "id": letter.id.to_string(), "entry": letter.fields.to_json() })).collect();
    Ok(Json(json!({ "dead": letters })))
}

pub(super) async fn redrive(
    State(core): State<Arc<Core>>,
    Path(lane): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    let redriven = core.queue.redrive(parse_lane(&lane)?, selection(&body)?).await?;
    Ok(Json(json!({ "redriven": redriven })))
}

pub(super) async fn purge(
    State(core): State<Arc<Core>>,
    Path(lane): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    let purged = core.queue.purge(parse_lane(&lane)?, selection(&body)?).await?;
    Ok(Json(json!({ "purged": purged })))
}

fn selection(body: &[u8]) -> Result<Selection, ApiError> {
    if body.is_empty() {
        return Ok(Selection::All);
    }
    let chosen: Chosen =
        serde_json::from_slice(body).map_err(|error| ApiError::bad_request("ids", error.to_string()))?;
    match chosen.ids {
        None => Ok(Selection::All),
        Some(ids) => Ok(Selection::Ids(ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?)),
    }
}

fn parse_id(id: &str) -> Result<EntryId, ApiError> {
    EntryId::parse(id).map_err(|_| ApiError::bad_request("id", "an entry id has the form `ms-seq`"))
}

fn parse_lane(lane: &str) -> Result<u16, ApiError> {
    lane.parse().map_err(|_| ApiError::bad_request("lane", "a lane is a number from 0"))
}
