//! Answers on the public listener that are no session: a refusal, or whatever the HTTP router says.

use std::io::Cursor;
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::Shutdown;
use serde_json::json;
use std::os::fd::AsFd;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::core::Core;
use crate::embed::Refusal;

/// How much of what a refused client still sends is read before its connection is cut.
const MOST_UNREAD: usize = 64 * 1024;

/// Writes a refusal and lets the client read it.
pub(super) async fn refuse(core: &Core, socket: &TcpStream, refusal: &Refusal, limit: Duration) {
    core.metrics.refused(refusal.status.as_str());
    let retry_after_s = match refusal.status {
        // Whatever the reason, there may be many of them, and they should not all come back in the same second.
        StatusCode::SERVICE_UNAVAILABLE => {
            refusal.retry_after_s.map(|least| least.saturating_add(core.admission.place_in_line()))
        }
        _ => refusal.retry_after_s,
    };
    let farewell = async {
        write_all(socket, &render(refusal, retry_after_s)).await?;
        rustix::net::shutdown(socket.as_fd(), Shutdown::Write)?;
        swallow(socket).await
    };
    // A client that is gone, or does not read, has no use for the answer.
    let _unheard = tokio::time::timeout(limit, farewell).await;
}

fn render(refusal: &Refusal, retry_after_s: Option<u64>) -> Vec<u8> {
    let body = json!({ "code": refusal.code.code(), "msg": refusal.message }).to_string();
    let mut head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n",
        refusal.status.as_u16(),
        refusal.status.canonical_reason().unwrap_or("Refused"),
        body.len()
    );
    if refusal.status == StatusCode::UPGRADE_REQUIRED {
        head.push_str("upgrade: websocket\r\nsec-websocket-version: 13\r\n");
    }
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        head.push_str("allow: GET\r\n");
    }
    if let Some(seconds) = retry_after_s {
        head.push_str(&format!("retry-after: {seconds}\r\n"));
    }
    format!("{head}\r\n{body}").into_bytes()
}

async fn write_all(socket: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Unread data at the close of a socket would reset the connection before the answer is read.
async fn swallow(socket: &TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 512];
    let mut swallowed = 0;
    while swallowed < MOST_UNREAD {
        socket.readable().await?;
        match socket.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => swallowed += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Hands a connection to the HTTP router, with what was read of it. One request per connection: the next one could be
/// an upgrade.
pub(super) async fn route(socket: TcpStream, read: Vec<u8>, router: Router, limit: Duration) {
    let (reader, writer) = socket.into_split();
    let io = TokioIo::new(tokio::io::join(Cursor::new(read).chain(reader), writer));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .keep_alive(false)
        .serve_connection(io, TowerToHyperService::new(router));
    match tokio::time::timeout(limit * 2, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = %error, "http connection failed"),
        Err(_) => tracing::debug!("http connection took too long"),
    }
}
