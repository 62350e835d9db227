//! Compares what was accepted with what each client saw.
//!
//! On one connection the numbers of a target have to follow one another without a gap, a repeat or a step back. Only
//! where a connection ended and the next began may some be missing, or come again.

use std::collections::HashSet;
use std::fmt;

use super::lanes::Progress;
use super::recorder::{Connection, Recorder};
use super::traffic::{People, Traffic};

/// What came of the deliveries that were due: one per message to a user, one per member of a message to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) due: usize,
    /// Seen at least once.
    pub(crate) seen: usize,
    /// Seen on a connection after it was seen on an earlier one.
    pub(crate) again: usize,
    /// First seen after a later one, which was seen on an earlier connection: the user was away when it first came up.
    pub(crate) late: usize,
    /// Never seen, not settled when the node died: the next run found the user offline.
    pub(crate) away: usize,
    /// Never seen, settled when the node died: it was in the outbox of the node that died.
    pub(crate) in_outbox: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due, seen, again, late, away, in_outbox } = self;
        write!(f, "due {due}, seen {seen}, again {again}, late {late}, away {away}, in the dead outbox {in_outbox}")
    }
}

/// Judges all clients. `deaths`: how far each lane was when each run of the node died.
pub(crate) fn judge(traffic: &Traffic, people: People, recorders: &[Recorder], deaths: &[Vec<Progress>]) -> Counts {
    let mut counts = Counts::default();
    for recorder in recorders {
        let log = recorder.log();
        for target in people.targets(recorder.user) {
            judge_target(&mut counts, traffic, &target, recorder.user, &log, deaths);
        }
    }
    counts
}

fn judge_target(
    counts: &mut Counts,
    traffic: &Traffic,
    target: &str,
    user: usize,
    log: &[Connection],
    deaths: &[Vec<Progress>],
) {
    let due = u32::try_from(traffic.accepted(target)).unwrap();
    let mut seen: HashSet<u32> = HashSet::new();
    let mut highest = 0;
    // The lowest number that some connection so far began with: below it something may have come up for nobody.
    let mut began: Vec<u32> = Vec::new();
    for (at, connection) in log.iter().enumerate() {
        let Some(numbers) = connection.seen.get(target).filter(|numbers| !numbers.is_empty()) else { continue };
        for pair in numbers.windows(2) {
            let whole = || {
                log.iter()
                    .map(|connection| {
                        connection
                            .seen
                            .get(target)
                            .map(|seen| (seen.first().copied(), seen.last().copied(), seen.len()))
                    })
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                pair[1],
                pair[0] + 1,
                "u{user} on connection {at}: {} after {} of {target}: {:?}",
                pair[1],
                pair[0],
                whole()
            );
        }
        for number in numbers {
            if !seen.insert(*number) {
                counts.again += 1;
            } else if *number < highest {
                let away = began.iter().any(|first| number < first);
                assert!(away, "u{user} on connection {at}: {number} of {target} first seen after {highest}");
                counts.late += 1;
            }
        }
        began.push(numbers[0]);
        highest = highest.max(*numbers.last().unwrap());
    }
    assert!(highest <= due, "u{user} saw {highest} of {target}, and {due} were accepted");
    counts.due += due as usize;
    counts.seen += seen.len();
    for number in (1..=due).filter(|number| !seen.contains(number)) {
        match settled_at_death(traffic, target, number, log, deaths) {
            true => counts.in_outbox += 1,
            false => counts.away += 1,
        }
    }
}

/// Whether an entry that a user missed was settled when the connection on which it should have come ended.
fn settled_at_death(
    traffic: &Traffic,
    target: &str,
    number: u32,
    log: &[Connection],
    deaths: &[Vec<Progress>],
) -> bool {
    let before = log.iter().rev().find(|connection| {
        connection.seen.get(target).and_then(|numbers| numbers.last()).is_some_and(|last| *last < number)
    });
    let (lane, entry_id) = traffic.entry(target, number);
    let death = deaths.get(before.map_or(0, |connection| connection.run));
    death.is_some_and(|lanes| lanes[usize::from(lane)].has_settled(entry_id))
}
