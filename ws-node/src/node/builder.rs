//! What an application sets before its node starts.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use gim_msg_queue::logging::LogGuard;
use serde_json::Value;

use super::{Node, StartError};
use crate::app;
use crate::config::Config;
use crate::embed::{Context, Frame, Handled, HandlerError, Handlers, Identity, IntoReply, Refusal, UpgradeRequest};
use crate::session::{CloseReason, Session};

/// Commands the node answers itself begin with this.
pub(crate) const RESERVED: &str = "gim.";

/// Collects callbacks, then starts the node.
///
/// Every callback runs with the deadline `session.handler_deadline`; a panic in one costs one request or one login. A
/// session that ends meanwhile is taken down at once, and the callback goes on to its end.
pub struct NodeBuilder {
    config: Config,
    handlers: Handlers,
    log: Option<Arc<LogGuard>>,
    wrong: Option<StartError>,
}

impl NodeBuilder {
    pub(super) fn new(config: Config) -> Self {
        let handlers = Handlers { deadline: config.session.handler_deadline, ..Handlers::default() };
        Self { config, handlers, log: None, wrong: None }
    }

    /// Decides who connects. Without it, the query's `uid` is believed.
    #[must_use]
    pub fn authorize<F, Fut>(mut self, authorize: F) -> Self
    where
        F: Fn(UpgradeRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Identity, Refusal>> + Send + 'static,
    {
        self.handlers.authorize = Some(Arc::new(move |request| authorize(request).boxed()));
        self
    }

    /// Is told of a session after its welcome and before its first command.
    #[must_use]
    pub fn on_connect<F, Fut>(mut self, connect: F) -> Self
    where
        F: Fn(Session) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.connect = Some(Arc::new(move |session| connect(session).boxed()));
        self
    }

    /// Is told once of every session that ended, after its groups are left.
    #[must_use]
    pub fn on_disconnect<F, Fut>(mut self, disconnect: F) -> Self
    where
        F: Fn(Session, CloseReason) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.disconnect = Some(Arc::new(move |session, why| disconnect(session, why).boxed()));
        self
    }

    /// Sees every message before it is parsed, and may deal with it.
    #[must_use]
    pub fn on_frame<F, Fut>(mut self, frame: F) -> Self
    where
        F: Fn(Session, Frame) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Handled> + Send + 'static,
    {
        self.handlers.frame = Some(Arc::new(move |session, message| frame(session, message).boxed()));
        self
    }

    /// Answers a command. Its `data` is an object or null.
    #[must_use]
    pub fn command<F, Fut, T, E>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Context, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: IntoReply + 'static,
        E: Into<HandlerError> + 'static,
    {
        let wrong = |why| StartError::Command { name: name.to_owned(), why };
        if name.is_empty() || name.starts_with(RESERVED) {
            self.wrong.get_or_insert(wrong("has a name the node keeps for itself"));
        }
        let handler = Arc::new(move |context: Context, data: Value| {
            let reply = handler(context, data);
            async move { reply.await.map(IntoReply::into_reply).map_err(Into::into) }.boxed()
        });
        if self.handlers.commands.insert(name.to_owned(), handler).is_some() {
            self.wrong.get_or_insert(wrong("is registered twice"));
        }
        self
    }

    /// Has the node report how many log lines were dropped.
    #[must_use]
    pub fn log_guard(mut self, guard: Arc<LogGuard>) -> Self {
        self.log = Some(guard);
        self
    }

    /// Opens the listeners and starts to serve. Returns when clients can connect.
    ///
    /// # Errors
    /// The configuration is not acceptable, a listener cannot be opened, a command is registered wrongly.
    pub async fn start(self) -> Result<Node, StartError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        self.config.validate()?;
        // Boxed: whoever starts a node would carry all of the start in a future of its own.
        let running = Box::pin(app::start(self.config, self.handlers, self.log)).await?;
        Ok(Node { running })
    }
}
