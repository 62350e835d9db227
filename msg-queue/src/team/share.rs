//! Which worker has which lanes. Pure: the same workers share the same lanes in the same way, whoever works it out.

use gim_proto::Incarnation;

/// Tells the lanes of one of the workers, in order. Every lane is one worker's, two workers' shares differ by at most
/// one lane, and few lanes move when a worker comes or goes. Somebody who is none of the workers has none.
///
/// Each pair of worker and lane has a weight of its own, and the heaviest pairs come first as long as the worker has room
/// (rendezvous hashing with bounded loads).
#[must_use]
pub fn share(workers: &[Incarnation], lanes: u16, me: Incarnation) -> Vec<u16> {
    let mut workers = workers.to_vec();
    workers.sort_unstable();
    workers.dedup();
    let mut room = Room::new(workers.len(), usize::from(lanes));
    let mut taken = vec![false; usize::from(lanes)];
    let mut mine = Vec::new();
    for (worker, lane) in by_weight(&workers, lanes) {
        let Some(taken) = taken.get_mut(usize::from(lane)).filter(|taken| !**taken) else { continue };
        if room.take(worker) {
            *taken = true;
            mine.extend((workers.get(worker) == Some(&me)).then_some(lane));
        }
    }
    mine.sort_unstable();
    mine
}

/// How many lanes each worker may still take.
struct Room {
    loads: Vec<usize>,
    /// What everybody gets.
    least: usize,
    /// Lanes that are left when everybody has that: one more for so many workers.
    further: usize,
}

impl Room {
    fn new(workers: usize, lanes: usize) -> Self {
        let least = lanes.checked_div(workers).unwrap_or(0);
        Self { loads: vec![0; workers], least, further: lanes - least * workers }
    }

    fn take(&mut self, worker: usize) -> bool {
        let Some(load) = self.loads.get_mut(worker) else { return false };
        if *load == self.least && self.further > 0 {
            self.further -= 1;
        } else if *load >= self.least {
            return false;
        }
        *load += 1;
        true
    }
}

/// All pairs of worker and lane, the heaviest first.
fn by_weight(workers: &[Incarnation], lanes: u16) -> impl Iterator<Item = (usize, u16)> {
    let of_worker = |(worker, incarnation): (usize, &Incarnation)| {
        let seed = seed(incarnation);
        (0..lanes).map(move |lane| (mix(seed ^ mix(u64::from(lane))), worker, lane))
    };
    let mut pairs: Vec<(u64, usize, u16)> = workers.iter().enumerate().flat_map(of_worker).collect();
    pairs.sort_unstable_by(|one, other| other.cmp(one));
    pairs.into_iter().map(|(_, worker, lane)| (worker, lane))
}

/// FNV-1a of the name.
fn seed(worker: &Incarnation) -> u64 {
    worker
        .to_string()
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Spreads numbers that are close to each other (SplitMix64).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn worker(number: u64) -> Incarnation {
        // Letters and digits of a ULID, without those that it leaves out.
        Incarnation::parse(&format!("01ARZ3NDEKTSV4RRFF{number:08}")).unwrap()
    }

    fn workers(numbers: impl IntoIterator<Item = u64>) -> Vec<Incarnation> {
        numbers.into_iter().map(worker).collect()
    }

    fn owners(workers: &[Incarnation], lanes: u16) -> BTreeMap<u16, Incarnation> {
        let of = |me: &Incarnation| share(workers, lanes, *me).into_iter().map(|lane| (lane, *me)).collect::<Vec<_>>();
        let all: Vec<_> = workers.iter().flat_map(of).collect();
        let owners: BTreeMap<u16, Incarnation> = all.iter().copied().collect();
        assert_eq!(owners.len(), all.len(), "a lane is shared twice");
        owners
    }

    proptest! {
        #[test]
        fn every_lane_is_one_workers_and_shares_are_even(
            numbers in prop::collection::btree_set(0..1_000_000_u64, 1..20),
            lanes in 1..=64_u16,
        ) {
            let workers = workers(numbers);
            prop_assert_eq!(owners(&workers, lanes).len(), usize::from(lanes));
            let shares: Vec<usize> = workers.iter().map(|me| share(&workers, lanes, *me).len()).collect();
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{:?}", shares);
        }

        #[test]
        fn it_does_not_matter_in_which_order_workers_are_named(
            numbers in prop::collection::btree_set(0..1_000_000_u64, 1..10),
            lanes in 1..=64_u16,
        ) {
            let named = workers(numbers);
            let mut otherwise: Vec<_> = named.iter().rev().copied().collect();
            otherwise.extend(named.first());
            for me in &named {
                prop_assert_eq!(share(&named, lanes, *me), share(&otherwise, lanes, *me));
            }
        }

        #[test]
        fn a_worker_that_comes_or_goes_moves_few_lanes(
            numbers in prop::collection::btree_set(0..1_000_000_u64, 2..20),
            lanes in 1..=64_u16,
            which in any::<prop::sample::Index>(),
        ) {
            let all = workers(numbers);
            let one = which.index(all.len());
            let others: Vec<_> = all.iter().enumerate().filter(|(at, _)| *at != one).map(|(_, worker)| *worker).collect();
            let (with, without) = (owners(&all, lanes), owners(&others, lanes));
            let moved = with.iter().filter(|(lane, owner)| without.get(*lane) != Some(*owner)).count();
            let fair = usize::from(lanes).div_ceil(all.len());
            prop_assert!(moved <= 2 * fair + 10, "{} of {} lanes moved, a fair share is {}", moved, lanes, fair);
        }
    }

    #[test]
    fn over_many_teams_little_more_than_a_fair_share_moves() {
        let moved: usize = (0..200)
            .map(|team| {
                let all = workers((0..4).map(|number| team * 10 + number));
                let (with, without) = (owners(&all, 16), owners(&all[..3], 16));
                with.iter().filter(|(lane, owner)| without.get(*lane) != Some(*owner)).count()
            })
            .sum();
        // 4 of 16 lanes have to.
        assert!(moved < 200 * 6, "{moved}");
    }

    #[test]
    fn nobody_shares_nothing() {
        assert_eq!(share(&[], 8, worker(1)), Vec::<u16>::new());
        assert_eq!(share(&workers([1, 2]), 8, worker(3)), Vec::<u16>::new());
        assert_eq!(share(&workers([1]), 3, worker(1)), [0, 1, 2]);
    }

    /// Workers of two versions share lanes in a cluster that is being updated.
    #[test]
    fn shares_stay_what_they_are_from_version_to_version() {
        let team = workers([1, 2, 3]);
        let shares: Vec<Vec<u16>> = team.iter().map(|me| share(&team, 8, *me)).collect();
        assert_eq!(shares, [[2, 3].as_slice(), &[0, 4, 5], &[1, 6, 7]]);
    }
}
