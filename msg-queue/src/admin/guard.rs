//! Who may use the admin listener: whoever has the token, or, without one, programs of this machine.
//!
//! A browser of this machine is also a program of it, led by whatever page is open: a foreign `Origin` or a host name
//! that somebody pointed at loopback is refused.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gim_proto::codes::ErrorCode;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::error::ApiError;
use crate::config::Secret;

/// What the guard knows: the token, if one is asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Option<Secret>>);

impl Guard {
    /// Asks for this token. None: only whoever is on this machine may ask.
    #[must_use]
    pub fn new(token: Option<Secret>) -> Self {
        Self(Arc::new(token))
    }
}

/// Lets a request pass or refuses it: middleware with a [`Guard`] as its state.
pub async fn check(State(Guard(token)): State<Guard>, request: Request, next: Next) -> Response {
    let refused = match token.as_ref() {
        Some(token) => check_token(token, request.headers()),
        None => check_host(request.headers()),
    };
    if let Err(error) = refused.and_then(|()| check_origin(request.headers())) {
        let mut response = error.into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        return response;
    }
    next.run(request).await
}

fn check_token(token: &Secret, headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match given {
        Some(given) if token.matches(given) => Ok(()),
        _ => Err(ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::Forbidden, "a bearer token is needed")),
    }
}

fn check_host(headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(without_port);
    match host {
        // Without a host header it is no browser.
        None => Ok(()),
        Some(host) if host == "localhost" || host.parse::<std::net::IpAddr>().is_ok() => Ok(()),
        Some(_) => Err(forbidden("the host header names neither an address nor localhost")),
    }
}

fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let origin = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if host == Some(origin) { Ok(()) } else { Err(forbidden("requests of other sites' pages are refused")) }
}

fn forbidden(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_name_pointed_at_loopback_is_refused_and_addresses_are_not() {
        for host in ["127.0.0.1:8081", "[::1]:8081", "localhost:8081", "localhost"] {
            assert!(check_host(&headers(&[(header::HOST, host)])).is_ok(), "{host}");
        }
        for host in ["rebound.example", "localhost.example:8081", ""] {
            assert!(check_host(&headers(&[(header::HOST, host)])).is_err(), "{host}");
        }
    }

    #[test]
    fn only_pages_of_this_listener_may_ask() {
        let own = headers(&[(header::HOST, "127.0.0.1:8081"), (header::ORIGIN, "http://127.0.0.1:8081")]);
        assert!(check_origin(&own).is_ok());
        for origin in ["http://127.0.0.1:8080", "https://evil.example", "null"] {
            let foreign = headers(&[(header::HOST, "127.0.0.1:8081"), (header::ORIGIN, origin)]);
            assert!(check_origin(&foreign).is_err(), "{origin}");
        }
    }
}
