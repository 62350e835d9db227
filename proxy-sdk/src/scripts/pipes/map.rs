//! Who has which slots.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::scripts::pipe::{End, Pipe};
use crate::store::{Address, Range, Store, StoreError};

/// Slots of a cluster.
const SLOTS: usize = 16_384;
/// Of a slot that nobody has.
const NOBODY: u16 = u16::MAX;

/// What is known of a cluster.
#[derive(Default)]
pub(super) struct Map {
    /// The place of each slot's master among the members.
    homes: Vec<u16>,
    pub(super) members: Vec<Arc<Member>>,
}

/// A master, and the way to it.
pub(super) struct Member {
    pub(super) address: Address,
    pub(super) pipe: Pipe,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// What a server says of a slot that it does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    slot: u16,
    to: Address,
}

impl Map {
    pub(super) fn home_of(&self, slot: u16) -> Option<&Arc<Member>> {
        self.members.get(usize::from(*self.homes.get(usize::from(slot))?))
    }

    pub(super) fn is_one(&self, mut slots: impl Iterator<Item = u16>) -> bool {
        let home = |slot: u16| self.homes.get(usize::from(slot));
        slots.next().is_none_or(|first| slots.all(|slot| home(slot) == home(first)))
    }

    /// Those among the masters of these ranges who are no members.
    pub(super) fn strangers(&self, ranges: &[Range]) -> Vec<Address> {
        let mut strangers = Vec::new();
        for (_, _, address) in ranges {
            if self.place_of(address).is_none() && !strangers.contains(address) {
                strangers.push(address.clone());
            }
        }
        strangers
    }

    /// Takes these ranges over, with members who are new. Hands out those who have no slot any more.
    pub(super) fn adopt(&mut self, ranges: &[Range], fresh: Vec<Arc<Member>>) -> Vec<Arc<Member>> {
        let mut members = std::mem::take(&mut self.members);
        members.extend(fresh);
        let (stay, go) = members.into_iter().partition(|member| member.has_some_of(ranges));
        self.members = stay;
        self.homes = self.homes_of(ranges);
        go
    }

    /// Whether these ranges say what is known already, and nobody else is known.
    pub(super) fn is(&self, ranges: &[Range]) -> bool {
        self.members.iter().all(|member| member.has_some_of(ranges))
            && self.strangers(ranges).is_empty()
            && self.homes == self.homes_of(ranges)
    }

    /// Looks for a slot where it has moved. False: that is at nobody who is known.
    pub(super) fn follow(&mut self, Moved { slot, to }: &Moved) -> bool {
        let (Some(place), Some(home)) = (self.place_of(to), self.homes.get_mut(usize::from(*slot))) else {
            return false;
        };
        *home = place;
        true
    }

    fn homes_of(&self, ranges: &[Range]) -> Vec<u16> {
        let mut homes = vec![NOBODY; SLOTS];
        for (first, last, address) in ranges {
            let slots = homes.get_mut(usize::from(*first)..=usize::from(*last));
            slots.unwrap_or_default().fill(self.place_of(address).unwrap_or(NOBODY));
        }
        homes
    }

    fn place_of(&self, address: &Address) -> Option<u16> {
        let place = self.members.iter().position(|member| member.address == *address)?;
        u16::try_from(place).ok()
    }
}

impl Member {
    /// Connects. Where that fails or takes too long, the error is beside it, and it goes on trying.
    pub(super) async fn open(store: Store, address: Address, patience: Duration) -> (Arc<Self>, Option<StoreError>) {
        let pipe = Pipe::new(store, End::Server(address.clone()));
        let opened = timeout(patience, pipe.open()).await.unwrap_or_else(|_| Err(StoreError::unreachable()));
        let (driver, error) = match opened {
            Ok(driver) => (driver, None),
            Err(error) => (pipe.open_later(), Some(error)),
        };
        (Arc::new(Self { address, pipe, driver: Mutex::new(Some(driver)) }), error)
    }

    fn has_some_of(&self, ranges: &[Range]) -> bool {
        ranges.iter().any(|(_, _, home)| *home == self.address)
    }

    /// Ends its connection. A second call does nothing.
    pub(super) async fn close(&self) {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver {
            self.pipe.close(driver).await;
        }
    }
}

impl Moved {
    /// Reads `MOVED SLOT HOST:PORT`. A server that does not know its own name leaves the host out.
    pub(super) fn read(error: &StoreError, asked: &Address) -> Option<Self> {
        let said = error.source.as_ref()?.to_string();
        let mut words = said.strip_prefix("MOVED ")?.split(' ');
        let slot = words.next()?.parse().ok().filter(|slot| usize::from(*slot) < SLOTS)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let host = if host.is_empty() { &asked.host } else { host };
        Some(Self { slot, to: Address { host: host.to_owned(), port: port.parse().ok()? } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address { host: "host".to_owned(), port }
    }

    fn member(port: u16) -> Arc<Member> {
        let store = Store::new(crate::store::RedisOptions::parse("redis://host:1").unwrap());
        let pipe = Pipe::new(store, End::Server(address(port)));
        Arc::new(Member { address: address(port), pipe, driver: Mutex::default() })
    }

    fn port_of(map: &Map, slot: u16) -> Option<u16> {
        map.home_of(slot).map(|member| member.address.port)
    }

    #[test]
    fn slots_are_where_the_ranges_say_and_masters_without_any_go() {
        let mut map = Map::default();
        assert!(port_of(&map, 0).is_none());
        let ranges = [(0, 9, address(1)), (10, 16_382, address(2)), (20, 29, address(1))];
        assert_eq!(map.strangers(&ranges), [address(1), address(2)]);
        assert!(map.adopt(&ranges, vec![member(1), member(2)]).is_empty());
        let homes = [0, 9, 10, 25, 16_382, 16_383].map(|slot| port_of(&map, slot));
        assert_eq!(homes, [Some(1), Some(1), Some(2), Some(1), Some(2), None]);
        assert!(map.is(&ranges) && map.is_one([0, 9, 25].into_iter()) && !map.is_one([0, 10].into_iter()));

        let ranges = [(0, 16_383, address(2))];
        assert!(!map.is(&ranges) && map.strangers(&ranges).is_empty());
        map.homes.fill(1);
        assert!(!map.is(&ranges), "one is known who has none");
        let gone: Vec<_> = map.adopt(&ranges, Vec::new()).iter().map(|member| member.address.port).collect();
        assert_eq!((gone, port_of(&map, 0), port_of(&map, 16_383)), (vec![1], Some(2), Some(2)));
    }

    #[test]
    fn a_slot_that_has_moved_is_followed_to_whom_is_known() {
        let mut map = Map::default();
        map.adopt(&[(0, 9, address(1)), (10, 19, address(2))], vec![member(1), member(2)]);
        let moved = |text: &str| Moved::read(&StoreError::of_server(text.as_bytes()), &address(1));
        assert!(map.follow(&moved("MOVED 5 host:2").unwrap()));
        assert_eq!((port_of(&map, 4), port_of(&map, 5)), (Some(1), Some(2)));
        assert!(map.follow(&moved("MOVED 4 :2").unwrap()), "a server that does not know its name");
        assert!(!map.follow(&moved("MOVED 4 host:3").unwrap()));
        assert_eq!(moved("MOVED 4 ::1:7").unwrap().to, Address { host: "::1".to_owned(), port: 7 });
        for other in ["MOVED", "MOVED 4", "MOVED 16384 host:1", "MOVED x host:1", "MOVED 4 host:x", "ASK 4 host:1"] {
            assert_eq!(moved(other), None, "{other}");
        }
    }
}
