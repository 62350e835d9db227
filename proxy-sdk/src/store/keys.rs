//! Reading many single keys at once, wherever they lie.
//!
//! Owns the split of a call over the servers that hold its keys; a call that failed has the slots asked anew. Never
//! writes.

use std::collections::HashMap;

use ::redis::{Cmd, cmd, pipe};
use futures_util::future::try_join_all;

use super::spread::Server;
use super::{Link, Spread, Store, StoreError, StoreErrorKind};

/// Keys read in one go from one server.
const AT_ONCE: usize = 500;

/// See the module.
#[derive(Debug)]
pub struct KeyReader {
    spread: Spread,
}

impl KeyReader {
    /// Makes a reader. It connects when it is first used.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { spread: Spread::new(store) }
    }

    /// Reads the strings at these keys, in the order asked. One round trip to each server.
    ///
    /// # Errors
    /// One of the servers did not answer: nothing is known.
    pub async fn read(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let read = self.read_spread(keys).await;
        if read.is_err() {
            // Slots may have moved.
            self.spread.forget().await;
        }
        read
    }

    async fn read_spread(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut by_server: HashMap<Server, (Link, Vec<usize>)> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            let (server, link) = self.spread.home_of(key).await?;
            by_server.entry(server).or_insert_with(|| (link, Vec::new())).1.push(at);
        }
        let reading = by_server.into_values().map(|(link, places)| async move {
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
