//! Keeps calls connected for as long as their adapter is there.
//!
//! Owns the life of the connections. That of a fred client: its first connection, another try after it has given up by
//! itself (fred does on some errors, such as a wrong password), a new connection when the server turns out to be no master
//! any more, and its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::fred::clients::Client;
use ::fred::interfaces::ClientLike;
use ::fred::types::ConnectHandle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::calls::{Calls, Shared};
use super::pipes::Keeper;
use super::way::{Cluster, Way};
use crate::store::{StoreError, StoreErrorKind};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Ends the connection when it is dropped.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    end: Mutex<Option<End>>,
}

/// What ends it.
enum End {
    Pipe(JoinHandle<()>),
    Cluster { pipes: Keeper, fred: (oneshot::Sender<()>, JoinHandle<()>) },
}

impl Connection {
    /// Connects, and keeps at it from then on.
    pub(crate) async fn open<E>(calls: &Calls<E>) -> Result<Self, StoreError> {
        let shared = Arc::clone(&calls.shared);
        // It has to be a connection at all, not an answer: whatever went wrong, nothing took effect.
        let failed = |error: StoreError| StoreError { kind: StoreErrorKind::Unavailable, ..error };
        let end = match &shared.way {
            Way::Pipe(pipe) => End::Pipe(pipe.open().await.map_err(failed)?),
            Way::Cluster(Cluster { pipes, fred }) => {
                let keeper = pipes.open().await.map_err(failed)?;
                let connected = match fred.init().await {
                    Ok(connected) => connected,
                    Err(error) => {
                        pipes.close(keeper).await;
                        return Err(failed(error.into()));
                    }
                };
                let (stop, stopped) = oneshot::channel();
                let task = tokio::spawn(keep(Arc::clone(&shared), fred.clone(), connected, stopped));
                End::Cluster { pipes: keeper, fred: (stop, task) }
            }
        };
        Ok(Self { shared, end: Mutex::new(Some(end)) })
    }

    /// Ends the connection and waits until it is gone. A second call does nothing.
    pub(crate) async fn close(&self) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (end, &self.shared.way) {
            (Some(End::Pipe(driver)), Way::Pipe(pipe)) => pipe.close(driver).await,
            (Some(End::Cluster { pipes: keeper, fred: (stop, task) }), Way::Cluster(Cluster { pipes, .. })) => {
                drop(stop);
                // It does not panic, and its goodbye has a bound.
                let _ = tokio::join!(task, pipes.close(keeper));
            }
            _ => {}
        }
    }
}

/// Runs until the sender of `stopped` is dropped.
async fn keep(shared: Arc<Shared>, client: Client, mut connected: ConnectHandle, mut stopped: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = &mut connected => match reconnect(&client, &mut stopped).await {
                Some(again) => connected = again,
                None => return,
            },
            () = shared.demoted.notified() => {
                tracing::warn!("redis is no master any more; looking for the one that is");
                tokio::select! {
                    _ = &mut stopped => break,
                    // An error is told to the calls. The pause keeps a server that stays no master from being asked in a circle.
                    _ = async { sleep(LAST_PAUSE / 2).await; client.force_reconnection().await } => {}
                }
            }
        }
    }
    // One that does not part in time is left to itself: its task ends with it.
    let _ = timeout(GOODBYE, client.quit()).await;
    connected.abort();
}

/// `None`: it was stopped meanwhile.
async fn reconnect(client: &Client, stopped: &mut oneshot::Receiver<()>) -> Option<ConnectHandle> {
    let mut pause = FIRST_PAUSE;
    loop {
        tracing::warn!(pause_ms = pause.as_millis(), "a connection to redis has ended; trying again");
        tokio::select! {
            _ = &mut *stopped => return None,
            () = sleep(pause) => {}
        }
        if let Ok(connected) = client.init().await {
            return Some(connected);
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
