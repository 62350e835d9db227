//! What a failed call to etcd means.
//!
//! Owns the one translation from the client library's errors.

use etcd_client::Error;
use tonic::Code;

/// Settings that are not acceptable, or a call that failed.
#[derive(Debug, thiserror::Error)]
#[error("etcd: {kind}")]
pub struct EtcdError {
    /// What went wrong, for decisions.
    pub kind: EtcdErrorKind,
    /// The client library's error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What is not acceptable, or went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdErrorKind {
    /// There is none, there are too many, or one is no URL of a host.
    #[error("endpoints must be 1 to 16 of http://host:port or https://host:port, without user and password")]
    Endpoints,
    /// One of user and password without the other.
    #[error("user and password must be set together")]
    Login,
    /// Certificates that cannot be read, or that no endpoint asks for.
    #[error("certificates must be PEM, and need endpoints with https")]
    Certificates,
    /// It cannot be reached, or has no leader.
    #[error("it cannot be reached")]
    Unavailable,
    /// The call was sent and not answered in time. It may have taken effect.
    #[error("it did not answer in time")]
    Unanswered,
    /// It wants another user, password or certificate, or the user may not do this.
    #[error("it denies access")]
    Denied,
    /// The lease has ended.
    #[error("the lease has ended")]
    LeaseLost,
    /// It refused for another reason.
    #[error("it refused")]
    Refused,
}

impl EtcdError {
    /// Makes an error of the settings.
    pub(super) const fn of_options(kind: EtcdErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Makes an error of a deadline that has passed.
    pub(super) const fn unanswered() -> Self {
        Self { kind: EtcdErrorKind::Unanswered, source: None }
    }

    /// Makes an error of a connection or stream that has ended.
    pub(super) const fn unavailable() -> Self {
        Self { kind: EtcdErrorKind::Unavailable, source: None }
    }

    /// Makes an error of something that cannot be done, whatever the reason.
    pub(super) const fn refused(source: Option<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: EtcdErrorKind::Refused, source }
    }

    /// Makes an error of a lease that is no more.
    pub(super) const fn lease_lost() -> Self {
        Self { kind: EtcdErrorKind::LeaseLost, source: None }
    }
}

impl From<Error> for EtcdError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::GRpcStatus(status) => of_status(status),
            Error::LeaseKeepAliveError(text) if text.contains("lease not found") => EtcdErrorKind::LeaseLost,
            Error::InvalidArgs(_) | Error::InvalidUri(_) => EtcdErrorKind::Endpoints,
            _ => EtcdErrorKind::Unavailable,
        };
        Self { kind, source: Some(Box::new(error)) }
    }
}

fn of_status(status: &tonic::Status) -> EtcdErrorKind {
    match status.code() {
        Code::NotFound if status.message().contains("lease") => EtcdErrorKind::LeaseLost,
        Code::Unauthenticated | Code::PermissionDenied => EtcdErrorKind::Denied,
        // How it says that user or password is wrong, or that none was given.
        Code::InvalidArgument if ["auth", "user name"].iter().any(|word| status.message().contains(word)) => {
            EtcdErrorKind::Denied
        }
        Code::DeadlineExceeded | Code::Cancelled => EtcdErrorKind::Unanswered,
        Code::Unavailable | Code::Unknown | Code::Internal => EtcdErrorKind::Unavailable,
        _ => EtcdErrorKind::Refused,
    }
}
