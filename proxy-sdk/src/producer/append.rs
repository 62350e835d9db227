//! The parts of one call that go to one lane.
//!
//! Owns the steps: as many parts as one run of the script takes, one step after the other, until one fails.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::{Cmd, Script, cmd, pipe};
use gim_proto::EntryId;

use super::{Part, Shared};
use crate::queue::{QueueError, QueueErrorKind};
use crate::store::{Link, StoreError, StoreErrorKind};

const SOURCE: &str = include_str!("append.lua");
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// Parts, bytes, and names and values of one step, at most. Redis takes no more than 2^20 arguments.
const MOST_PARTS: usize = 1_000;
const MOST_BYTES: usize = 8 << 20;
const MOST_ARGUMENTS: usize = 500_000;

pub(super) struct Appending<'a> {
    shared: &'a Shared,
    link: &'a Link,
    lane: u16,
    parts: Vec<&'a Part>,
}

/// Why not all of a lane's parts were appended.
pub(super) struct Stopped {
    /// Some were, or may have been.
    pub(super) has_begun: bool,
    error: QueueError,
}

impl Stopped {
    /// Tells the error of the whole call, some of which has taken effect or not.
    pub(super) fn of_call(self, has_begun: bool) -> QueueError {
        match has_begun {
            true if self.error.kind != QueueErrorKind::Timeout => {
                QueueError::new(QueueErrorKind::Timeout, format!("only a part of the call was done: {}", self.error))
            }
            _ => self.error,
        }
    }
}

impl<'a> Appending<'a> {
    pub(super) fn new(shared: &'a Shared, lane: u16, parts: Vec<&'a Part>) -> Result<Self, QueueError> {
        let link = shared.links.of(lane).ok_or_else(|| QueueError::no_such_lane(lane))?;
        Ok(Self { shared, link, lane, parts })
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().copied()
    }

    /// Looks whether everything would fit. Repeats count too.
    pub(super) async fn check_room(&self) -> Result<(), QueueError> {
        let Shared { keys, bounds, .. } = self.shared;
        let mut look = pipe();
        look.cmd("XLEN").arg(keys.queue(self.lane)).cmd("ZCARD").arg(keys.later(self.lane));
        let (entries, later): (u64, u64) = self.link.pipe(&look).await?;
        let scheduled = self.parts.iter().filter(|part| part.due_ms.is_some()).count() as u64;
        if entries + self.parts.len() as u64 > bounds.entries {
            return Err(QueueError::full("entries"));
        }
        match scheduled > 0 && later + scheduled > bounds.later {
            true => Err(QueueError::full("later")),
            false => Ok(()),
        }
    }

    /// Appends everything, or stops at the first step that fails.
    pub(super) async fn run(&self) -> Result<Vec<EntryId>, Stopped> {
        let mut places = Vec::with_capacity(self.parts.len());
        for step in steps(&self.parts) {
            match self.append(step).await {
                Ok(mut more) => places.append(&mut more),
                Err(error) => {
                    let has_begun = !places.is_empty() || !error.is_without_effect();
                    return Err(Stopped { has_begun, error: error.into() });
                }
            }
        }
        Ok(places)
    }

    async fn append(&self, parts: &[&Part]) -> Result<Vec<EntryId>, StoreError> {
        let command = self.command(parts);
        let answer: Vec<String> = run(self.link, &command).await?;
        let places: Vec<EntryId> = answer.iter().map_while(|place| EntryId::parse(place).ok()).collect();
        match places.len() == parts.len() {
            true => Ok(places),
            false => Err(StoreError { kind: StoreErrorKind::Unknown, code: None, source: None }),
        }
    }

    // Written at once: the bytes of an entry are copied here and nowhere else.
    fn command(&self, parts: &[&Part]) -> Cmd {
        let Shared { keys, bounds, .. } = self.shared;
        let ids = parts.iter().filter_map(|part| part.id.as_ref());
        let marks: Vec<String> = ids.map(|id| keys.idempotency(self.lane, id)).collect();
        let arguments: usize = parts.iter().map(|part| 2 * part.fields.len()).sum();
        let bytes: usize = parts.iter().map(|part| 8 + part.fields.bytes()).sum();
        let names: usize = marks.iter().map(String::len).sum();
        let mut command = Cmd::with_capacity(arguments + marks.len() + 16, bytes + names + 256);
        command.arg("EVALSHA").arg(SCRIPT.get_hash()).arg(2 + marks.len());
        command.arg(keys.queue(self.lane)).arg(keys.later(self.lane)).arg(&marks);
        command.arg(bounds.entries).arg(bounds.later).arg(millis(bounds.idempotency_window));
        command.arg(parts.iter().filter(|part| part.due_ms.is_some()).count()).arg(heads(parts));
        command.arg(waits(parts));
        for (name, value) in parts.iter().flat_map(|part| part.fields.iter()) {
            command.arg(name).arg(&value[..]);
        }
        command
    }
}

/// Says of each part in four bytes what the script has to know.
fn heads(parts: &[&Part]) -> Vec<u8> {
    // Two keys come before the marks. Neither number can be larger than 15 bits: see the bounds of a step and an entry.
    let mut mark: u16 = 2;
    let mut heads = Vec::with_capacity(4 * parts.len());
    for part in parts {
        let has_id = u16::from(part.id.is_some());
        mark += has_id;
        let head = (mark * has_id) | (u16::from(part.due_ms.is_some()) << 15);
        heads.extend(head.to_be_bytes());
        heads.extend(u16::try_from(2 * part.fields.len()).unwrap_or(u16::MAX).to_be_bytes());
    }
    heads
}

/// Says of each part in four bytes how many seconds it has to wait.
fn waits(parts: &[&Part]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wait = |part: &&Part| {
        let ahead = part.due_ms.map_or(0, |due_ms| u128::from(due_ms).saturating_sub(now.as_millis()).div_ceil(1_000));
        u32::try_from(ahead).unwrap_or(u32::MAX).to_be_bytes()
    };
    parts.iter().flat_map(wait).collect()
}

/// Runs the script, which is loaded where it is not known yet.
async fn run(link: &Link, command: &Cmd) -> Result<Vec<String>, StoreError> {
    match link.query(command).await {
        Err(error) if error.is("NOSCRIPT") => {
            let loaded: Result<String, _> = link.query(cmd("SCRIPT").arg("LOAD").arg(SOURCE)).await;
            // Whatever came of loading it, the entries were not sent anew.
            loaded.map_err(|error| StoreError { kind: StoreErrorKind::Unavailable, ..error })?;
            link.query(command).await
        }
        answer => answer,
    }
}

fn millis(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 52)
}

/// Cuts parts into steps.
fn steps<'p, 'a>(parts: &'p [&'a Part]) -> impl Iterator<Item = &'p [&'a Part]> {
    let mut rest = parts;
    std::iter::from_fn(move || {
        let (step, more) = rest.split_at(length(rest));
        rest = more;
        (!step.is_empty()).then_some(step)
    })
}

/// Counts the parts of the next step: one, and as many more as fit.
fn length(parts: &[&Part]) -> usize {
    let (mut bytes, mut arguments) = (0, 0);
    let fits = |part: &&&Part| {
        bytes += part.fields.bytes();
        arguments += 2 * part.fields.len();
        bytes <= MOST_BYTES && arguments <= MOST_ARGUMENTS
    };
    let fitting = parts.iter().take(MOST_PARTS).take_while(fits).count();
    fitting.max(usize::from(!parts.is_empty()))
}

#[cfg(test)]
mod tests {
    use gim_proto::Fields;

    use super::*;

    fn part(fields: Fields) -> Part {
        Part { index: 0, lane: 0, id: None, due_ms: None, fields }
    }

    fn cut(parts: &[Part]) -> Vec<usize> {
        let parts: Vec<&Part> = parts.iter().collect();
        steps(&parts).map(<[_]>::len).collect()
    }

    #[test]
    fn heads_name_the_mark_the_schedule_and_the_number_of_names_and_values() {
        let fields: Fields = [("to_uid", "1"), ("data", "{}")].into_iter().collect();
        let id = |id| gim_proto::MessageId::parse(id).ok();
        let plain = part(fields);
        let marked = Part { id: id("a"), ..plain.clone() };
        let scheduled = Part { id: id("b"), due_ms: Some(1), ..plain.clone() };
        let heads = heads(&[&plain, &marked, &plain, &scheduled]);
        assert_eq!(heads, [0, 0, 0, 4, 0, 3, 0, 4, 0, 0, 0, 4, 0x80, 4, 0, 4]);
    }

    #[test]
    fn a_step_ends_at_each_of_its_bounds_and_takes_one_part_at_least() {
        let small = vec![part([("to_uid", "1")].into_iter().collect()); 2_001];
        assert_eq!(cut(&small), [1_000, 1_000, 1]);
        let large = vec![part([("data", vec![0; 5 << 20])].into_iter().collect()); 3];
        assert_eq!(cut(&large), [1, 1, 1]);
        let wide = vec![part((0..3_000).map(|n| (n.to_string(), "")).collect()); 100];
        assert_eq!(cut(&wide), [83, 17]);
        let huge = vec![part([("data", vec![0; 9 << 20])].into_iter().collect())];
        assert_eq!(cut(&huge), [1]);
        assert!(cut(&[]).is_empty());
    }
}
