//! Whether what is missing in Redis was never there.
//!
//! A Redis that started without its data, or a replica that took over with less of it, answers that a user is offline.
//! That is no outcome. So whoever finds something missing asks afterwards which run answered: only the run in which this
//! node has asserted everything it holds may say so.

use std::sync::{Mutex, PoisonError};

use gim_proto::Keys;
use tokio::sync::Notify;

use super::guard::Unproven;
use crate::store::{RunReader, Runs, Store, StoreError};

/// See the module.
#[derive(Debug)]
pub struct Proof {
    reader: RunReader,
    /// The runs in which everything was asserted. None: not yet.
    asserted: Mutex<Option<Runs>>,
    alarm: Notify,
}

impl Proof {
    pub(super) fn new(store: &Store, keys: &Keys) -> Self {
        Self { reader: RunReader::new(store, keys.meta()), asserted: Mutex::new(None), alarm: Notify::new() }
    }

    /// Takes note that everything this node holds is recorded in these runs.
    pub fn assert(&self, runs: Runs) {
        *self.asserted() = Some(runs);
    }

    /// Confirms that what was read before this call and not found was not there. One round trip.
    ///
    /// # Errors
    /// Redis does not answer, or has lost what this node recorded: it will be recorded again.
    pub async fn confirm(&self) -> Result<(), Unproven> {
        let runs = self.read().await.map_err(|_| Unproven)?;
        if self.asserted().as_ref() == Some(&runs) {
            return Ok(());
        }
        self.alarm.notify_one();
        Err(Unproven)
    }

    pub(super) async fn read(&self) -> Result<Runs, StoreError> {
        self.reader.read().await
    }

    /// Takes back what was asserted: another incarnation, or another run.
    pub(super) fn doubt(&self) {
        *self.asserted() = None;
    }

    pub(super) async fn alarmed(&self) {
        self.alarm.notified().await;
    }

    fn asserted(&self) -> std::sync::MutexGuard<'_, Option<Runs>> {
        self.asserted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
