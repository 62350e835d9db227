//! Errors on the RPC surface: the one place that builds a status.

use gim_proto::NameError;
use gim_proxy_sdk::ledger::{LedgerError, LedgerErrorKind};
use gim_proxy_sdk::queue::{QueueError, QueueErrorKind};
use gim_proxy_sdk::{Error, ErrorKind};
use tonic::{Code, Status};

pub(super) fn of_error(error: &Error) -> Status {
    let code = match error.kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Full => Code::ResourceExhausted,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
    };
    Status::new(code, error.to_string())
}

pub(super) fn of_queue(error: &QueueError) -> Status {
    let code = match error.kind {
        QueueErrorKind::Malformed | QueueErrorKind::TooLarge => Code::InvalidArgument,
        QueueErrorKind::Unsupported => Code::Unimplemented,
        QueueErrorKind::Full => Code::ResourceExhausted,
        QueueErrorKind::Unavailable => Code::Unavailable,
        QueueErrorKind::Timeout => Code::DeadlineExceeded,
        QueueErrorKind::NoSuchLane => Code::NotFound,
    };
    let place = match (error.index, &error.field) {
        (Some(index), Some(field)) => format!("entry {index}, {field}: "),
        (None, Some(field)) => format!("{field}: "),
        (Some(index), None) => format!("entry {index}: "),
        (None, None) => String::new(),
    };
    Status::new(code, format!("{place}{}", error.detail))
}

pub(super) fn of_ledger(error: &LedgerError) -> Status {
    match error.kind {
        LedgerErrorKind::Unavailable => Status::unavailable("the ledger cannot be read now"),
        LedgerErrorKind::Timeout => Status::deadline_exceeded("the ledger does not answer in time"),
    }
}

pub(super) fn of_name(error: NameError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The token was not shown.
pub(super) fn closed() -> Status {
    Status::unauthenticated("this node wants a token")
}

/// The caller and this node share no version.
pub(super) fn other_version() -> Status {
    let (lowest, highest) = (super::VERSIONS.start(), super::VERSIONS.end());
    Status::failed_precondition(format!("this node speaks versions {lowest} to {highest}"))
}
