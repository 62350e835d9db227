//! Compares what was accepted with what each client saw.
//!
//! On one connection the numbers of a target rise, and none is left out that no other connection of that user saw. What
//! was accepted after a client was welcomed, or was in its group, reaches that connection as long as it stands: only what
//! came up while the user was nowhere may be missing, or be seen again. Nobody sees what is not meant for it.

use std::collections::HashMap;
use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use super::recorder::{Connection, Recorder};
use super::traffic::{People, Traffic};

/// When messages to some users may be lost, and why that is so is said where it is made. Unix milliseconds.
pub(crate) struct Window {
    pub(crate) users: Vec<usize>,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// What came of the deliveries that were due: one per message to a user, one per member of a message to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) due: usize,
    /// Seen at least once.
    pub(crate) seen: usize,
    /// Seen on a connection after it was seen on an earlier one.
    pub(crate) again: usize,
    /// First seen after a later one, which was seen on an earlier connection.
    pub(crate) late: usize,
    /// Accepted after the client was welcomed elsewhere, and seen on the connection before.
    pub(crate) superseded: usize,
    /// Never seen: the user was nowhere, or it was in the outbox of a node that died.
    pub(crate) away: usize,
    /// Never seen, within a window.
    pub(crate) excused: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due, seen, again, late, superseded, away, excused } = self;
        write!(f, "due {due}, seen {seen}")?;
        let rest = [("again", again), ("late", late), ("by the superseded", superseded), ("away", away)];
        for (name, count) in rest.into_iter().chain([("excused", excused)]).filter(|(_, count)| **count > 0) {
            write!(f, ", {name} {count}")?;
        }
        Ok(())
    }
}

impl Counts {
    /// Everything due was seen, once, in order.
    pub(crate) fn is_exact(&self) -> bool {
        let Self { due, seen, again, late, superseded, .. } = *self;
        (seen, again, late, superseded) == (due, 0, 0, 0)
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            due: self.due + other.due,
            seen: self.seen + other.seen,
            again: self.again + other.again,
            late: self.late + other.late,
            superseded: self.superseded + other.superseded,
            away: self.away + other.away,
            excused: self.excused + other.excused,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// Judges all clients, one count for each.
pub(crate) fn judge(traffic: &Traffic, people: People, recorders: &[Recorder], windows: &[Window]) -> Vec<Counts> {
    recorders.iter().map(|recorder| judge_one(traffic, people, recorder, windows)).collect()
}

fn judge_one(traffic: &Traffic, people: People, recorder: &Recorder, windows: &[Window]) -> Counts {
    let log = recorder.log();
    let user = recorder.user;
    let [own, group] = people.targets(user);
    for target in log.iter().flat_map(|connection| connection.seen.keys()) {
        assert!(*target == own || *target == group, "u{user} saw what is for {target}");
    }
    let fences: Vec<u64> = log.iter().filter(|connection| connection.ready.is_some()).map(|one| one.fence).collect();
    assert!(fences.is_sorted_by(|one, next| one < next), "the fences of u{user} do not rise: {fences:?}");
    let windows = windows.iter().filter(|window| window.users.contains(&user));
    let excused = |ms| windows.clone().any(|window| (window.from..=window.to).contains(&ms));
    let own = Case { traffic, user, target: own, log: &log, began: |connection| connection.ready };
    let group = Case { traffic, user, target: group, log: &log, began: |connection| connection.joined };
    own.judge(excused) + group.judge(excused)
}

/// One user and one target.
struct Case<'a> {
    traffic: &'a Traffic,
    user: usize,
    target: String,
    log: &'a [Connection],
    /// From when on a connection gets everything.
    began: fn(&Connection) -> Option<u64>,
}

impl Case<'_> {
    fn judge(&self, excused: impl Fn(u64) -> bool) -> Counts {
        let due = u32::try_from(self.traffic.accepted(&self.target)).unwrap();
        // The connection on which each number was first seen.
        let mut first: HashMap<u32, usize> = HashMap::new();
        let mut counts = Counts { due: due as usize, ..Counts::default() };
        let mut highest = 0;
        for at in 0..self.log.len() {
            let numbers = self.numbers(at);
            for pair in numbers.windows(2) {
                let why = format!("on connection {at} {} came after {}", pair[1], pair[0]);
                assert!(pair[1] > pair[0], "{}", self.story(pair[1], &why));
            }
            for number in &numbers {
                assert!(*number <= due, "{}", self.story(due, "more than was accepted"));
                if first.contains_key(number) {
                    counts.again += 1;
                    continue;
                }
                first.insert(*number, at);
                counts.late += usize::from(*number < highest);
                counts.superseded += usize::from(self.standing(self.accepted(*number)).is_some_and(|now| now > at));
            }
            highest = highest.max(numbers.last().copied().unwrap_or_default());
        }
        counts.seen = first.len();
        for number in (1..=due).filter(|number| !first.contains_key(number)) {
            if excused(self.accepted(number)) {
                counts.excused += 1;
            } else {
                self.was_away(number);
                counts.away += 1;
            }
        }
        counts
    }

    fn numbers(&self, at: usize) -> Vec<u32> {
        let seen = self.log[at].seen.get(&self.target);
        seen.map(|seen| seen.iter().map(|seen| seen.number).collect()).unwrap_or_default()
    }

    /// When a number was accepted.
    fn accepted(&self, number: u32) -> u64 {
        self.traffic.entry(&self.target, number).1.ms
    }

    /// The newest connection that stood at a moment.
    fn standing(&self, ms: u64) -> Option<usize> {
        (0..self.log.len()).rev().find(|at| (self.began)(&self.log[*at]).is_some_and(|began| began < ms))
    }

    /// A number that nobody saw must have come up when the user was nowhere, or stood last on a connection that ended.
    fn was_away(&self, number: u32) {
        let Some(at) = self.standing(self.accepted(number)) else {
            return;
        };
        let is_within = self.numbers(at).last().is_some_and(|last| *last > number);
        let has_ended = self.log[at].end.is_some() || self.log[at].abandoned.is_some();
        assert!(has_ended && !is_within, "{}", self.story(number, "it was never seen"));
    }

    /// Everything that helps to understand what happened to a number.
    fn story(&self, number: u32, why: &str) -> String {
        use std::fmt::Write as _;
        let (lane, entry) = self.traffic.entry(&self.target, number);
        let mut story = format!("u{}: {number} of {} (lane {lane}, entry {entry}): {why}\n", self.user, self.target);
        for (at, connection) in self.log.iter().enumerate() {
            let Connection { named, session, ready, joined, abandoned, end, presented, restored, .. } = connection;
            let numbers = self.numbers(at);
            let near: Vec<(u32, u64)> = connection.seen.get(&self.target).map_or_else(Vec::new, |seen| {
                let near = seen.iter().filter(|seen| seen.number.abs_diff(number) <= 3);
                near.map(|seen| (seen.number, seen.at)).collect()
            });
            let _ = writeln!(
                story,
                "  connection {at} on {named}, session {session}: ready {ready:?}, joined {joined:?}, presented {presented}, \
                 restored {restored}, abandoned {abandoned:?}, end {end:?}, saw {:?} to {:?} ({}), near it {near:?}",
                numbers.first(),
                numbers.last(),
                numbers.len()
            );
        }
        story
    }
}
