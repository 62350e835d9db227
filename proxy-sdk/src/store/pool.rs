//! Connections that a call has for itself for a while: those of operators, whose answers are long.
//!
//! Owns the bound on them. A connection is asked whether it lives before it is handed out; one that does not is replaced.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use bb8::{ManageConnection, PooledConnection, RunError};

use super::connect::Home;
use super::{Store, StoreError, StoreErrorKind};

/// Connections open at once, at most. Further calls wait for one.
const MOST: u32 = 4;
/// A connection not used for so long is closed.
const IDLE: Duration = Duration::from_mins(1);

/// A pool of connections to the master of one key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool(bb8::Pool<Home>);

impl Store {
    /// Makes a pool. It connects when it is first used.
    pub fn pool(&self, key: impl Into<Arc<str>>) -> Pool {
        let home = Home { store: self.clone(), key: key.into() };
        let wait = self.options().connect_timeout * 2;
        Pool(
            bb8::Pool::builder()
                .max_size(MOST)
                .min_idle(0)
                .idle_timeout(IDLE)
                .connection_timeout(wait)
                // A pool that retries hides the reason until the deadline.
                .retry_connection(false)
                .test_on_check_out(true)
                .build_unchecked(home),
        )
    }
}

impl Pool {
    /// Takes a connection out, until it is dropped.
    ///
    /// # Errors
    /// None can be made, or none came back in time.
    pub async fn connection(&self) -> Result<PooledConnection<'_, Home>, StoreError> {
        self.0.get().await.map_err(|error| match error {
            RunError::User(error) => error,
            RunError::TimedOut => StoreError { kind: StoreErrorKind::Unavailable, code: None, source: None },
        })
    }
}

impl ManageConnection for Home {
    type Connection = MultiplexedConnection;
    type Error = StoreError;

    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        self.store.connect(&self.key, Some(self.store.options().deadline())).await
    }

    async fn is_valid(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        Ok(::redis::cmd("PING").exec_async(connection).await?)
    }

    fn has_broken(&self, _connection: &mut MultiplexedConnection) -> bool {
        // Asked on the way out instead: the library does not tell.
        false
    }
}
