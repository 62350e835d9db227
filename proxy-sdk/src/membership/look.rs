//! One look at Redis: who lives there now.
//!
//! Owns the reading, all of it in the same runs of Redis. Judges nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ::redis::cmd;
use gim_proto::{Incarnation, Keys, NodeId};

use crate::lease::{BootClock, NodeRecord, Proof, RecordError, runs_in};
use crate::store::{KeyReader, Link, Runs, Store, StoreError};

/// Looks until one falls into one run of Redis.
const TRIES: usize = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Looker {
    keys: Keys,
    meta: Link,
    reader: KeyReader,
}

/// What a look saw.
#[derive(Debug)]
pub(super) struct Sight {
    /// When it began and ended, on the clock that goes on while this process is frozen.
    pub(super) begun_ms: u64,
    pub(super) ended_ms: u64,
    pub(super) runs: Runs,
    pub(super) registered: HashSet<Incarnation>,
    pub(super) found: BTreeMap<NodeId, Found>,
}

/// What stands at a node's key.
#[derive(Debug)]
pub(super) enum Found {
    Record(NodeRecord),
    /// Somebody lives there, and this version does not know who.
    Unreadable(RecordError),
}

impl Looker {
    pub(super) fn new(store: &Store, keys: &Keys) -> Self {
        Self { keys: keys.clone(), meta: store.link(keys.meta()), reader: KeyReader::new(store) }
    }

    /// Looks at all nodes that are registered, and at further ones.
    pub(super) async fn look(&self, proof: &Proof, further: &BTreeSet<NodeId>) -> Result<Sight, StoreError> {
        let begun_ms = BootClock::now_ms();
        let mut runs = proof.read().await?;
        for _ in 0..TRIES {
            let (registered, found) = self.read(further).await?;
            let after = proof.read().await?;
            if runs == after {
                return Ok(Sight { begun_ms, ended_ms: BootClock::now_ms(), runs, registered, found });
            }
            runs = after;
        }
        Err(StoreError::unreachable())
    }

    // First who is registered: a run is before its key names it.
    async fn read(
        &self,
        further: &BTreeSet<NodeId>,
    ) -> Result<(HashSet<Incarnation>, BTreeMap<NodeId, Found>), StoreError> {
        let fields: HashMap<String, String> = self.meta.query(cmd("HGETALL").arg(self.keys.meta())).await?;
        let (registered, ids): (HashSet<Incarnation>, BTreeSet<NodeId>) = runs_in(&fields).unzip();
        let ids: BTreeSet<NodeId> = ids.union(further).cloned().collect();
        let keys: Vec<String> = ids.iter().map(|id| self.keys.node(id)).collect();
        let texts = self.reader.read(&keys).await?;
        let found = ids.into_iter().zip(texts).filter_map(|(id, text)| Some((id, Found::read(&text?))));
        Ok((registered, found.collect()))
    }
}

impl Found {
    fn read(text: &[u8]) -> Self {
        NodeRecord::read(text).map_or_else(Self::Unreadable, Self::Record)
    }

    pub(super) fn record(&self) -> Option<&NodeRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Unreadable(_) => None,
        }
    }

    pub(super) fn error(&self) -> Option<&RecordError> {
        match self {
            Self::Record(_) => None,
            Self::Unreadable(error) => Some(error),
        }
    }
}
