//! The node's place in Redis: its key, and the registration of its incarnations.
//!
//! Owns the scripts. An incarnation is registered before the node's key names it, so that whatever it records is
//! found and swept one day. Key and registration lie in different slots, so they are written one after the other.

use std::time::{SystemTime, UNIX_EPOCH};

use ::redis::{Script, cmd};
use gim_proto::{Incarnation, Keys, NodeId};

use super::{LeaseError, LeaseOptions, NodeRecord, Probe, SCHEMA, host};
use crate::store::{Link, Store, StoreError, StoreErrorKind};

/// Times somebody else may come in between while the place is taken.
const TRIES: usize = 5;
pub(super) const UNREADABLE: StoreError = StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None };

pub(super) struct Seat {
    pub(super) keys: Keys,
    pub(super) options: LeaseOptions,
    pub(super) store: Store,
    node: Link,
    pub(super) meta: Link,
    started_ms: u64,
}

/// What a renewal found.
pub(super) enum Renewed {
    Held,
    Gone,
    Taken,
}

impl Seat {
    pub(super) fn new(store: &Store, keys: &Keys, options: &LeaseOptions) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            keys: keys.clone(),
            options: options.clone(),
            store: store.clone(),
            node: store.link(keys.node(&options.id)),
            meta: store.link(keys.meta()),
            started_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn record(&self, incarnation: Incarnation, worker: Incarnation) -> NodeRecord {
        NodeRecord {
            schema: SCHEMA,
            incarnation,
            worker,
            rpc: self.options.rpc.clone(),
            public: self.options.public.clone(),
            host: host::name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_ms,
            asserted: None,
            after: Vec::new(),
        }
    }

    /// Takes the place, from nobody or from somebody who does not answer. The record returned tells whose it was.
    pub(super) async fn take(&self, mut record: NodeRecord, probe: &dyn Probe) -> Result<NodeRecord, LeaseError> {
        self.enter(&mut record, probe).await?;
        self.register(&record).await?;
        for _ in 0..TRIES {
            let found = self.holder(&self.node, &self.options.id).await?;
            if let Some((_, holder)) = &found {
                if probe.answers(holder, self.options.probe).await {
                    self.unregister(&record).await?;
                    return Err(LeaseError::Held { id: self.options.id.clone(), rpc: holder.rpc.clone() });
                }
                record.follow(holder);
            }
            let expected = found.as_ref().map_or("", |(text, _)| text);
            if self.swap(&self.node, &self.options.id, expected, Some(&record)).await? {
                return self.stay(record).await;
            }
        }
        Err(LeaseError::Held { id: self.options.id.clone(), rpc: "an address that keeps changing".to_owned() })
    }

    // Somebody else may have been named in between, when this one had no key yet; and a sweep that found no key may have
    // taken the run off the list.
    async fn stay(&self, record: NodeRecord) -> Result<NodeRecord, LeaseError> {
        self.register(&record).await?;
        if self.keep_name().await? {
            return Ok(record);
        }
        self.leave(&record).await?;
        self.unregister(&record).await?;
        let (id, rpc) = (self.options.id.clone(), "an address it has just taken".to_owned());
        Err(if self.options.alone { LeaseError::NotAlone { id, rpc } } else { LeaseError::Alone { id, rpc } })
    }

    /// Follows an incarnation of this process with the next. False: somebody else has the place.
    pub(super) async fn follow(&self, before: &NodeRecord, record: &NodeRecord) -> Result<bool, StoreError> {
        if !self.keep_name().await? {
            return Ok(false);
        }
        self.register(record).await?;
        for expected in [before.incarnation.to_string(), String::new()] {
            if self.swap(&self.node, &self.options.id, &expected, Some(record)).await? {
                self.register(record).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Renews the lease, with what the record says now.
    pub(super) async fn renew(&self, record: &NodeRecord) -> Result<Renewed, StoreError> {
        let script = Script::new(include_str!("renew.lua"));
        let mut call = script.key(self.keys.node(&self.options.id));
        let call = call.arg(record.incarnation.to_string()).arg(text_of(record)?).arg(self.ttl_ms());
        let word: String = self.node.script(call).await?;
        match word.as_str() {
            "held" => {
                if !self.keep_name().await? {
                    return Ok(Renewed::Taken);
                }
                // A sweep that looked while this run was starting, or a Redis that lost it, may have taken it off the list.
                match self.register(record).await {
                    // Full of what only this node can work off: it stands there as a rule.
                    Err(error) if error.kind == StoreErrorKind::Full => Ok(Renewed::Held),
                    registered => registered.map(|()| Renewed::Held),
                }
            }
            "gone" => Ok(Renewed::Gone),
            _ => Ok(Renewed::Taken),
        }
    }

    pub(super) async fn leave(&self, record: &NodeRecord) -> Result<(), StoreError> {
        self.swap(&self.node, &self.options.id, &record.incarnation.to_string(), None).await?;
        Ok(())
    }

    async fn register(&self, record: &NodeRecord) -> Result<(), StoreError> {
        let mut register = cmd("HSET");
        register.arg(self.keys.meta()).arg(run_field(record)).arg(self.options.id.as_str());
        self.meta.query(&register).await
    }

    async fn unregister(&self, record: &NodeRecord) -> Result<(), StoreError> {
        self.meta.query(cmd("HDEL").arg(self.keys.meta()).arg(run_field(record))).await
    }

    async fn holder(&self, link: &Link, id: &NodeId) -> Result<Option<(String, NodeRecord)>, StoreError> {
        let text: Option<String> = link.query(cmd("GET").arg(self.keys.node(id))).await?;
        let Some(text) = text else { return Ok(None) };
        let record = read(text.as_bytes())?;
        Ok(Some((text, record)))
    }

    /// Puts a record, or nothing, in the place of the one expected, which is named by its text or its incarnation.
    pub(super) async fn swap(
        &self,
        link: &Link,
        id: &NodeId,
        expected: &str,
        record: Option<&NodeRecord>,
    ) -> Result<bool, StoreError> {
        let script = Script::new(include_str!("swap.lua"));
        let mut call = script.key(self.keys.node(id));
        let text = record.map(text_of).transpose()?.unwrap_or_default();
        link.script(call.arg(expected).arg(text).arg(self.ttl_ms())).await
    }

    fn ttl_ms(&self) -> u64 {
        u64::try_from(self.options.ttl.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reads a holder's record.
pub(super) fn read(text: &[u8]) -> Result<NodeRecord, StoreError> {
    NodeRecord::read(text).map_err(|error| StoreError { source: Some(Box::new(error)), ..UNREADABLE })
}

fn run_field(record: &NodeRecord) -> String {
    format!("run:{}", record.incarnation)
}

fn text_of(record: &NodeRecord) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| StoreError { source: Some(Box::new(error)), ..UNREADABLE })
}
