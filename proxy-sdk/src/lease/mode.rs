//! Who may be here: one node, or many.
//!
//! Owns the name in the meta hash, of the one node of mode `redis` or of the cluster. Both modes claim it before they
//! take a place and compare it with every renewal, so that nodes of both never live side by side: whoever comes second
//! is refused while somebody of the other mode answers, and otherwise takes over from him.

use std::collections::{BTreeSet, HashMap};

use ::redis::{Script, cmd};
use futures_util::future::join_all;
use gim_proto::{Incarnation, Keys, NodeId};

use super::seat::{Seat, UNREADABLE, read};
use super::{LeaseError, NodeRecord, Probe};
use crate::store::{KeyReader, Store, StoreError};

/// What is named where many nodes may live. No node has this id.
const MANY: &str = "*";

impl Seat {
    /// What is named while this node lives.
    fn name(&self) -> &str {
        if self.options.alone { self.options.id.as_str() } else { MANY }
    }

    /// Has the name while nobody of the other mode lives, and in mode `redis` nobody at all. Whoever is silent loses its
    /// key first.
    pub(super) async fn enter(&self, record: &mut NodeRecord, probe: &dyn Probe) -> Result<(), LeaseError> {
        let named = self.named().await?;
        let expected = named.clone().unwrap_or_else(|| self.name().to_owned());
        let other = named.filter(|named| named != MANY);
        let mut ids: BTreeSet<NodeId> = match self.options.alone {
            true => self.registered().await?,
            false => BTreeSet::new(),
        };
        ids.extend(other.map(|named| NodeId::parse(&named).map_err(|_| UNREADABLE)).transpose()?);
        // Its own place is asked about when it is taken, unless the name alone would cost the holder that place.
        if expected == self.name() {
            ids.remove(&self.options.id);
        }
        self.clear(&ids, record, probe).await?;
        if self.claim_name(&expected).await? {
            return Ok(());
        }
        Err(self.refused(&self.options.id, "an address it has just taken"))
    }

    /// Asks all who hold a key whether they live, and takes the keys of those who do not.
    async fn clear(
        &self,
        ids: &BTreeSet<NodeId>,
        record: &mut NodeRecord,
        probe: &dyn Probe,
    ) -> Result<(), LeaseError> {
        let keys: Vec<String> = ids.iter().map(|id| self.keys.node(id)).collect();
        let mut held = Vec::new();
        for (id, text) in ids.iter().zip(KeyReader::new(&self.store).read(&keys).await?) {
            if let Some(text) = text {
                held.push((id, read(&text)?, String::from_utf8(text).map_err(|_| UNREADABLE)?));
            }
        }
        let asked = held.iter().map(|(_, holder, _)| probe.answers(holder, self.options.probe));
        let answers = join_all(asked).await;
        if let Some(((id, holder, _), _)) = held.iter().zip(answers).find(|(_, lives)| *lives) {
            return Err(self.refused(id, &holder.rpc));
        }
        for (id, holder, text) in held.iter().filter(|(id, ..)| **id != self.options.id) {
            let link = self.store.link(self.keys.node(id));
            if !self.swap(&link, id, text, None).await? {
                return Err(self.refused(id, &holder.rpc));
            }
            record.follow(holder);
        }
        Ok(())
    }

    fn refused(&self, id: &NodeId, rpc: &str) -> LeaseError {
        let (id, rpc) = (id.clone(), rpc.to_owned());
        match self.options.alone {
            _ if id == self.options.id => LeaseError::Held { id, rpc },
            true => LeaseError::NotAlone { id, rpc },
            false => LeaseError::Alone { id, rpc },
        }
    }

    /// Has the name still, or again where nobody is named.
    pub(super) async fn keep_name(&self) -> Result<bool, StoreError> {
        self.claim_name(self.name()).await
    }

    async fn claim_name(&self, expected: &str) -> Result<bool, StoreError> {
        let script = Script::new(include_str!("alone.lua"));
        let mut call = script.key(self.keys.meta());
        self.meta.script(call.arg(expected).arg(self.name())).await
    }

    async fn named(&self) -> Result<Option<String>, StoreError> {
        self.meta.query(cmd("HGET").arg(self.keys.meta()).arg("node")).await
    }

    async fn registered(&self) -> Result<BTreeSet<NodeId>, StoreError> {
        let fields: HashMap<String, String> = self.meta.query(cmd("HGETALL").arg(self.keys.meta())).await?;
        Ok(runs_in(&fields).map(|(_, id)| id).collect())
    }
}

/// Finds the node of mode `redis` that lives on this prefix, for processes of a cluster that take no place themselves.
///
/// # Errors
/// Redis did not answer, or its record is not what this version reads.
pub async fn node_alone(store: &Store, keys: &Keys) -> Result<Option<(NodeId, NodeRecord)>, StoreError> {
    let named: Option<String> = store.link(keys.meta()).query(cmd("HGET").arg(keys.meta()).arg("node")).await?;
    let Some(id) = named.and_then(|named| NodeId::parse(&named).ok()) else { return Ok(None) };
    let text: Option<Vec<u8>> = store.link(keys.node(&id)).query(cmd("GET").arg(keys.node(&id))).await?;
    text.map(|text| Ok((id, read(&text)?))).transpose()
}

/// The runs that a meta hash registers, and the node of each.
pub(crate) fn runs_in(fields: &HashMap<String, String>) -> impl Iterator<Item = (Incarnation, NodeId)> + '_ {
    fields.iter().filter_map(|(field, id)| {
        let incarnation = Incarnation::parse(field.strip_prefix("run:")?).ok()?;
        Some((incarnation, NodeId::parse(id).ok()?))
    })
}
