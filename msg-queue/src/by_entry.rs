//! A map by entry, for entries that come in their order as a rule, and go soon after in about the same.
//!
//! Owns a row of places in the order of the entries. A new entry goes behind the last; one that goes leaves a gap, unless
//! it was the first or the last, and gaps are filled or closed before there are more of them than entries. What comes or goes
//! out of order is found by halving, and moves the shorter part of the row.

use std::collections::VecDeque;

use gim_proto::EntryId;

use crate::need::Need;

/// Gaps that are left alone, however few entries there are.
const GAPS: usize = 16;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ByEntry<V> {
    /// By entry. The first and the last are no gaps.
    places: VecDeque<(EntryId, Option<V>)>,
    entries: usize,
    need: Need,
}

impl<V> Default for ByEntry<V> {
    fn default() -> Self {
        Self { places: VecDeque::new(), entries: 0, need: Need::default() }
    }
}

impl<V> ByEntry<V> {
    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Names the lowest entry.
    pub(crate) fn first(&self) -> Option<EntryId> {
        self.places.front().map(|(entry_id, _)| *entry_id)
    }

    pub(crate) fn contains(&self, entry_id: EntryId) -> bool {
        self.get(entry_id).is_some()
    }

    pub(crate) fn get(&self, entry_id: EntryId) -> Option<&V> {
        self.places.get(self.find(entry_id).ok()?)?.1.as_ref()
    }

    pub(crate) fn get_mut(&mut self, entry_id: EntryId) -> Option<&mut V> {
        let at = self.find(entry_id).ok()?;
        self.places.get_mut(at)?.1.as_mut()
    }

    /// Puts in an entry.
    ///
    /// # Errors
    /// It is there: nothing was put in.
    pub(crate) fn insert(&mut self, entry_id: EntryId, value: V) -> Result<(), &mut V> {
        let at = match self.find(entry_id) {
            Ok(at) => at,
            Err(at) => self.make_place(at, entry_id),
        };
        match self.places.get_mut(at).map(|(_, place)| place) {
            Some(Some(before)) => Err(before),
            Some(gap) => {
                *gap = Some(value);
                self.entries += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn make_place(&mut self, at: usize, entry_id: EntryId) -> usize {
        // A gap that the entry would stand before, or behind, is as good a place.
        for at in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            if let Some((other, None)) = self.places.get_mut(at) {
                *other = entry_id;
                return at;
            }
        }
        self.places.insert(at, (entry_id, None));
        self.need.came(self.places.len());
        at
    }

    pub(crate) fn remove(&mut self, entry_id: EntryId) -> Option<V> {
        let at = self.find(entry_id).ok()?;
        let value = self.places.get_mut(at)?.1.take()?;
        self.entries -= 1;
        while self.places.front().is_some_and(|(_, value)| value.is_none()) {
            self.places.pop_front();
        }
        while self.places.back().is_some_and(|(_, value)| value.is_none()) {
            self.places.pop_back();
        }
        if self.places.len() > 2 * self.entries + GAPS {
            self.places.retain(|(_, value)| value.is_some());
        }
        if self.entries == 0 {
            // Empty it is already: this has the next ones begin at the front again, where others have just been.
            self.places.clear();
        }
        if let Some(room) = self.need.went(self.places.len(), self.places.capacity()) {
            self.places.shrink_to(room);
        }
        Some(value)
    }

    /// Goes through all entries in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (EntryId, &V)> {
        self.places.iter().filter_map(|(entry_id, value)| Some((*entry_id, value.as_ref()?)))
    }

    /// Finds the place of an entry, or the one before which it belongs.
    fn find(&self, entry_id: EntryId) -> Result<usize, usize> {
        // Asked for is mostly the first, and what comes is mostly new.
        match (self.places.front(), self.places.back()) {
            (Some((first, _)), _) if *first == entry_id => Ok(0),
            (_, Some((last, _))) if *last >= entry_id => {
                self.places.binary_search_by(|(other, _)| other.cmp(&entry_id))
            }
            _ => Err(self.places.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> EntryId {
        EntryId { ms: number / 4, seq: number % 4 }
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_order(steps in prop::collection::vec((0_u64..80, 0_u8..5), 0..400)) {
            let (mut map, mut model) = (ByEntry::default(), BTreeMap::new());
            for (number, what) in steps {
                let entry_id = id(number);
                match what {
                    0 | 1 => {
                        let mut before = model.get(&entry_id).copied();
                        model.entry(entry_id).or_insert(u64::from(what));
                        prop_assert_eq!(map.insert(entry_id, u64::from(what)), before.as_mut().map_or(Ok(()), Err));
                    }
                    2 | 3 => prop_assert_eq!(map.remove(entry_id), model.remove(&entry_id)),
                    _ => {
                        if let Some(value) = map.get_mut(entry_id) {
                            *value += 100;
                        }
                        model.entry(entry_id).and_modify(|value| *value += 100);
                    }
                }
                prop_assert_eq!(map.get(entry_id), model.get(&entry_id));
                prop_assert_eq!(map.contains(entry_id), model.contains_key(&entry_id));
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(map.first(), model.keys().next().copied());
                prop_assert!(map.places.len() <= 2 * map.len() + GAPS);
            }
            prop_assert!(map.iter().eq(model.iter().map(|(entry_id, value)| (*entry_id, value))));
        }
    }

    #[test]
    fn what_goes_takes_its_room_along() {
        let mut map = ByEntry::default();
        for number in 0..10_000 {
            map.insert(id(number), ()).unwrap();
        }
        for number in (1..10_000).rev() {
            assert_eq!(map.remove(id(number)), Some(()));
        }
        assert_eq!(map.places.len(), 1);
        map.remove(id(0));
        assert!(map.is_empty() && map.places.capacity() <= 2_048);
        for number in 0..4_000 {
            map.insert(id(number), ()).unwrap();
            map.remove(id(number));
        }
        assert!(map.places.capacity() < 100, "and all of it once few pass through");
        for crowd in 0..20 {
            (0..300).for_each(|number| map.insert(id(1_000 * crowd + number), ()).unwrap());
            (0..300).for_each(|number| assert_eq!(map.remove(id(1_000 * crowd + number)), Some(())));
            assert!(map.places.capacity() >= 300, "a crowd that comes again keeps its room");
        }
    }
}
