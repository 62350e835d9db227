//! What applications plug into a node: who may connect, what happens then, which commands exist.
//!
//! Owns the callbacks and their isolation: each runs with a deadline, and a panic in one costs one request or one
//! login, never the session of somebody else. Callbacks take [`Session`] by value; it is a cheap handle.

mod request;

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gim_proto::Uid;
use gim_proto::codes::ErrorCode;
use gim_proxy_sdk::Sent;
use serde_json::{Value, json};

pub(crate) use self::request::{Attributes, Pairs, Place};
pub use self::request::{Identity, Refusal, UpgradeRequest};
use crate::proxy::Proxy;
use crate::session::{CloseReason, Session};

/// One message of a client, before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message; valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Frame {
    /// The payload.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

/// Whether a frame was dealt with by the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It was: the node does nothing with it.
    Yes,
    /// It was not: the node parses it as a request.
    No,
}

/// The error of a command handler, answered to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HandlerError {
    /// The code in the reply.
    pub code: ErrorCode,
    /// The text in the reply.
    pub message: String,
}

impl HandlerError {
    /// Makes an error with a code and a text for the client.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Makes the error of a client that may not do this (20006).
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }
}

impl From<gim_proxy_sdk::Error> for HandlerError {
    fn from(error: gim_proxy_sdk::Error) -> Self {
        Self::new(ErrorCode::HandlerFailed, error.to_string())
    }
}

impl From<crate::session::JoinError> for HandlerError {
    fn from(error: crate::session::JoinError) -> Self {
        Self::new(ErrorCode::HandlerFailed, error.to_string())
    }
}

/// What a command handler may return: the reply's `a`.
pub trait IntoReply {
    /// Turns it into JSON.
    fn into_reply(self) -> Value;
}

impl IntoReply for Value {
    fn into_reply(self) -> Value {
        self
    }
}

impl IntoReply for () {
    fn into_reply(self) -> Value {
        Value::Null
    }
}

impl IntoReply for Sent {
    fn into_reply(self) -> Value {
        json!({ "id": self.id, "outcome": self.outcome.as_str(), "sessions": self.sessions })
    }
}

/// The request a command handler answers.
pub struct Context {
    session: Session,
    proxy: Proxy,
    seq: String,
    cmd: String,
}

impl Context {
    pub(crate) fn new(session: Session, proxy: Proxy, seq: &str, cmd: &str) -> Self {
        Self { session, proxy, seq: seq.to_owned(), cmd: cmd.to_owned() }
    }

    /// The session that asks.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The user that asks.
    #[must_use]
    pub fn uid(&self) -> &Uid {
        self.session.uid()
    }

    /// Sends to other users and groups.
    #[must_use]
    pub const fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The client's number of this request, echoed in the reply.
    #[must_use]
    pub fn seq(&self) -> &str {
        &self.seq
    }

    /// The command.
    #[must_use]
    pub fn cmd(&self) -> &str {
        &self.cmd
    }
}

type Authorize = dyn Fn(UpgradeRequest) -> BoxFuture<'static, Result<Identity, Refusal>> + Send + Sync;
type Connected = dyn Fn(Session) -> BoxFuture<'static, ()> + Send + Sync;
type Disconnected = dyn Fn(Session, CloseReason) -> BoxFuture<'static, ()> + Send + Sync;
type OnFrame = dyn Fn(Session, Frame) -> BoxFuture<'static, Handled> + Send + Sync;
pub(crate) type Command = dyn Fn(Context, Value) -> BoxFuture<'static, Result<Value, HandlerError>> + Send + Sync;

/// The callbacks of one node.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) deadline: Duration,
    pub(crate) authorize: Option<Arc<Authorize>>,
    pub(crate) connect: Option<Arc<Connected>>,
    pub(crate) disconnect: Option<Arc<Disconnected>>,
    pub(crate) frame: Option<Arc<OnFrame>>,
    pub(crate) commands: HashMap<String, Arc<Command>>,
}

impl Handlers {
    /// Asks the application who connects. Without one the uid is taken from the query.
    pub(crate) async fn authorize(&self, request: &UpgradeRequest) -> Result<Identity, Refusal> {
        let Some(authorize) = &self.authorize else {
            return Identity::from_query(request);
        };
        guarded(self.deadline, || authorize(request.clone())).await
    }

    pub(crate) const fn takes_connects(&self) -> bool {
        self.connect.is_some()
    }

    pub(crate) async fn connected(&self, session: &Session) {
        if let Some(connect) = &self.connect {
            let outcome = guarded(self.deadline, || connect(session.clone()).map(Ok)).await;
            report(session, "on_connect", outcome);
        }
    }

    pub(crate) async fn disconnected(&self, session: &Session, why: CloseReason) {
        if let Some(disconnect) = &self.disconnect {
            let outcome = guarded(self.deadline, || disconnect(session.clone(), why).map(Ok)).await;
            report(session, "on_disconnect", outcome);
        }
    }

    pub(crate) const fn takes_frames(&self) -> bool {
        self.frame.is_some()
    }

    pub(crate) async fn took_frame(&self, session: &Session, frame: Frame) -> bool {
        let Some(on_frame) = &self.frame else { return false };
        match guarded(self.deadline, || on_frame(session.clone(), frame).map(Ok)).await {
            Ok(handled) => handled == Handled::Yes,
            Err(error) => {
                report(session, "on_frame", Err(error));
                true
            }
        }
    }

    pub(crate) fn command(&self, name: &str) -> Option<&Arc<Command>> {
        self.commands.get(name)
    }
}

fn report(session: &Session, callback: &'static str, outcome: Result<(), HandlerError>) {
    if let Err(error) = outcome {
        tracing::warn!(uid = %session.uid(), callback, error = %error, "application callback failed");
    }
}

/// What a callback that did not return in order comes to.
pub(crate) trait Failure {
    /// It panicked.
    fn panicked(what: &str) -> Self;
    /// It took longer than its deadline.
    fn late() -> Self;
}

impl Failure for HandlerError {
    fn panicked(what: &str) -> Self {
        // What a panic says is for the log, not for clients.
        tracing::error!(panic = what, "application code panicked");
        Self::new(ErrorCode::HandlerFailed, "the handler failed")
    }

    fn late() -> Self {
        Self::new(ErrorCode::HandlerTimeout, "the handler took too long")
    }
}

/// Runs application code with a deadline, and turns a panic into an error.
pub(crate) async fn guarded<T, E, F, Fut>(deadline: Duration, call: F) -> Result<T, E>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Failure,
{
    let guarded = AssertUnwindSafe(async { call().await }).catch_unwind();
    match tokio::time::timeout(deadline, guarded).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(E::panicked(panic_text(panic.as_ref()))),
        Err(_) => Err(E::late()),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text")
}
