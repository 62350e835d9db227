//! Mailboxes and a ledger that do not always answer, and remember what they were asked.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gim_proto::frame::MsgType;
use gim_proto::{EntryId, Fence, MessageId, Uid};
use gim_proxy_sdk::delivery::{LaneOrigin, Message};
use gim_proxy_sdk::ledger::local::LocalLedger;
use gim_proxy_sdk::ledger::{Hop, Ledger, LedgerBounds, LedgerError, LedgerErrorKind, Log, Noted, Presence, Receipt};
use gim_proxy_sdk::mailbox::local::LocalMailboxes;
use gim_proxy_sdk::mailbox::{
    Ack, Acked, Appends, Arrival, Item, MailboxBounds, MailboxError, MailboxErrorKind, Mailboxes, Opened, Overdue,
    Page, PageBounds, Position, Post, Scope, Value, Wanted,
};

use super::uid;

/// What becomes of a call: how many of its first posts take effect before it fails. None: it succeeds.
type Fate = Box<dyn FnMut(usize) -> Option<usize> + Send>;

/// See the module.
pub(crate) struct ShakyMailboxes {
    inner: LocalMailboxes,
    fate: Mutex<Fate>,
    calls: Mutex<Vec<(LaneOrigin, Vec<Post>)>>,
    values: Mutex<Vec<Value>>,
}

impl ShakyMailboxes {
    pub(crate) fn new(fate: impl FnMut(usize) -> Option<usize> + Send + 'static) -> Arc<Self> {
        Self::with(fate, &[])
    }

    /// Everybody but these is in every group.
    pub(crate) fn with(fate: impl FnMut(usize) -> Option<usize> + Send + 'static, strangers: &[&str]) -> Arc<Self> {
        Self::within(MailboxBounds::default(), fate, strangers)
    }

    fn within(
        bounds: MailboxBounds,
        fate: impl FnMut(usize) -> Option<usize> + Send + 'static,
        strangers: &[&str],
    ) -> Arc<Self> {
        let strangers: HashSet<Uid> = strangers.iter().map(|name| uid(name)).collect();
        Arc::new(Self {
            inner: LocalMailboxes::new(bounds, Arc::new(move |uid: &Uid, _: &[_]| !strangers.contains(uid))),
            fate: Mutex::new(Box::new(fate)),
            calls: Mutex::default(),
            values: Mutex::default(),
        })
    }

    /// Mailboxes of so many messages.
    pub(crate) fn of(messages: usize) -> Arc<Self> {
        Self::of_fate(messages, |_| None)
    }

    pub(crate) fn of_fate(messages: usize, fate: impl FnMut(usize) -> Option<usize> + Send + 'static) -> Arc<Self> {
        Self::within(MailboxBounds { messages, ..MailboxBounds::default() }, fate, &[])
    }

    pub(crate) fn willing() -> Arc<Self> {
        Self::new(|_| None)
    }

    /// The calls of `append` so far, failed ones too.
    pub(crate) fn calls(&self) -> Vec<(LaneOrigin, Vec<Post>)> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn values(&self) -> Vec<Value> {
        self.values.lock().unwrap().clone()
    }

    /// What a user has, in order: how clients see it, and its id.
    pub(crate) async fn letters(&self, name: &str) -> Vec<(MsgType, Arc<Message>)> {
        let page = PageBounds { messages: 10_000, bytes: 1 << 30 };
        let page = self.inner.read(&uid(name), Position::default(), page).await.unwrap();
        let letter = |(nth, item)| match item {
            Item::Letter { offset, kind, message } => {
                assert_eq!(offset, nth, "no hole");
                (kind, message)
            }
            Item::Gap { .. } => panic!("a gap"),
        };
        (1..).zip(page.items).map(letter).collect()
    }
}

#[async_trait]
impl Mailboxes for ShakyMailboxes {
    async fn append(&self, lane: &LaneOrigin, posts: &[Post]) -> Result<Appends, MailboxError> {
        self.calls.lock().unwrap().push((*lane, posts.to_vec()));
        assert!(posts.iter().all(|post| lane.low_water.is_none_or(|low| low <= post.entry)), "below the low water");
        assert!(posts.iter().map(|post| post.to.len()).sum::<usize>() <= 1_000, "a page is bounded");
        tokio::task::yield_now().await;
        let fate = (self.fate.lock().unwrap())(posts.len());
        let (effective, _) = posts.split_at(fate.unwrap_or(posts.len()).min(posts.len()));
        let answers = self.inner.append(lane, effective).await?;
        match fate {
            None => Ok(answers),
            Some(0) => Err(MailboxErrorKind::Unavailable.into()),
            Some(_) => Err(MailboxErrorKind::Timeout.into()),
        }
    }

    async fn open(&self, uid: &Uid, fence: Fence, arrival: Arrival) -> Result<Opened, MailboxError> {
        self.inner.open(uid, fence, arrival).await
    }

    async fn read(&self, uid: &Uid, after: Position, bounds: PageBounds) -> Result<Page, MailboxError> {
        self.inner.read(uid, after, bounds).await
    }

    async fn ack(&self, acks: &[Ack]) -> Result<Vec<Acked>, MailboxError> {
        self.inner.ack(acks).await
    }

    async fn wanted(&self, uid: &Uid, upto: Position) -> Result<Vec<Wanted>, MailboxError> {
        self.inner.wanted(uid, upto).await
    }

    async fn cancel(&self, uid: &Uid, id: &MessageId) -> Result<bool, MailboxError> {
        self.inner.cancel(uid, id).await
    }

    async fn keep(&self, values: &[Value]) -> Result<(), MailboxError> {
        if (self.fate.lock().unwrap())(values.len()).is_some() {
            return Err(MailboxErrorKind::Unavailable.into());
        }
        self.values.lock().unwrap().extend_from_slice(values);
        self.inner.keep(values).await
    }

    async fn kept(&self, scope: &Scope) -> Result<Vec<Arc<Message>>, MailboxError> {
        self.inner.kept(scope).await
    }

    async fn sweep(&self, told: &[Overdue]) -> Result<Vec<Overdue>, MailboxError> {
        self.inner.sweep(told).await
    }
}

/// A ledger whose first receipts are not taken.
pub(crate) struct ShakyLedger {
    inner: LocalLedger,
    failures: Mutex<usize>,
    receipts: Mutex<Vec<Receipt>>,
}

impl ShakyLedger {
    pub(crate) fn failing(failures: usize) -> Arc<Self> {
        let inner = LocalLedger::new(LedgerBounds::default());
        Arc::new(Self { inner, failures: Mutex::new(failures), receipts: Mutex::default() })
    }

    /// What was written, in order.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.receipts.lock().unwrap().clone()
    }
}

#[async_trait]
impl Ledger for ShakyLedger {
    async fn receipts(&self, receipts: &[Receipt]) -> Result<(), LedgerError> {
        assert!(!receipts.is_empty(), "nothing is asked for nothing");
        {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(LedgerErrorKind::Unavailable.into());
            }
        }
        self.receipts.lock().unwrap().extend_from_slice(receipts);
        self.inner.receipts(receipts).await
    }

    fn note(&self, hops: Vec<Hop>) {
        self.inner.note(hops);
    }

    fn dropped(&self) -> u64 {
        self.inner.dropped()
    }

    async fn presence(&self, news: &[Presence]) -> Result<(), LedgerError> {
        self.inner.presence(news).await
    }

    async fn journey(&self, id: &MessageId) -> Result<Vec<Hop>, LedgerError> {
        self.inner.journey(id).await
    }

    async fn read(&self, log: Log, after: Option<EntryId>, limit: usize) -> Result<Vec<Noted>, LedgerError> {
        self.inner.read(log, after, limit).await
    }
}
