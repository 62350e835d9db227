//! Errors of the HTTP surfaces: the one place that turns a kind of error into a status.

use axum::Json;
use axum::response::{IntoResponse, Response};
use gim_proto::NameError;
use gim_proto::codes::ErrorCode;
use gim_proxy_sdk::ledger::{LedgerError, LedgerErrorKind};
use gim_proxy_sdk::queue::{QueueError, QueueErrorKind};
use gim_proxy_sdk::{Error, ErrorKind};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// `{"code","msg","field"?}` with a status.
#[derive(Debug)]
pub struct ApiError {
    /// The status of the answer.
    pub status: StatusCode,
    /// What went wrong, as a number that stays the same.
    pub code: ErrorCode,
    /// What went wrong, for people.
    pub message: String,
    /// The part of the request it is about, if it is one.
    pub field: Option<String>,
}

impl ApiError {
    /// Makes an error about the request as a whole.
    #[must_use]
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None }
    }

    /// Makes the error of a malformed part, 400.
    #[must_use]
    pub fn bad_request(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, ErrorCode::ParamsError, message);
        error.field = Some(field.into());
        error
    }

    /// Makes the error of a user that has no session, 404.
    #[must_use]
    pub fn offline() -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::UserOffline, "the user is not connected")
    }

    /// Makes the error of something that does not exist, 404.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::ParamsError, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "code": self.code.code(), "msg": self.message });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        let (status, code) = match error.kind {
            QueueErrorKind::Malformed | QueueErrorKind::Unsupported => {
                (StatusCode::BAD_REQUEST, ErrorCode::ParamsError)
            }
            QueueErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ParamsError),
            QueueErrorKind::Full => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited),
            QueueErrorKind::Unavailable | QueueErrorKind::Timeout => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::HandlerFailed)
            }
            QueueErrorKind::NoSuchLane => (StatusCode::NOT_FOUND, ErrorCode::ParamsError),
        };
        let field = match (error.index, error.field) {
            (Some(index), Some(field)) => Some(format!("{index}.{field}")),
            (Some(index), None) => Some(index.to_string()),
            (None, field) => field.map(String::from),
        };
        Self { status, code, message: error.detail.into(), field }
    }
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        let message = match error.kind {
            LedgerErrorKind::Unavailable => "the ledger cannot be read now",
            LedgerErrorKind::Timeout => "the ledger does not answer in time",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::HandlerFailed, message)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind {
            ErrorKind::Invalid | ErrorKind::Unsupported => (StatusCode::BAD_REQUEST, ErrorCode::ParamsError),
            ErrorKind::Unavailable | ErrorKind::Timeout => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::HandlerFailed),
            ErrorKind::Full => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::HandlerFailed),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.what, error.to_string())
    }
}
