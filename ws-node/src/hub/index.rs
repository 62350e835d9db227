//! Whose each row of a round is, by slot.
//!
//! Owns two ways to find it. A table of all slots is as large as there are connections, and what of it a round asks for is
//! not in the processor's cache: while there are few rows, all of them are looked at instead.

/// As many as are looked at one by one.
const FEW: usize = 64;

/// See the module. Rows are counted from 0 in each round.
pub(super) struct Index {
    rows: u32,
    /// Whose the first of them are.
    few: Vec<u32>,
    /// By slot: the round in which it was set, and the row. Of all rows, once there are more than few.
    table: Vec<(u32, u32)>,
    /// Never 0: that stands in the table where nothing was set.
    round: u32,
}

impl Default for Index {
    fn default() -> Self {
        Self { rows: 0, few: Vec::new(), table: Vec::new(), round: 1 }
    }
}

impl Index {
    /// Finds a slot's row.
    pub(super) fn find(&self, slot: u32) -> Option<usize> {
        if self.rows as usize <= FEW {
            return self.few.iter().position(|other| *other == slot);
        }
        let (round, row) = *self.table.get(slot as usize)?;
        (round == self.round).then_some(row as usize)
    }

    /// Gives the next row to a slot that has none.
    pub(super) fn push(&mut self, slot: u32) {
        let row = self.rows;
        self.rows += 1;
        if self.few.len() < FEW {
            return self.few.push(slot);
        }
        if row as usize == FEW {
            let few = std::mem::take(&mut self.few);
            (0..).zip(&few).for_each(|(row, slot)| self.set(*slot, row));
            self.few = few;
        }
        self.set(slot, row);
    }

    fn set(&mut self, slot: u32, row: u32) {
        let slot = slot as usize;
        if self.table.len() <= slot {
            self.table.resize(slot + 1, (0, 0));
        }
        self.table[slot] = (self.round, row);
    }

    /// Begins the next round. Nobody has a row.
    pub(super) fn clear(&mut self) {
        self.rows = 0;
        self.few.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.table.fill((0, 0));
            self.round = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_slot_has_the_row_it_was_given_in_this_round(
            rounds in prop::collection::vec((1_u32..400, prop::collection::vec(any::<u32>(), 0..300)), 1..6),
            first in prop_oneof![Just(1), Just(u32::MAX - 2)],
        ) {
            let mut index = Index { round: first, ..Index::default() };
            for (slots, asked) in rounds {
                let mut model = HashMap::new();
                for slot in asked.into_iter().map(|slot| slot % slots) {
                    prop_assert_eq!(index.find(slot), model.get(&slot).copied());
                    if index.find(slot).is_none() {
                        model.insert(slot, model.len());
                        index.push(slot);
                    }
                }
                for slot in 0..slots {
                    prop_assert_eq!(index.find(slot), model.get(&slot).copied());
                }
                index.clear();
            }
        }
    }

    #[test]
    fn what_was_set_before_the_count_of_rounds_began_anew_is_forgotten() {
        let mut index = Index::default();
        (0..100).for_each(|slot| index.push(slot));
        assert_eq!((index.round, index.find(99)), (1, Some(99)));
        index.round = u32::MAX;
        index.clear();
        (100..200).for_each(|slot| index.push(slot));
        assert_eq!((index.round, index.find(99), index.find(199)), (1, None, Some(99)));
    }
}
