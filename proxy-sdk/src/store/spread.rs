//! Links to the servers that hold single keys, wherever those lie.
//!
//! Owns one link to each server that was asked for, and in a cluster what is known of who holds which slots. Whoever has a
//! call fail tells it, so that the slots are asked for anew: they may have moved. Never knows what the keys mean.

use std::collections::HashMap;

use gim_proto::slot_of;
use tokio::sync::Mutex;

use super::address::Topology;
use super::connect::Range;
use super::{Address, Link, Store, StoreError};

/// See the module.
#[derive(Debug)]
pub struct Spread {
    store: Store,
    /// Outside a cluster there is one server.
    one: Link,
    homes: Mutex<Homes>,
}

/// Names a server among those of a [`Spread`]. None: there is only one.
pub type Server = Option<Address>;

/// The masters of a cluster, as they were last named.
#[derive(Debug, Default)]
struct Homes {
    ranges: Vec<Range>,
    links: HashMap<Address, Link>,
}

impl Spread {
    /// Knows nobody yet, and connects when it is first used.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), one: store.link(""), homes: Mutex::default() }
    }

    /// Finds the server of a key, and the way to it.
    ///
    /// # Errors
    /// Nobody says who holds the key's slot.
    pub async fn home_of(&self, key: &str) -> Result<(Server, Link), StoreError> {
        match self.store.options().topology() {
            Topology::Cluster { seeds } => {
                let (server, link) = self.member_of(seeds, key).await?;
                Ok((Some(server), link))
            }
            Topology::Standalone { .. } | Topology::Sentinel { .. } => Ok((None, self.one.clone())),
        }
    }

    /// Has the slots asked for anew before the next call.
    pub async fn forget(&self) {
        self.homes.lock().await.ranges.clear();
    }

    async fn member_of(&self, seeds: &[Address], key: &str) -> Result<(Address, Link), StoreError> {
        let mut known = self.homes.lock().await;
        if known.ranges.is_empty() {
            known.ranges = self.store.ranges(seeds).await?;
            let Homes { ranges, links } = &mut *known;
            links.retain(|address, _| ranges.iter().any(|(_, _, home)| home == address));
        }
        let slot = slot_of(key);
        let range = known.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        let address = range.map(|(_, _, address)| address.clone()).ok_or_else(StoreError::unreachable)?;
        let link = known.links.entry(address.clone()).or_insert_with(|| self.store.link_at(address.clone())).clone();
        Ok((address, link))
    }
}
