//! One connection that many calls share, made anew after it failed.
//!
//! Owns the connection and its deadline. Calls made at the same time go out together. A call that failed is not
//! repeated here, unless the server refused it before it had any effect and only the connection was wrong: the caller
//! knows what a repetition would do.

use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue, Pipeline, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Store, StoreError, StoreErrorKind};

/// See the module. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    store: Store,
    key: Arc<str>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that only the one that failed is thrown away.
    generation: u64,
}

impl Store {
    /// Makes a link to the master of a key. It connects when it is first used.
    pub fn link(&self, key: impl Into<Arc<str>>) -> Link {
        Link(Arc::new(Shared { store: self.clone(), key: key.into(), current: Mutex::default() }))
    }
}

impl Link {
    /// Sends one command.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.call(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Sends several commands in one go.
    ///
    /// # Errors
    /// See [`StoreErrorKind`]; that of the first command that failed. The others have taken effect.
    pub async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, StoreError> {
        self.call(async |mut connection| pipe.query_async(&mut connection).await).await
    }

    /// Runs a script, which is loaded where it is not known yet.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    pub async fn script<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.call(async |mut connection| call.invoke_async(&mut connection).await).await
    }

    async fn call<T>(
        &self,
        send: impl AsyncFn(MultiplexedConnection) -> ::redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let first = self.attempt(&send).await;
        match first {
            // The slot or the master has moved: nothing took effect, and the next connection finds it.
            Err(error) if error.is("MOVED") || error.is("READONLY") => self.attempt(&send).await,
            other => other,
        }
    }

    async fn attempt<T>(
        &self,
        send: &impl AsyncFn(MultiplexedConnection) -> ::redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let (connection, generation) = self.connection().await?;
        let most = self.0.store.options().deadline();
        let answer = match timeout(most, send(connection)).await {
            Ok(answer) => answer.map_err(StoreError::from),
            Err(_) => Err(StoreError::unanswered()),
        };
        if answer.as_ref().is_err_and(StoreError::breaks_connection) {
            self.throw_away(generation).await;
        }
        answer
    }

    // Held while connecting: whoever comes meanwhile waits for the same connection, as long as it may take.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let Shared { store, key, current } = &*self.0;
        let mut current = current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.generation));
        }
        let connection = store.connect(key, Some(store.options().deadline())).await?;
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.generation))
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
        f.debug_struct("Link").field("key", &self.0.key).finish_non_exhaustive()
    }
}

impl StoreError {
    /// Tells whether the same call may succeed later without having taken effect now.
    #[must_use]
    pub const fn is_without_effect(&self) -> bool {
        !matches!(self.kind, StoreErrorKind::Unknown)
    }
}
