//! Stores that do not always answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flakiness {
    pub(crate) fetches: usize,
    pub(crate) settles: usize,
    /// The settlements that fail take effect all the same.
    pub(crate) in_effect: bool,
    pub(crate) kept: bool,
}

pub(crate) struct FlakySource {
    inner: Arc<dyn Source>,
    fetches: AtomicUsize,
    settles: AtomicUsize,
    in_effect: bool,
    kept: bool,
}

impl FlakySource {
    pub(crate) fn new(inner: Arc<dyn Source>, flakiness: &Flakiness) -> Self {
        Self {
            inner,
            fetches: AtomicUsize::new(flakiness.fetches),
            settles: AtomicUsize::new(flakiness.settles),
            in_effect: flakiness.in_effect,
            kept: flakiness.kept,
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

/// A directory whose first look-ups panic, then fail, and that counts the others.
pub(crate) struct ShakyDirectory {
    pub(crate) inner: LocalDirectory,
    failures: AtomicUsize,
    panics: AtomicUsize,
    lookups: AtomicUsize,
}

impl ShakyDirectory {
    pub(crate) fn new(inner: LocalDirectory, failures: usize, panics: usize) -> Self {
        Self {
            inner,
            failures: AtomicUsize::new(failures),
            panics: AtomicUsize::new(panics),
            lookups: AtomicUsize::new(0),
        }
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
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

    async fn nodes(&self) -> Result<Vec<NodeRef>, DirectoryError> {
        self.inner.nodes().await
    }

    async fn sweep(&self) -> Result<(), DirectoryError> {
        self.inner.sweep().await
    }
}
