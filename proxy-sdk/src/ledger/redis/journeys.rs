//! Journeys: a stream per message, written by one task behind a bounded queue.
//!
//! Owns the queue and what becomes of hops that find no room in it, or no Redis: they are dropped and counted. Hops of one
//! journey are written in the order in which they were noted.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use ::redis::Script;
use futures_util::stream::{self, StreamExt};
use gim_proto::{Keys, MessageId};
use tokio::sync::mpsc;

use super::{RawEntry, noted, range};
use crate::ledger::counts::{Counts, add};
use crate::ledger::{Hop, LedgerBounds, LedgerError};
use crate::store::{Spread, Store, StoreError, StoreErrorKind};

static NOTE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("note.lua")));

/// Hops that wait for the task, at most.
const WAITING: usize = 16_384;
/// Hops the task takes at once.
const AT_ONCE: usize = 1_024;
/// Journeys written side by side.
const SIDE_BY_SIDE: usize = 64;

pub(super) struct Journeys {
    waiting: mpsc::Sender<Hop>,
    streams: Arc<Streams>,
}

/// Where journeys are kept.
struct Streams {
    keys: Keys,
    spread: Spread,
    bounds: LedgerBounds,
    counts: Arc<Counts>,
}

impl Journeys {
    pub(super) fn start(store: &Store, keys: Keys, bounds: LedgerBounds, counts: Arc<Counts>) -> Self {
        let (waiting, hops) = mpsc::channel(WAITING);
        let streams = Arc::new(Streams { keys, spread: Spread::new(store), bounds, counts });
        tokio::spawn(write(Arc::clone(&streams), hops));
        Self { waiting, streams }
    }

    pub(super) fn note(&self, hops: Vec<Hop>) {
        for hop in hops {
            if self.waiting.try_send(hop).is_err() {
                add(&self.streams.counts.dropped, 1);
            }
        }
    }

    pub(super) async fn read(&self, id: &MessageId) -> Result<Vec<Hop>, LedgerError> {
        let found = self.streams.read(id).await;
        if found.is_err() {
            // Slots may have moved.
            self.streams.spread.forget().await;
        }
        let noted: Vec<_> = found?.into_iter().map(noted).collect::<Result<_, _>>()?;
        let mut hops: Vec<Hop> = noted.iter().filter_map(|noted| Hop::read(id, &noted.fields)).collect();
        // Stable: of the same moment the one that was written first comes first.
        hops.sort_by_key(|hop| hop.at_us);
        Ok(hops)
    }
}

/// Writes until the ledger is gone and nothing waits.
async fn write(streams: Arc<Streams>, mut waiting: mpsc::Receiver<Hop>) {
    let mut hops = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut hops, AT_ONCE).await > 0 {
        let mut journeys: HashMap<MessageId, Vec<Hop>> = HashMap::new();
        for hop in hops.drain(..) {
            journeys.entry(hop.id.clone()).or_default().push(hop);
        }
        let writing = stream::iter(journeys).for_each_concurrent(SIDE_BY_SIDE, |(id, hops)| {
            let streams = Arc::clone(&streams);
            async move { streams.append(&id, &hops).await }
        });
        Box::pin(writing).await;
    }
}

impl Streams {
    async fn append(&self, id: &MessageId, hops: &[Hop]) {
        let mut appended = self.try_to_append(id, hops).await;
        if appended.as_ref().is_err_and(may_have_moved) {
            self.spread.forget().await;
            appended = self.try_to_append(id, hops).await;
        }
        let written = appended.unwrap_or_else(|error| {
            tracing::debug!(message_id = %id, error = %error, "steps of a journey were not written");
            0
        });
        add(&self.counts.hops, written);
        add(&self.counts.dropped, hops.len().saturating_sub(written));
    }

    async fn try_to_append(&self, id: &MessageId, hops: &[Hop]) -> Result<usize, StoreError> {
        let key = self.keys.journey(id);
        let (_, link) = self.spread.home_of(&key).await?;
        let mut call = NOTE.key(key);
        call.arg(self.bounds.hops).arg(u64::try_from(self.bounds.journey.as_millis()).unwrap_or(u64::MAX));
        for hop in hops {
            let fields = hop.fields();
            call.arg(fields.len() * 2);
            for (name, value) in &fields {
                call.arg(&**name).arg(&**value);
            }
        }
        link.script(&call).await
    }

    async fn read(&self, id: &MessageId) -> Result<Vec<RawEntry>, StoreError> {
        let key = self.keys.journey(id);
        let (_, link) = self.spread.home_of(&key).await?;
        link.query(&range(&key, "-", self.bounds.hops)).await
    }
}

fn may_have_moved(error: &StoreError) -> bool {
    matches!(error.kind, StoreErrorKind::Unavailable)
}
