//! Serves the admin listener: HTTP/1.1 with bounds on connections and on the time a request and its head may take.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gim_proto::codes::ErrorCode;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics::Counter;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ApiError;

/// Connections at once; more are closed at once and counted.
const MOST_CONNECTIONS: usize = 1_024;
/// How long a head may take, and a connection stay idle.
const HEAD: Duration = Duration::from_secs(30);

/// The longest a request may take, its body included.
pub const LONGEST: Duration = Duration::from_secs(30);

/// What the server counts.
#[derive(Clone)]
pub struct Counters {
    /// Accepts that failed, for want of descriptors as a rule.
    pub accept_errors: Counter,
    /// Connections closed at once because there were too many.
    pub full: Counter,
}

/// Opens a listener whose queue is long enough for a storm of connections.
///
/// # Errors
/// The address is taken, or is none of this machine's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

/// Serves until `stop` is cancelled, then finishes the requests under way.
pub async fn serve(listener: TcpListener, router: Router, counters: Counters, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _peer)) => socket,
            Err(error) => {
                counters.accept_errors.increment(1);
                tracing::warn!(error = %error, "accept failed on the admin listener");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                connections.spawn(connection(socket, router.clone(), stop.clone(), place));
            }
            Err(_) => {
                counters.full.increment(1);
                tracing::debug!("too many connections on the admin listener, one was refused");
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(socket: TcpStream, router: Router, stop: CancellationToken, _place: OwnedSemaphorePermit) {
    // A socket that refuses the option works all the same.
    let _nodelay = socket.set_nodelay(true);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "admin connection failed");
    }
}

/// Bounds the time of a request: a client that sends its body slowly keeps no place for long.
pub async fn bounded(request: Request, next: Next) -> Response {
    match tokio::time::timeout(LONGEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::ParamsError, "the request took too long")
            .into_response(),
    }
}

/// The answer to a path that leads nowhere.
pub async fn not_found() -> ApiError {
    ApiError::not_found("there is nothing at this path")
}

/// The answer to a method that a path does not take.
pub async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::ParamsError, "this path does not take this method")
}
