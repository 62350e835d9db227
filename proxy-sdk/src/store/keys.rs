//! Reading many single keys at once, wherever they lie.
//!
//! Owns one link to each server that holds some of them, and in a cluster what it knows of who holds which slots; a call
//! that failed has it asked anew. Never writes.

use std::collections::HashMap;

use ::redis::{Cmd, cmd, pipe};
use futures_util::future::try_join_all;
use gim_proto::slot_of;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::address::Topology;
use super::connect::{ask_seeds, homes};
use super::{Address, Link, Store, StoreError, StoreErrorKind};

/// Keys read in one go from one server.
const AT_ONCE: usize = 500;

/// See the module.
#[derive(Debug)]
pub struct KeyReader {
    store: Store,
    /// Outside a cluster there is one server.
    one: Link,
    homes: Mutex<Homes>,
}

/// The masters of a cluster, as they were last named.
#[derive(Debug, Default)]
struct Homes {
    ranges: Vec<(u16, u16, Address)>,
    links: HashMap<Address, Link>,
}

impl KeyReader {
    /// Makes a reader. It connects when it is first used.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), one: store.link(""), homes: Mutex::default() }
    }

    /// Reads the strings at these keys, in the order asked. One round trip to each server.
    ///
    /// # Errors
    /// One of the servers did not answer: nothing is known.
    pub async fn read(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self.store.options().topology() {
            Topology::Cluster { seeds } => {
                let read = self.read_spread(seeds, keys).await;
                if read.is_err() {
                    // Slots may have moved.
                    self.homes.lock().await.ranges.clear();
                }
                read
            }
            Topology::Standalone { .. } | Topology::Sentinel { .. } => read_all(&self.one, keys.iter()).await,
        }
    }

    async fn read_spread(&self, seeds: &[Address], keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut by_link: HashMap<Address, (Link, Vec<usize>)> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            let (address, link) = self.home_of(seeds, key).await?;
            by_link.entry(address).or_insert_with(|| (link, Vec::new())).1.push(at);
        }
        let reading = by_link.into_values().map(|(link, places)| async move {
            let values = read_all(&link, places.iter().filter_map(|at| keys.get(*at))).await?;
            Ok::<_, StoreError>((places, values))
        });
        let mut found = vec![None; keys.len()];
        for (places, values) in try_join_all(reading).await? {
            for (at, value) in places.into_iter().zip(values) {
                if let Some(place) = found.get_mut(at) {
                    *place = value;
                }
            }
        }
        Ok(found)
    }

    async fn home_of(&self, seeds: &[Address], key: &str) -> Result<(Address, Link), StoreError> {
        let mut known = self.homes.lock().await;
        if known.ranges.is_empty() {
            let asking = ask_seeds(self.store.options(), seeds, |slots, asked| Some(homes(slots, asked)));
            let asked = timeout(self.store.options().deadline(), asking).await;
            known.ranges = asked.map_err(|_| StoreError::unreachable())??;
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

async fn read_all(link: &Link, keys: impl Iterator<Item = &String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let gets: Vec<Cmd> = keys.map(|key| cmd("GET").arg(key).clone()).collect();
    let mut found = Vec::with_capacity(gets.len());
    for some in gets.chunks(AT_ONCE) {
        let mut reading = pipe();
        for get in some {
            reading.add_command(get.clone());
        }
        let values: Vec<Option<Vec<u8>>> = link.pipe(&reading).await?;
        found.extend(values);
    }
    match found.len() == gets.len() {
        true => Ok(found),
        false => Err(StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None }),
    }
}
