//! One connection that many calls share, made anew after it failed.
//!
//! Owns the connection and its deadline, and notices before a call that a rested connection does not stand any more. Calls made at the same time go out together. A call that failed is not
//! repeated here, unless the server refused it before it had any effect and only the connection was wrong: the caller
//! knows what a repetition would do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue, Pipeline, ScriptInvocation};
use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, timeout};

use super::{Address, Store, StoreError, StoreErrorKind};

/// See the module. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    store: Store,
    to: End,
    current: Mutex<Current>,
    /// Counts attempts to connect that failed.
    failures: AtomicU64,
}

/// A connection that rested for longer is asked whether it still stands.
const RESTED: Duration = Duration::from_secs(1);

/// Whom a link leads to.
#[derive(Debug)]
enum End {
    /// Whoever is the master of a key.
    MasterOf(Arc<str>),
    /// One server, whatever it is.
    Server(Address),
}

/// What is sent.
#[derive(Clone, Copy)]
enum Request<'a> {
    Command(&'a Cmd),
    Pipe(&'a Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send<T: FromRedisValue + Send>(self, connection: &mut MultiplexedConnection) -> ::redis::RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Pipe(pipe) => pipe.query_async(connection).await,
            Self::Script(script) => script.invoke_async(connection).await,
        }
    }
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// When it was used last.
    used: Option<Instant>,
    /// Counts connections, so that only the one that failed is thrown away.
    generation: u64,
    /// Why the last attempt to connect failed.
    failed: Option<StoreErrorKind>,
}

impl Store {
    /// Makes a link to the master of a key. It connects when it is first used.
    pub fn link(&self, key: impl Into<Arc<str>>) -> Link {
        self.link_to(End::MasterOf(key.into()))
    }

    /// Makes a link to one server.
    pub(super) fn link_at(&self, server: Address) -> Link {
        self.link_to(End::Server(server))
    }

    fn link_to(&self, to: End) -> Link {
        Link(Arc::new(Shared { store: self.clone(), to, current: Mutex::default(), failures: AtomicU64::new(0) }))
    }
}

impl Link {
    /// Sends one command.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    pub async fn query<T: FromRedisValue + Send>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.call(Request::Command(command)).await
    }

    /// Sends several commands in one go.
    ///
    /// # Errors
    /// See [`StoreErrorKind`]; that of the first command that failed. The others have taken effect.
    pub async fn pipe<T: FromRedisValue + Send>(&self, pipe: &Pipeline) -> Result<T, StoreError> {
        self.call(Request::Pipe(pipe)).await
    }

    /// Runs a script, which is loaded where it is not known yet.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    pub async fn script<T: FromRedisValue + Send>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.call(Request::Script(call)).await
    }

    async fn call<T: FromRedisValue + Send>(&self, request: Request<'_>) -> Result<T, StoreError> {
        let first = self.attempt(request).boxed().await;
        match first {
            // The slot or the master has moved: nothing took effect, and the next connection finds it.
            Err(error) if error.is("MOVED") || error.is("READONLY") => self.attempt(request).boxed().await,
            other => other,
        }
    }

    async fn attempt<T: FromRedisValue + Send>(&self, request: Request<'_>) -> Result<T, StoreError> {
        let (mut connection, generation) = self.connection().await?;
        let most = self.0.store.options().deadline();
        let answer = match timeout(most, request.send(&mut connection)).await {
            Ok(answer) => answer.map_err(StoreError::from),
            Err(_) => Err(StoreError::unanswered()),
        };
        if answer.as_ref().is_err_and(StoreError::breaks_connection) {
            self.throw_away(generation).await;
        }
        answer
    }

    // Held while connecting: whoever comes meanwhile waits for the same connection, as long as it may take, and fails
    // with it. Were each to try for itself, the last of many would wait for all the others' attempts.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let Shared { current, failures, .. } = &*self.0;
        let seen = failures.load(Ordering::Acquire);
        let mut current = current.lock().await;
        let now = Instant::now();
        let rested = current.used.replace(now).is_some_and(|used| now - used > RESTED);
        if let Some(mut connection) = current.connection.clone() {
            if !rested || self.answers(&mut connection).await {
                return Ok((connection, current.generation));
            }
            current.connection = None;
        }
        if let Some(kind) = current.failed.filter(|_| failures.load(Ordering::Acquire) != seen) {
            return Err(StoreError { kind, code: None, source: None });
        }
        match self.connect().await {
            Ok(connection) => {
                current.generation += 1;
                current.connection = Some(connection.clone());
                Ok((connection, current.generation))
            }
            Err(error) => {
                current.failed = Some(error.kind);
                failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Asks whether a connection still stands that nobody has used for a while: a call over one that does not would end
    /// without anybody knowing whether it took effect.
    async fn answers(&self, connection: &mut MultiplexedConnection) -> bool {
        let most = self.0.store.options().deadline();
        let pong = timeout(most, ::redis::cmd("PING").query_async::<()>(connection)).await;
        pong.is_ok_and(|pong| pong.is_ok())
    }

    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        let Shared { store, to, .. } = &*self.0;
        let deadline = Some(store.options().deadline());
        // On the heap: connecting is large and rare, and every call would carry it.
        match to {
            End::MasterOf(key) => Box::pin(store.connect(key, deadline)).await,
            End::Server(server) => Box::pin(store.connect_at(server, deadline)).await,
        }
    }

    async fn throw_away(&self, generation: u64) {
        let mut current = self.0.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("to", &self.0.to).finish_non_exhaustive()
    }
}

impl StoreError {
    /// Tells whether the same call may succeed later without having taken effect now.
    #[must_use]
    pub const fn is_without_effect(&self) -> bool {
        !matches!(self.kind, StoreErrorKind::Unknown)
    }
}
