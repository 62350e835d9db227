//! Who is registered, from what etcd lists and tells.
//!
//! Owns the reading of keys and values. What cannot be read is passed over and stops nobody.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::KeyValue;
use gim_proto::NodeId;

use super::super::registration::Registration;

/// Nodes that are kept. Above that, those that come are passed over.
pub(super) const MOST_NODES: usize = 4_096;
/// Keys that are remembered as logged. Above that, each is logged.
const MOST_LOGGED: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    prefix: String,
    nodes: BTreeMap<NodeId, Registration>,
    logged: BTreeSet<Vec<u8>>,
    /// Keys passed over so far.
    unreadable: u64,
}

impl Table {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix, nodes: BTreeMap::new(), logged: BTreeSet::new(), unreadable: 0 }
    }

    pub(super) const fn nodes(&self) -> &BTreeMap<NodeId, Registration> {
        &self.nodes
    }

    pub(super) const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Takes a list of all there is.
    pub(super) fn replace(&mut self, listed: &[KeyValue]) {
        self.nodes.clear();
        for pair in listed {
            self.put(pair.key(), pair.value());
        }
    }

    /// Takes what is told of one key.
    pub(super) fn apply(&mut self, told: &KeyValue) {
        // A key that is gone has version 0, and nothing else has.
        if told.version() > 0 {
            self.put(told.key(), told.value());
            return;
        }
        self.logged.remove(told.key());
        if let Some(id) = self.id(told.key()) {
            self.nodes.remove(&id);
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let Some(id) = self.id(key) else { return self.pass_over(key) };
        match Registration::read(value) {
            Some(registration) if self.nodes.len() < MOST_NODES || self.nodes.contains_key(&id) => {
                self.nodes.insert(id, registration);
                self.logged.remove(key);
            }
            _ => {
                self.nodes.remove(&id);
                self.pass_over(key);
            }
        }
    }

    fn id(&self, key: &[u8]) -> Option<NodeId> {
        let id = key.strip_prefix(self.prefix.as_bytes())?;
        NodeId::parse(std::str::from_utf8(id).ok()?).ok()
    }

    fn pass_over(&mut self, key: &[u8]) {
        self.unreadable += 1;
        if self.logged.contains(key) {
            return;
        }
        let shown = String::from_utf8_lossy(key);
        tracing::warn!(key = %shown, "a node's key in etcd cannot be read, or there are too many: it is passed over");
        if self.logged.len() < MOST_LOGGED {
            self.logged.insert(key.to_vec());
        }
    }
}
