//! The ledger that processes share through Redis: three kinds of streams.
//!
//! Owns the streams of receipts and presence, which are answered when they are kept, and the journeys, which one task
//! writes when there is time. Each stream is one key, so that they may lie on any server of a Redis Cluster. Never makes
//! whoever notes a hop wait.

mod journeys;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::{Cmd, cmd, pipe};
use async_trait::async_trait;
use gim_proto::{EntryId, Keys, MessageId};

use self::journeys::Journeys;
use super::counts::{Counts, Written, add};
use super::fields::Flat;
use super::{Hop, Ledger, LedgerBounds, LedgerError, LedgerErrorKind, Log, Noted, Presence, Receipt};
use crate::store::{Link, Store, StoreError, StoreErrorKind};

/// Entries that go out in one go.
const AT_ONCE: usize = 1_000;

/// See the module.
pub struct RedisLedger {
    receipts: Stream,
    presence: Stream,
    journeys: Journeys,
    counts: Arc<Counts>,
}

/// A stream that keeps its youngest entries.
struct Stream {
    key: String,
    link: Link,
    most: u64,
}

impl RedisLedger {
    /// Makes the ledger, and starts the task that writes journeys; it ends with the ledger. It connects when it is first
    /// used. Has to be called within a tokio runtime.
    #[must_use]
    pub fn new(store: &Store, keys: Keys, bounds: LedgerBounds) -> Arc<Self> {
        let counts = Arc::new(Counts::default());
        let stream = |key: String, most| Stream { link: store.link(key.as_str()), key, most };
        Arc::new(Self {
            receipts: stream(keys.receipts(), bounds.receipts),
            presence: stream(keys.presence(), bounds.presence),
            journeys: Journeys::start(store, keys, bounds, Arc::clone(&counts)),
            counts,
        })
    }

    fn log(&self, log: Log) -> &Stream {
        match log {
            Log::Receipts => &self.receipts,
            Log::Presence => &self.presence,
        }
    }

    async fn append(&self, log: Log, entries: Vec<Flat>, written: &AtomicU64) -> Result<(), LedgerError> {
        for some in entries.chunks(AT_ONCE) {
            if let Err(error) = self.log(log).append(some).await {
                add(&self.counts.failures, 1);
                return Err(error);
            }
            add(written, some.len());
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for RedisLedger {
    async fn receipts(&self, receipts: &[Receipt]) -> Result<(), LedgerError> {
        let entries = receipts.iter().map(Receipt::fields).collect();
        self.append(Log::Receipts, entries, &self.counts.receipts).await
    }

    fn note(&self, hops: Vec<Hop>) {
        self.journeys.note(hops);
    }

    fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    fn written(&self) -> Written {
        self.counts.written()
    }

    async fn presence(&self, news: &[Presence]) -> Result<(), LedgerError> {
        let entries = news.iter().map(Presence::fields).collect();
        self.append(Log::Presence, entries, &self.counts.presence).await
    }

    async fn journey(&self, id: &MessageId) -> Result<Vec<Hop>, LedgerError> {
        self.journeys.read(id).await
    }

    async fn read(&self, log: Log, after: Option<EntryId>, limit: usize) -> Result<Vec<Noted>, LedgerError> {
        self.log(log).read(after, limit).await
    }
}

impl Stream {
    async fn append(&self, entries: &[Flat]) -> Result<(), LedgerError> {
        let mut appending = pipe();
        for fields in entries {
            let mut add = cmd("XADD");
            add.arg(&self.key).arg("MAXLEN").arg("~").arg(self.most).arg("*");
            for (name, value) in fields {
                add.arg(&**name).arg(&**value);
            }
            appending.add_command(add).ignore();
        }
        Ok(self.link.pipe::<()>(&appending).await?)
    }

    async fn read(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<Noted>, LedgerError> {
        let first = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let found: Vec<RawEntry> = self.link.query(&range(&self.key, &first, limit)).await?;
        found.into_iter().map(noted).collect()
    }
}

/// An entry of a stream as the library reads it.
type RawEntry = (String, Vec<(String, String)>);

fn range(key: &str, first: &str, limit: usize) -> Cmd {
    cmd("XRANGE").arg(key).arg(first).arg("+").arg("COUNT").arg(limit).clone()
}

fn noted((id, fields): RawEntry) -> Result<Noted, LedgerError> {
    let id = EntryId::parse(&id)
        .map_err(|error| LedgerError { kind: LedgerErrorKind::Unavailable, source: Some(Box::new(error)) })?;
    Ok(Noted { id, fields: fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect() })
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::Unknown => LedgerErrorKind::Timeout,
            _ => LedgerErrorKind::Unavailable,
        };
        Self { kind, source: Some(Box::new(error)) }
    }
}
