//! What is written down about messages and users: `/api/v1/messages/{id}`, `/api/v1/receipts`, `/api/v1/presence`, and
//! `/api/v1/users/{uid}/trace`, which goes on as long as the caller listens.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream;
use gim_msg_queue::admin::ApiError;
use gim_proto::codes::ErrorCode;
use gim_proto::{EntryId, MessageId, Uid};
use gim_proxy_sdk::ledger::{Log, Noted, Step, steps};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::extract::{Path, Query};
use crate::core::Core;

/// Entries in one answer, unless fewer are asked for.
const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn journey(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = MessageId::parse(&id)?;
    let hops = core.ledger.journey(&id).await?;
    if hops.is_empty() {
        return Err(ApiError::not_found("nothing is known of this message: it was not traced, or too long ago"));
    }
    let hops: Vec<Step<'_>> = steps(&hops);
    Ok(Json(json!({ "id": id, "hops": hops })))
}

pub(super) async fn receipts(core: State<Arc<Core>>, page: Query<Page>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "receipts": read(core, Log::Receipts, page).await? })))
}

pub(super) async fn presence(core: State<Arc<Core>>, page: Query<Page>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "presence": read(core, Log::Presence, page).await? })))
}

async fn read(State(core): State<Arc<Core>>, log: Log, Query(page): Query<Page>) -> Result<Vec<Value>, ApiError> {
    let wrong = |_| ApiError::bad_request("after", "an entry id has the form `ms-seq`");
    let after = page.after.as_deref().map(EntryId::parse).transpose().map_err(wrong)?;
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::bad_request("limit", format!("a limit is 1 to {MOST}")));
    }
    Ok(core.ledger.read(log, after, limit).await?.into_iter().map(entry).collect())
}

/// An entry by its place, with the fields of the wire; figures stay text, as they are there.
fn entry(noted: Noted) -> Value {
    let fields: Map<String, Value> =
        noted.fields.into_iter().map(|(name, value)| (name.into(), String::from(value).into())).collect();
    json!({ "entry": noted.id.to_string(), "fields": fields })
}

pub(super) async fn follow(
    State(core): State<Arc<Core>>,
    Path(uid): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let following = core.followers.follow(Uid::parse(&uid)?).ok_or_else(|| {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, "too many follow users already")
    })?;
    let events = stream::unfold(following, |mut following| async move {
        let happening = following.next().await?;
        let event = Event::default().event(happening.event).json_data(&happening).unwrap_or_default();
        Some((Ok(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
