//! Whether what is missing in Redis was never there. Pure.
//!
//! Owns who has to be waited for. A node that is not on the records of a Redis that has just come back, empty or with
//! older data, may live all the same and be about to say so; the same goes after a pause in which leases passed because
//! nobody could renew them. So Redis first has to answer for as long as a lease lasts, without a break and in the same
//! runs: until then whoever lived, or is named by others, is waited for, and afterwards whoever is not there is dead.
//! Whoever is there is waited for until it has recorded what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gim_proto::{Incarnation, NodeId};

use super::MembershipOptions;
use super::look::{Found, Sight};
use crate::store::Runs;

/// Whom everybody waits for. Nobody: what is missing was never there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Nodes that have not recorded what they hold, or are missing and may live.
    pub nodes: Vec<NodeId>,
    /// It is not known yet which nodes there are.
    pub names: bool,
}

impl Awaited {
    /// Tells whether nobody is waited for.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.nodes.is_empty() && !self.names
    }
}

/// What a verdict stands on.
#[derive(Debug)]
pub(super) struct Ground {
    /// Who lived, until it is sure that it does not any more. As many as lived at once, and who came meanwhile.
    known: BTreeSet<NodeId>,
    /// Who was there at the last look.
    there: BTreeMap<NodeId, Incarnation>,
    runs: Option<Runs>,
    /// Since when Redis has answered without a break, in these runs.
    since_ms: u64,
    /// When the last look began.
    looked_ms: u64,
    /// How long whoever lives has time to say so.
    patience_ms: u64,
    /// A pause in which no lease passes that was being renewed.
    pause_ms: u64,
}

impl Ground {
    pub(super) fn new(options: &MembershipOptions) -> Self {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            known: BTreeSet::new(),
            there: BTreeMap::new(),
            runs: None,
            since_ms: 0,
            looked_ms: 0,
            patience_ms: millis(options.ttl + options.margin),
            pause_ms: millis(options.ttl / 2),
        }
    }

    /// Names who lived when last seen, or may live still.
    pub(super) fn known(&self) -> &BTreeSet<NodeId> {
        &self.known
    }

    /// Takes note of a look, and of whom others name, if that is known yet.
    pub(super) fn judge(&mut self, sight: &Sight, named: Option<&[NodeId]>) -> Awaited {
        if self.is_broken(sight) {
            self.since_ms = sight.ended_ms;
        }
        self.runs = Some(sight.runs.clone());
        self.looked_ms = sight.begun_ms;
        let records = sight.found.iter().filter_map(|(id, found)| Some((id.clone(), found.record()?.incarnation)));
        self.there = records.collect();
        let is_settled = sight.begun_ms.saturating_sub(self.since_ms) >= self.patience_ms;
        self.known.extend(sight.found.keys().cloned());
        if is_settled {
            self.known.retain(|id| sight.found.contains_key(id));
        }
        let missing: BTreeSet<&NodeId> = match is_settled {
            true => BTreeSet::new(),
            false => named.unwrap_or_default().iter().chain(&self.known).collect(),
        };
        let missing = missing.into_iter().filter(|id| !sight.found.contains_key(*id));
        let name = sight.runs.name();
        let unasserted = sight.found.iter().filter(|(_, found)| !has_asserted(found, &name));
        let nodes = unasserted.map(|(id, _)| id).chain(missing).cloned().collect();
        Awaited { nodes, names: named.is_none() && !is_settled }
    }

    // Other runs; or nobody looked, or was answered, for so long that leases may have passed meanwhile; or somebody is
    // gone without a trace, which is how a Redis looks that was emptied while it ran.
    fn is_broken(&self, sight: &Sight) -> bool {
        let is_gone = |(id, incarnation): (&NodeId, &Incarnation)| {
            !sight.found.contains_key(id) && !sight.registered.contains(incarnation)
        };
        self.runs.as_ref() != Some(&sight.runs)
            || sight.begun_ms.saturating_sub(self.looked_ms) > self.pause_ms
            || self.there.iter().any(is_gone)
    }
}

fn has_asserted(found: &Found, runs: &str) -> bool {
    found.record().is_some_and(|record| record.asserted.as_deref() == Some(runs))
}
