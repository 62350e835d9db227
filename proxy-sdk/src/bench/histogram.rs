//! Counts of microseconds by size, close enough for percentiles and cheap enough for every delivery.
//!
//! Exact below 2,048 us, above that to one part in 1,024. Several can be added up, so that percentiles are over all load
//! clients together. Percentiles are by nearest rank and never above the largest value.

use serde::{Deserialize, Serialize};

/// Values below this have a place each.
const EXACT: u64 = 2_048;
/// Places for each doubling above.
const HALF: u64 = EXACT / 2;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

/// What goes from process to process: places that are not empty.
#[derive(Serialize, Deserialize)]
struct Sparse {
    counts: Vec<(usize, u64)>,
    largest: u64,
}

impl Histogram {
    /// Counts a value, in microseconds.
    pub fn record(&mut self, micros: u64) {
        let place = place(micros);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.total += 1;
        self.largest = self.largest.max(micros);
    }

    /// Counts all that another one has counted.
    pub fn add(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.largest = self.largest.max(other.largest);
    }

    /// How many values were counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The largest value.
    #[must_use]
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// The value that so many of a thousand do not exceed; 0 where nothing was counted.
    #[must_use]
    pub fn per_mille(&self, share: u64) -> u64 {
        let rank = (self.total * share).div_ceil(1_000).max(1);
        let mut below = 0;
        let reached = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        reached.map_or(0, |place| highest(place).min(self.largest))
    }
}

fn place(micros: u64) -> usize {
    let place = if micros < EXACT { micros } else { (micros >> shift_of(micros)) + shift_of(micros) * HALF };
    usize::try_from(place).unwrap_or(usize::MAX)
}

const fn shift_of(micros: u64) -> u64 {
    // So many low digits in base 2 are left out that eleven remain: of 2,048 one.
    (u64::BITS - micros.leading_zeros()) as u64 - 11
}

/// The largest value that has this place.
fn highest(place: usize) -> u64 {
    let place = place as u64;
    if place < EXACT {
        return place;
    }
    let shift = (place - HALF) / HALF;
    let rest = place - shift * HALF;
    ((rest + 1) << shift) - 1
}

impl From<Sparse> for Histogram {
    fn from(sparse: Sparse) -> Self {
        let mut counts = vec![0; sparse.counts.last().map_or(0, |(place, _)| place + 1)];
        for &(place, count) in &sparse.counts {
            if let Some(slot) = counts.get_mut(place) {
                *slot += count;
            }
        }
        let total = counts.iter().sum();
        Self { counts, total, largest: sparse.largest }
    }
}

impl From<Histogram> for Sparse {
    fn from(histogram: Histogram) -> Self {
        let filled = histogram.counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
        Self { counts: filled.collect(), largest: histogram.largest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_place_that_gives_it_back_to_one_part_in_a_thousand() {
        let values = (0..5_000).chain([9_999, 65_535, 65_536, 1_000_000, 123_456_789, u64::from(u32::MAX), 1 << 40]);
        let mut last = 0;
        for value in values {
            let (place, found) = (place(value), highest(place(value)));
            assert!(place >= last, "{value}");
            assert!(found >= value && (found - value) * 1_024 <= value, "{value} gave {found}");
            last = place;
        }
        assert!((0..2_048).all(|value| highest(place(value)) == value));
    }

    #[test]
    fn percentiles_are_taken_by_nearest_rank_over_all_that_was_added() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        (1..=50).for_each(|number| one.record(number));
        (51..=100).for_each(|number| other.record(number * 1_000));
        one.add(&other);
        assert_eq!((one.total(), one.largest(), one.per_mille(500)), (100, 100_000, 50));
        assert!(one.per_mille(990).abs_diff(99_000) <= 99, "{}", one.per_mille(990));
        assert_eq!(one.per_mille(1_000), 100_000);
        assert_eq!(Histogram::default().per_mille(500), 0);
    }

    #[test]
    fn it_comes_out_of_json_as_it_went_in() {
        let mut histogram = Histogram::default();
        [3, 3, 70_000].into_iter().for_each(|value| histogram.record(value));
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
    }
}
