//! Whether what is missing in Redis was never there.
//!
//! A Redis that started without its data, or a replica that took over with less of it, answers that a user is offline.
//! That is no outcome. So whoever finds something missing asks afterwards which run answered: only the run in which this
//! node has asserted everything it holds may say so.

use std::sync::atomic::{AtomicU64, Ordering};
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
    doubts: AtomicU64,
}

/// The moment a look-up began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since(u64);

impl Proof {
    pub(super) fn new(store: &Store, keys: &Keys) -> Self {
        Self {
            reader: RunReader::new(store, keys.meta()),
            asserted: Mutex::new(None),
            alarm: Notify::new(),
            doubts: AtomicU64::new(0),
        }
    }

    /// Takes note that everything this node holds is recorded in these runs, if nothing was doubted since it began to be.
    pub fn assert(&self, since: Since, runs: Runs) {
        let mut asserted = self.asserted();
        if since == self.begin() {
            *asserted = Some(runs);
        }
    }

    /// Tells whether everything this node holds is recorded, as far as it knows.
    #[must_use]
    pub fn is_asserted(&self) -> bool {
        self.asserted().is_some()
    }

    /// Begins a look-up: its answer counts if nothing was doubted meanwhile.
    #[must_use]
    pub fn begin(&self) -> Since {
        Since(self.doubts.load(Ordering::Acquire))
    }

    /// Confirms that what was read since `begin` and not found was not there. One round trip.
    ///
    /// # Errors
    /// Redis does not answer, or has lost what this node recorded: it will be recorded again.
    pub async fn confirm(&self, since: Since) -> Result<(), Unproven> {
        let runs = self.read().await.map_err(|_| Unproven)?;
        let known = self.asserted().as_ref() == Some(&runs);
        // Whoever doubts counts first: an answer from before cannot pass for one from after.
        if known && since == self.begin() {
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
        let mut asserted = self.asserted();
        self.doubts.fetch_add(1, Ordering::AcqRel);
        *asserted = None;
    }

    pub(super) async fn alarmed(&self) {
        self.alarm.notified().await;
    }

    fn asserted(&self) -> std::sync::MutexGuard<'_, Option<Runs>> {
        self.asserted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
