//! Stores that do not always answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gim_msg_queue::clock::Clock;
use gim_msg_queue::source::{Backlog, Fetched, Room, Settlement, Source, SourceError, SourceErrorKind};
use gim_proto::{EntryId, Fence, SessionId, Tgid, Uid};
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::directory::{
    Claim, ClaimRequest, Directory, DirectoryError, DirectoryErrorKind, Freshness, Held, NodeRef, Owner,
};

fn counted_down(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// How many calls fail first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flakiness {
    pub(crate) fetches: usize,
    pub(crate) settles: usize,
    /// The settlements that fail take effect all the same.
    pub(crate) in_effect: bool,
    pub(crate) kept: bool,
    pub(crate) tenure: Arc<Tenure>,
}

pub(crate) struct FlakySource {
    inner: Arc<dyn Source>,
    fetches: AtomicUsize,
    settles: AtomicUsize,
    in_effect: bool,
    kept: bool,
    tenure: Arc<Tenure>,
}

impl FlakySource {
    pub(crate) fn new(inner: Arc<dyn Source>, flakiness: &Flakiness) -> Self {
        Self {
            inner,
            fetches: AtomicUsize::new(flakiness.fetches),
            settles: AtomicUsize::new(flakiness.settles),
            in_effect: flakiness.in_effect,
            kept: flakiness.kept,
            tenure: Arc::clone(&flakiness.tenure),
        }
    }
}

#[async_trait]
impl Source for FlakySource {
    fn lane(&self) -> u16 {
        self.inner.lane()
    }

    fn term(&self) -> u64 {
        self.inner.term()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    fn is_owned(&self) -> bool {
        self.tenure.is_owned()
    }

    async fn confirm(&self) -> Result<(), SourceError> {
        self.tenure.confirm()
    }

    fn doubt(&self) {
        self.tenure.doubt();
    }

    async fn fetch(&self, room: Room) -> Result<Vec<Fetched>, SourceError> {
        if counted_down(&self.fetches) {
            return Err(SourceErrorKind::Unavailable.into());
        }
        self.inner.fetch(room).await
    }

    async fn settle(&self, batch: &[(EntryId, Settlement)]) -> Result<(), SourceError> {
        if counted_down(&self.settles) {
            if self.in_effect {
                self.inner.settle(batch).await?;
            }
            return Err(SourceErrorKind::Timeout.into());
        }
        self.inner.settle(batch).await
    }

    async fn rewind(&self) -> Result<usize, SourceError> {
        self.inner.rewind().await
    }

    fn stop_waiting(&self) {
        self.inner.stop_waiting();
    }

    fn keeps_unread(&self) -> bool {
        self.kept
    }

    fn backlog(&self) -> Backlog {
        self.inner.backlog()
    }
}

/// Whose a lane is, as its source is told.
#[derive(Debug, Default)]
pub(crate) struct Tenure {
    doubtful: AtomicBool,
    /// Somebody else owns it, as is found out when it is asked.
    pub(crate) moved: AtomicBool,
    /// So many questions are not answered.
    pub(crate) silent: AtomicUsize,
    confirmations: AtomicUsize,
}

impl Tenure {
    /// The lease was not confirmed lately.
    pub(crate) fn doubtful() -> Arc<Self> {
        Arc::new(Self { doubtful: AtomicBool::new(true), ..Self::default() })
    }

    /// Counts how often the lane was confirmed.
    pub(crate) fn confirmations(&self) -> usize {
        self.confirmations.load(Ordering::Relaxed)
    }

    pub(crate) fn is_owned(&self) -> bool {
        !self.doubtful.load(Ordering::Relaxed)
    }

    pub(crate) fn doubt(&self) {
        self.doubtful.store(true, Ordering::Relaxed);
    }

    fn confirm(&self) -> Result<(), SourceError> {
        if counted_down(&self.silent) {
            return Err(SourceErrorKind::Unavailable.into());
        }
        if self.moved.load(Ordering::Relaxed) {
            return Err(SourceErrorKind::Lost.into());
        }
        self.confirmations.fetch_add(1, Ordering::Relaxed);
        self.doubtful.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// A directory whose first look-ups panic, then fail, and that counts the others.
pub(crate) struct ShakyDirectory {
    pub(crate) inner: LocalDirectory,
    failures: AtomicUsize,
    panics: AtomicUsize,
    lookups: AtomicUsize,
    freshness: Mutex<Vec<Freshness>>,
}

impl ShakyDirectory {
    pub(crate) fn new(inner: LocalDirectory, failures: usize, panics: usize) -> Self {
        Self {
            inner,
            failures: AtomicUsize::new(failures),
            panics: AtomicUsize::new(panics),
            lookups: AtomicUsize::new(0),
            freshness: Mutex::default(),
        }
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
    }

    /// How new the answers to look-ups of users had to be, in order.
    pub(crate) fn freshness(&self) -> Vec<Freshness> {
        self.freshness.lock().unwrap().clone()
    }

    fn answer(&self) -> Result<(), DirectoryError> {
        assert!(!counted_down(&self.panics), "a bug");
        if counted_down(&self.failures) {
            return Err(DirectoryError { kind: DirectoryErrorKind::Unavailable, source: None });
        }
        self.lookups.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl Directory for ShakyDirectory {
    async fn claim(&self, request: ClaimRequest) -> Result<Claim, DirectoryError> {
        self.inner.claim(request).await
    }

    async fn release(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        grace: Duration,
    ) -> Result<bool, DirectoryError> {
        self.inner.release(uid, session, fence, grace).await
    }

    async fn reassert(&self, node: &NodeRef, sessions: &[Held]) -> Result<Vec<bool>, DirectoryError> {
        self.inner.reassert(node, sessions).await
    }

    async fn lookup(&self, uids: &[Uid], freshness: Freshness) -> Result<Vec<Option<Owner>>, DirectoryError> {
        self.answer()?;
        self.freshness.lock().unwrap().push(freshness);
        self.inner.lookup(uids, freshness).await
    }

    async fn record_join(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        self.inner.record_join(uid, session, fence, tgid).await
    }

    async fn record_leave(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        self.inner.record_leave(uid, session, fence, tgid).await
    }

    async fn add_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError> {
        self.inner.add_holder(tgid, node).await
    }

    async fn remove_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError> {
        self.inner.remove_holder(tgid, node).await
    }

    async fn holders(&self, tgids: &[Tgid]) -> Result<Vec<NodeRef>, DirectoryError> {
        self.answer()?;
        self.inner.holders(tgids).await
    }

    async fn join_durably(&self, uid: &Uid, tgid: &Tgid, most: usize) -> Result<bool, DirectoryError> {
        self.inner.join_durably(uid, tgid, most).await
    }

    async fn leave_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, DirectoryError> {
        self.inner.leave_durably(uid, tgid).await
    }

    async fn durable_members(&self, tgids: &[Tgid]) -> Result<Vec<Uid>, DirectoryError> {
        self.answer()?;
        self.inner.durable_members(tgids).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRef>, DirectoryError> {
        self.inner.nodes().await
    }

    async fn sweep(&self) -> Result<(), DirectoryError> {
        self.inner.sweep().await
    }
}
