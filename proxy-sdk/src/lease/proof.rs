//! Whether what is missing in Redis was never there.
//!
//! A Redis that started without its data, or a replica that took over with less of it, answers that a user is offline.
//! That is no outcome. So whoever finds something missing asks afterwards which run answered: only the run in which
//! everything that is held has been asserted may say so. A node's lease has a proof of what that node holds, a
//! [`Membership`](crate::membership::Membership) one of what all nodes of a cluster hold.

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
    /// The runs in which everything is asserted. None: not yet.
    asserted: Mutex<Option<Runs>>,
    alarm: Notify,
    /// Counts assertions and doubts.
    turns: AtomicU64,
}

/// The moment a look-up began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since(u64);

impl Proof {
    pub(crate) fn new(store: &Store, keys: &Keys) -> Self {
        Self {
            reader: RunReader::new(store, keys.meta()),
            asserted: Mutex::new(None),
            alarm: Notify::new(),
            turns: AtomicU64::new(0),
        }
    }

    /// Takes note that everything held is recorded in these runs, if nothing was doubted since it began to be.
    pub fn assert(&self, since: Since, runs: Runs) {
        let mut asserted = self.asserted();
        if since != self.begin() || asserted.as_ref() == Some(&runs) {
            return;
        }
        *asserted = Some(runs);
        // A look-up that began before may have missed what was recorded while it was on its way.
        self.turns.fetch_add(1, Ordering::AcqRel);
        drop(asserted);
        self.ring();
    }

    /// Tells whether everything held is recorded, as far as it is known.
    #[must_use]
    pub fn is_asserted(&self) -> bool {
        self.asserted().is_some()
    }

    /// Begins a look-up: its answer counts if nothing was doubted or asserted meanwhile.
    #[must_use]
    pub fn begin(&self) -> Since {
        Since(self.turns.load(Ordering::Acquire))
    }

    /// Confirms that what was read since `begin` and not found was not there. One round trip.
    ///
    /// # Errors
    /// Redis does not answer, or has lost what was recorded: it will be recorded again.
    pub async fn confirm(&self, since: Since) -> Result<(), Unproven> {
        let runs = self.read().await.map_err(|_| Unproven)?;
        let known = self.asserted().as_ref() == Some(&runs);
        // Whoever doubts counts first: an answer from before cannot pass for one from after.
        if known && since == self.begin() {
            return Ok(());
        }
        self.ring();
        Err(Unproven)
    }

    pub(crate) async fn read(&self) -> Result<Runs, StoreError> {
        self.reader.read().await
    }

    /// Takes back what was asserted: another incarnation, another run, or a node that has not recorded what it holds.
    pub(crate) fn doubt(&self) {
        let mut asserted = self.asserted();
        self.turns.fetch_add(1, Ordering::AcqRel);
        *asserted = None;
    }

    /// Tells whether everything held is recorded in these very runs, as far as it is known.
    pub(crate) fn is_asserted_in(&self, runs: &Runs) -> bool {
        self.asserted().as_ref() == Some(runs)
    }

    /// Has whoever keeps this proof look at Redis now.
    pub(crate) fn ring(&self) {
        self.alarm.notify_one();
    }

    pub(crate) async fn alarmed(&self) {
        self.alarm.notified().await;
    }

    fn asserted(&self) -> std::sync::MutexGuard<'_, Option<Runs>> {
        self.asserted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
