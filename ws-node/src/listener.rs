//! The public listener: accepts connections, reads the request head, and makes sessions of upgrades.
//!
//! Owns a connection until it is a session or belongs to the HTTP router. Its deadline runs from the accept to the
//! granted claim, so that nobody holds a place here for free.

mod admission;
mod answer;
mod head;
mod holder;
mod login;
mod superseded;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::admission::{Admission, LoginFigures, Permit, PutOff, Turn, raise_open_file_limit};
use self::head::HeadError;
pub(crate) use self::superseded::{Superseded, tell_again as tell_superseded};
use crate::core::Core;
use crate::embed::Refusal;

/// Connections accepted in a row. Then everything else that is ready has its turn: deliveries to those who are connected
/// should not wait behind a crowd that comes.
const BATCH: usize = 32;

/// Accepts until `stop` is cancelled. Connections that are sessions by then live on.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, router: Router, stop: CancellationToken) {
    let plain = TaskTracker::new();
    // Whatever is accepted inherits it. A socket that refuses the option works all the same.
    let _nodelay = rustix::net::sockopt::set_tcp_nodelay(listener.as_fd(), true);
    let mut batch = 0;
    loop {
        if batch == BATCH {
            batch = 0;
            tokio::task::yield_now().await;
        }
        batch += 1;
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                core.metrics.accepted.increment(1);
                if let Some(permit) = core.admission.permit(peer.ip()) {
                    let (core, router) = (Arc::clone(&core), router.clone());
                    plain.spawn(Box::pin(handshake(core, socket, peer, permit, router)));
                } else {
                    core.metrics.refused("overrun");
                }
            }
            Err(error) => accept_failed(&core, &error).await,
        }
    }
    drop(listener);
    plain.close();
    plain.wait().await;
}

/// Out of descriptors or memory: accepting again at once would only spin.
async fn accept_failed(core: &Core, error: &io::Error) {
    core.metrics.accept_errors.increment(1);
    tracing::warn!(error = %error, "accept failed");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn handshake(core: Arc<Core>, socket: TcpStream, peer: SocketAddr, permit: Permit, router: Router) {
    let limit = core.settings.handshake;
    let deadline = tokio::time::Instant::now() + limit;
    let read = tokio::time::timeout_at(deadline, head::read(&socket, &core.settings)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(HeadError::TooLarge)) => {
            let refusal =
                Refusal::of_status(http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request head is too large");
            return Box::pin(answer::refuse(&core, &socket, &refusal, limit)).await;
        }
        Ok(Err(HeadError::Malformed)) => {
            let refusal = Refusal::bad_request("the request is not HTTP/1.1");
            return Box::pin(answer::refuse(&core, &socket, &refusal, limit)).await;
        }
        Ok(Err(HeadError::Gone)) => return core.metrics.refused("gone"),
        Err(_) => return core.metrics.refused("handshake_timeout"),
    };
    match head::parse(&bytes, core.settings.head_headers) {
        Ok(head) if head.is_for_sessions() => match head.detach(bytes, peer) {
            Ok((request, leftover)) => {
                // It may be one of very many that wait for their turn.
                drop(router);
                login::login(core, socket, permit, request, leftover, deadline).await;
            }
            Err(_) => {
                let refusal = Refusal::bad_request("the query is not UTF-8");
                Box::pin(answer::refuse(&core, &socket, &refusal, limit)).await;
            }
        },
        // Boxed, like all that is rare and large: every login would carry it.
        Ok(_) => Box::pin(answer::route(socket, bytes, router, limit)).await,
        Err(HeadError::TooLarge) => {
            let refusal = Refusal::of_status(http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers");
            Box::pin(answer::refuse(&core, &socket, &refusal, limit)).await;
        }
        Err(_) => {
            let refusal = Refusal::bad_request("the request is not HTTP/1.1");
            Box::pin(answer::refuse(&core, &socket, &refusal, limit)).await;
        }
    }
}
