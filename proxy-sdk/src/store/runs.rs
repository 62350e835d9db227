//! Which runs of Redis hold the data.
//!
//! Owns the comparison that tells a Redis that started anew, or a replica that took over, from the one known before: its
//! data may be older. Never says what was lost; who knows what there should be finds out.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::redis::{Value, cmd, pipe};
use tokio::time::Instant;

use super::address::Topology;
use super::connect::{ask_seeds, masters};
use super::{Address, Link, Store, StoreError, StoreErrorKind};

/// The runs of all masters. Equal: whatever was written is still there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(BTreeSet<Box<str>>);

impl Runs {
    /// Names them all in 32 digits: FNV-1a over their texts, the same in every version. Equal runs have equal names.
    #[must_use]
    pub fn name(&self) -> String {
        const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let bytes = self.0.iter().flat_map(|run| run.bytes().chain([0]));
        let hash = bytes.fold(START, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        format!("{hash:032x}")
    }

    /// Names each: its process, and the history of its data.
    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.0.iter().cloned().collect()
    }

    /// Names those that are not among others.
    pub(super) fn without(&self, others: &Self) -> Vec<Box<str>> {
        self.0.difference(&others.0).cloned().collect()
    }
}

#[cfg(test)]
impl Runs {
    /// Runs of this name, for tests of what is judged by them.
    pub(crate) fn of(run: &str) -> Self {
        Self(BTreeSet::from([run.into()]))
    }
}

/// Asks which runs there are.
#[derive(Debug)]
pub struct RunReader {
    store: Store,
    link: Link,
    /// Links to the masters of a cluster, in the order they were last named.
    masters: tokio::sync::Mutex<Vec<(Address, Link)>>,
}

impl RunReader {
    /// Makes a reader. Outside a cluster the server asked is the master of `key`.
    pub fn new(store: &Store, key: impl Into<Arc<str>>) -> Self {
        Self { store: store.clone(), link: store.link(key), masters: tokio::sync::Mutex::default() }
    }

    /// Asks every master. One round trip, in a cluster two. The store takes note of the answer.
    ///
    /// # Errors
    /// One of them did not answer.
    pub async fn read(&self) -> Result<Runs, StoreError> {
        let asked = Instant::now();
        let runs = self.ask().await?;
        self.store.losses().met(&runs, asked);
        Ok(runs)
    }

    async fn ask(&self) -> Result<Runs, StoreError> {
        match self.store.options().topology() {
            Topology::Cluster { seeds } => self.read_all(seeds).await,
            Topology::Standalone { .. } | Topology::Sentinel { .. } => {
                Ok(Runs(BTreeSet::from([run_of(&self.link).await?])))
            }
        }
    }

    async fn read_all(&self, seeds: &[Address]) -> Result<Runs, StoreError> {
        let named = self.masters_now(seeds).await?;
        let mut masters = self.masters.lock().await;
        masters.retain(|(address, _)| named.contains(address));
        for address in named {
            if !masters.iter().any(|(known, _)| *known == address) {
                let link = self.store.link_at(address.clone());
                masters.push((address, link));
            }
        }
        let runs = futures_util::future::try_join_all(masters.iter().map(|(_, link)| run_of(link))).await?;
        Ok(Runs(runs.into_iter().collect()))
    }

    // One that is known is asked over the connection there is. A seed costs a new one.
    async fn masters_now(&self, seeds: &[Address]) -> Result<Vec<Address>, StoreError> {
        let known = self.masters.lock().await.first().cloned();
        if let Some((address, link)) = known {
            let slots: Result<Value, _> = link.query(cmd("CLUSTER").arg("SLOTS")).await;
            if let Some(named) = slots.ok().map(|slots| masters(&slots, &address)).filter(|named| !named.is_empty()) {
                return Ok(named);
            }
        }
        let asking = ask_seeds(self.store.options(), seeds, |slots, asked| Some(masters(slots, asked)));
        let named = tokio::time::timeout(self.store.options().deadline(), asking).await;
        named.map_err(|_| StoreError::unreachable())?
    }
}

async fn run_of(link: &Link) -> Result<Box<str>, StoreError> {
    let mut asking = pipe();
    asking.add_command(cmd("INFO").arg("server").clone()).add_command(cmd("INFO").arg("replication").clone());
    let (server, replication): (Value, Value) = link.pipe(&asking).await?;
    let run = line(&server, "run_id:").zip(line(&replication, "master_replid:"));
    let (run, data) = run.ok_or(StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None })?;
    // The process, and the history of its data: each may change without the other.
    Ok(format!("{run}/{data}").into())
}

fn line(info: &Value, name: &str) -> Option<String> {
    let text = match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes),
        Value::VerbatimString { text, .. } => text.into(),
        Value::SimpleString(text) => text.into(),
        _ => return None,
    };
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_runs_is_short_and_theirs_alone() {
        let runs = |names: &[&str]| Runs(names.iter().map(|name| Box::from(*name)).collect());
        assert_eq!(runs(&[]).name(), "6c62272e07bb014262b821756295c58d");
        assert_eq!(runs(&["a/b", "c/d"]).name(), runs(&["c/d", "a/b"]).name());
        assert_eq!(runs(&["a/b", "c/d"]).name().len(), 32);
        assert_ne!(runs(&["a/b", "c/d"]).name(), runs(&["a/b c/d"]).name());
        assert_ne!(runs(&["a/b"]).name(), runs(&["a/c"]).name());
    }
}
