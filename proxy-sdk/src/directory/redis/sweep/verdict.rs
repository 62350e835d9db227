//! Which registered runs are dead.
//!
//! Owns the verdict, which is given once: a dead run never comes back. Deletes nothing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use gim_proto::{Incarnation, NodeId};
use serde::Deserialize;
use tokio::time::Instant;

use crate::directory::DirectoryError;
use crate::directory::redis::{RedisDirectory, text};
use crate::members::View;
use crate::scripts::Command;

/// How long a run has to be out of the view before it is taken for dead.
const SUSPECTED: Duration = Duration::from_secs(1);

/// What is known of the runs that are registered.
#[derive(Default)]
pub(super) struct Verdicts {
    /// Since when runs have been out of the view.
    suspects: HashMap<Incarnation, Instant>,
    pub(super) dead: BTreeSet<Incarnation>,
}

/// What the holder of a node's name writes, as far as it matters here.
#[derive(Deserialize)]
struct Lease {
    incarnation: Incarnation,
}

impl RedisDirectory {
    /// Finds out which registered runs are dead. Returns all that are registered.
    pub(super) async fn judge(
        &self,
        verdicts: &mut Verdicts,
        view: &View,
    ) -> Result<HashMap<Incarnation, NodeId>, DirectoryError> {
        let runs = self.registered().await?;
        let absent = |incarnation: &Incarnation| runs.contains_key(incarnation) && view.find(incarnation).is_none();
        verdicts.dead.retain(absent);
        verdicts.suspects.retain(|incarnation, _| absent(incarnation));
        let now = Instant::now();
        let mut ripe = Vec::new();
        for (incarnation, node) in &runs {
            if view.find(incarnation).is_none() && !verdicts.dead.contains(incarnation) {
                let since = *verdicts.suspects.entry(*incarnation).or_insert(now);
                if now - since >= SUSPECTED {
                    ripe.push((*incarnation, node));
                }
            }
        }
        for dead in self.without_lease(ripe).await? {
            tracing::info!(incarnation = %dead, "a node's run is over; its records are swept");
            verdicts.suspects.remove(&dead);
            verdicts.dead.insert(dead);
        }
        Ok(runs)
    }

    async fn registered(&self) -> Result<HashMap<Incarnation, NodeId>, DirectoryError> {
        let answers = self.calls.together(vec![Command::new("HGETALL", [self.keys.meta()])]).await?;
        let fields: HashMap<String, String> =
            answers.into_iter().next().and_then(|answer| answer.convert().ok()).ok_or_else(DirectoryError::corrupt)?;
        let run = |(field, node): (&String, &String)| {
            let incarnation = Incarnation::parse(field.strip_prefix("run:")?).ok()?;
            Some((incarnation, NodeId::parse(node).ok()?))
        };
        Ok(fields.iter().filter_map(run).collect())
    }

    // The view may lag behind; the lease is what counts.
    pub(super) async fn without_lease(
        &self,
        runs: Vec<(Incarnation, &NodeId)>,
    ) -> Result<Vec<Incarnation>, DirectoryError> {
        let commands = runs.iter().map(|(_, node)| Command::new("GET", [self.keys.node(node)])).collect();
        let leases = self.calls.together(commands).await?;
        let mut dead = Vec::new();
        for ((incarnation, node), lease) in runs.into_iter().zip(leases) {
            match text(&lease).map(serde_json::from_str::<Lease>) {
                Some(Ok(lease)) if lease.incarnation == incarnation => {}
                Some(Err(_)) => {
                    tracing::error!(%node, "the node's key is not what this version writes; nothing is swept");
                }
                _ => dead.push(incarnation),
            }
        }
        Ok(dead)
    }
}
