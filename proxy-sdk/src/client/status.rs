//! From a gRPC status to an [`Error`]: the one place that knows both.

use tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::Address;
use crate::{Error, ErrorKind};

/// What a failed call comes to. The status is kept as its cause.
pub(super) fn error(status: Status, address: &Address) -> Error {
    let (kind, detail) = read(&status, address);
    Error::with_source(kind, detail, status)
}

/// What a call without an answer comes to.
pub(super) fn no_answer(address: &Address, elapsed: tokio::time::error::Elapsed) -> Error {
    Error::with_source(ErrorKind::Timeout, unanswered(address), elapsed)
}

/// An answer that breaks the contract.
pub(super) fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the node answered with {what} that cannot be read"))
}

fn read(status: &Status, address: &Address) -> (ErrorKind, String) {
    if status.code() == Code::DeadlineExceeded || is_timeout(status) {
        return (ErrorKind::Timeout, unanswered(address));
    }
    // Only what went wrong on the way has a cause on this side.
    if std::error::Error::source(status).is_some() {
        let detail = match status.code() {
            Code::Unavailable => format!("cannot reach the node at {address}"),
            _ => format!("the connection to the node at {address} broke"),
        };
        return (ErrorKind::Unavailable, detail);
    }
    let text = if status.message().is_empty() { status.code().description() } else { status.message() };
    (kind(status.code()), text.to_owned())
}

const fn kind(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::PermissionDenied
        | Code::Unauthenticated => ErrorKind::Invalid,
        Code::Unavailable | Code::Aborted => ErrorKind::Unavailable,
        Code::DeadlineExceeded | Code::Cancelled => ErrorKind::Timeout,
        Code::ResourceExhausted => ErrorKind::Full,
        Code::Unimplemented | Code::FailedPrecondition => ErrorKind::Unsupported,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => ErrorKind::Internal,
    }
}

/// The channel keeps the deadline too, and calls what it did a cancellation.
fn is_timeout(status: &Status) -> bool {
    is_caused_by::<TimeoutExpired>(status)
}

/// Whether a call certainly had no effect: there was no connection, or the node let nobody in.
pub(crate) fn never_reached(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Full | ErrorKind::Invalid | ErrorKind::Unsupported)
        || is_caused_by::<ConnectError>(error)
}

/// Whether a call that found nobody at home certainly had no effect: there was no connection, or the node has answered
/// that it does nothing now. A connection that broke later says nothing.
pub(crate) fn had_no_effect(error: &Error) -> bool {
    let status = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Status>());
    // What went wrong on the way has a cause on this side, what the node has answered has none.
    let is_answer = |status: &Status| std::error::Error::source(status).is_none();
    error.kind == ErrorKind::Unavailable && (status.is_some_and(is_answer) || is_caused_by::<ConnectError>(error))
}

fn is_caused_by<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn unanswered(address: &Address) -> String {
    format!("no answer in time from the node at {address}")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn of(status: Status) -> Error {
        error(status, &"127.0.0.1:8091".parse().unwrap())
    }

    #[test]
    fn what_the_node_says_keeps_its_words_and_its_status() {
        let error = of(Status::invalid_argument("entry 0, to_uid: uid is empty"));
        assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Invalid, "entry 0, to_uid: uid is empty"));
        let cause = error.source().and_then(|cause| cause.downcast_ref::<Status>()).map(Status::code);
        assert_eq!(cause, Some(Code::InvalidArgument));
    }

    #[test]
    fn a_status_without_words_is_described() {
        assert!(!of(Status::new(Code::Internal, "")).to_string().is_empty());
    }

    #[test]
    fn only_what_may_succeed_later_is_retryable() {
        let retryable =
            [Code::Unavailable, Code::Aborted, Code::DeadlineExceeded, Code::Cancelled, Code::ResourceExhausted];
        for number in 0..=16 {
            let code = Code::from_i32(number);
            assert_eq!(of(Status::new(code, "x")).is_retryable(), retryable.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn a_version_that_is_not_shared_is_unsupported() {
        assert_eq!(of(Status::failed_precondition("version 2 only")).kind, ErrorKind::Unsupported);
        assert_eq!(of(Status::unimplemented("class durable")).kind, ErrorKind::Unsupported);
    }

    #[test]
    fn a_broken_connection_is_told_from_an_answer() {
        let error = of(Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset))));
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.to_string().contains("http://127.0.0.1:8091"), "{error}");
    }

    #[test]
    fn only_a_node_that_says_so_has_certainly_done_nothing() {
        assert!(had_no_effect(&of(Status::unavailable("the node is stopping"))));
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(!had_no_effect(&of(Status::from_error(Box::new(broken)))));
        assert!(!had_no_effect(&of(Status::deadline_exceeded("late"))));
        assert!(!had_no_effect(&of(Status::invalid_argument("uid is empty"))));
        assert!(!had_no_effect(&Error::new(ErrorKind::Unavailable, "who knows")));
    }
}
