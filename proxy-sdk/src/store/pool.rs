//! Connections that a call has for itself for a while: those of operators, whose answers are long.
//!
//! Owns the bound on them. A connection is asked whether it lives before it is handed out; one that does not is replaced.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use bb8::{ManageConnection, PooledConnection, RunError};
use tokio::sync::watch;

use super::connect::Home;
use super::{Store, StoreError, StoreErrorKind};

/// Connections open at once, at most. Further calls wait for one.
const MOST: u32 = 4;
/// A connection not used for so long is closed.
const IDLE: Duration = Duration::from_mins(1);

/// A pool of connections to the master of one key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    pool: bb8::Pool<Home>,
    /// Why the last attempt to connect failed. The pool itself would not say, and wait.
    failed: watch::Sender<StoreErrorKind>,
}

impl Store {
    /// Makes a pool. It connects when it is first used.
    pub fn pool(&self, key: impl Into<Arc<str>>) -> Pool {
        let home =
            Home { store: self.clone(), key: key.into(), failed: watch::Sender::new(StoreErrorKind::Unavailable) };
        let failed = home.failed.clone();
        let wait = self.options().connect_timeout * 2;
        let pool = bb8::Pool::builder()
            .max_size(MOST)
            .min_idle(0)
            .idle_timeout(IDLE)
            .connection_timeout(wait)
            // A pool that retries hides the reason until the deadline.
            .retry_connection(false)
            .test_on_check_out(true)
            .build_unchecked(home);
        Pool { pool, failed }
    }
}

impl Pool {
    /// Takes a connection out, until it is dropped.
    ///
    /// # Errors
    /// None can be made, or none came back in time.
    pub async fn connection(&self) -> Result<PooledConnection<'_, Home>, StoreError> {
        let mut failed = self.failed.subscribe();
        let kind = tokio::select! {
            biased;
            taken = self.pool.get() => match taken {
                Ok(connection) => return Ok(connection),
                Err(RunError::User(error)) => return Err(error),
                Err(RunError::TimedOut) => StoreErrorKind::Unavailable,
            },
            // Whoever waits meanwhile fails too: it waits for a connection to the same server.
            changed = failed.changed() => changed.map_or(StoreErrorKind::Unavailable, |()| *failed.borrow()),
        };
        Err(StoreError { kind, code: None, source: None })
    }
}

impl ManageConnection for Home {
    type Connection = MultiplexedConnection;
    type Error = StoreError;

    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        let connected = self.store.connect(&self.key, Some(self.store.options().deadline())).await;
        if let Err(error) = &connected {
            self.failed.send_replace(error.kind);
        }
        connected
    }

    async fn is_valid(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        // Asks for the key, not only for a sign of life: a server that gave its slot away lives, and says so.
        let alive = ::redis::cmd("EXISTS").arg(&*self.key).exec_async(connection).await.map_err(StoreError::from);
        match alive {
            Err(error) if error.code.is_none() || error.is("MOVED") => Err(error),
            // Another connection would hear the same: the caller's own command says it.
            _ => Ok(()),
        }
    }

    fn has_broken(&self, _connection: &mut MultiplexedConnection) -> bool {
        // Asked on the way out instead: the library does not tell.
        false
    }
}
