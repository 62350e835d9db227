//! `/api/v1/messages`: one entry or an array of them onto the queue, all or none, and taking one back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gim_msg_queue::admin::ApiError;
use gim_proto::codes::ErrorCode;
use gim_proto::{Fields, MalformedKind, MessageId, Uid};
use gim_proxy_sdk::queue::{Cancelled, QueueError, QueueErrorKind};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::extract::{Body, Path, Query};
use crate::core::Core;

/// Entries in one call.
const MOST_ENTRIES: usize = 1_000;

pub(super) async fn enqueue(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    check_content_type(&headers)?;
    let entries = parse(&body)?;
    let ids = core.enqueue(entries).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "ids": ids }))))
}

/// Where a message is taken back from.
#[derive(Debug, Deserialize)]
pub(super) struct From {
    /// Out of this user's mailbox. Without it: out of the queue.
    uid: Option<String>,
}

pub(super) async fn cancel(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    Query(from): Query<From>,
) -> Result<Json<Value>, ApiError> {
    let id = MessageId::parse(&id)?;
    let uid = from.uid.as_deref().map(Uid::parse).transpose()?;
    match crate::cancel::cancel(&core, &id, uid.as_ref()).await? {
        Cancelled::Done(_) => Ok(Json(json!({ "cancelled": true }))),
        Cancelled::Unknown => Err(ApiError::not_found("there is no such message")),
        Cancelled::TooLate => {
            let message = "the message is being delivered, or was";
            Err(ApiError::new(StatusCode::CONFLICT, ErrorCode::ParamsError, message))
        }
    }
}

/// A page of another site can send plain text without being asked first, JSON it cannot.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::ParamsError,
        "the content type must be application/json",
    ))
}

fn parse(body: &[u8]) -> Result<Vec<Fields>, ApiError> {
    let first = body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(b'[') {
        return Ok(vec![parse_one(0, body)?]);
    }
    let objects: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::JsonError, error.to_string()))?;
    if objects.is_empty() || objects.len() > MOST_ENTRIES {
        let message = format!("send 1 to {MOST_ENTRIES} messages at once, not {}", objects.len());
        return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::ParamsError, message));
    }
    objects.iter().enumerate().map(|(index, object)| parse_one(index, object.get().as_bytes())).collect()
}

fn parse_one(index: usize, object: &[u8]) -> Result<Fields, ApiError> {
    Fields::from_json(object).map_err(|malformed| {
        let kind = match malformed.kind {
            MalformedKind::TooLarge => QueueErrorKind::TooLarge,
            _ => QueueErrorKind::Malformed,
        };
        let not_json = malformed.kind == MalformedKind::NotJson;
        let error = QueueError { kind, index: Some(index), field: Some(malformed.field), detail: malformed.detail };
        let mut error = ApiError::from(error);
        if not_json {
            error.code = ErrorCode::JsonError;
        }
        error
    })
}
