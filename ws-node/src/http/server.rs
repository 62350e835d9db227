//! Serves the admin listener: HTTP/1.1 with bounds on connections and on the time a request's head may take.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::Core;

/// Connections at once; more are closed at once and counted.
const MOST_CONNECTIONS: usize = 1_024;
/// How long a head may take, and a connection stay idle.
const HEAD: Duration = Duration::from_secs(30);

/// Serves until `stop` is cancelled, then finishes the requests under way.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, router: Router, stop: CancellationToken) {
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
                core.metrics.accept_errors.increment(1);
                tracing::warn!(error = %error, "accept failed on the admin listener");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                connections.spawn(connection(socket, router.clone(), stop.clone(), place));
            }
            Err(_) => core.metrics.refused("admin_full"),
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
