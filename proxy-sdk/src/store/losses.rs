//! When Redis may have lost something: its run changed, or it knows less of a lane than was seen of it.
//!
//! Owns the memory of it, the log line and the count; one per [`Store`](super::Store), whoever noticed. A run that changed may have kept
//! everything: nobody can tell, so it is told as possible, with the time between the last answer of the run before and the
//! first of the one that followed. Never decides what is done about it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use gim_proto::EntryId;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::Runs;

/// Possible losses remembered.
const REMEMBERED: usize = 10;
/// What is found in a lane so long after a change of the run belongs to it.
const BELONGS_MS: u64 = 60_000;

/// A time in which what was written may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PossibleLoss {
    /// When the run before was heard last, Unix milliseconds on this machine.
    pub from_ms: u64,
    /// When the run that followed was heard first.
    pub to_ms: u64,
    /// The runs that are gone: process and history of the data of each.
    pub gone: Vec<Box<str>>,
    /// The runs there are now.
    pub now: Vec<Box<str>>,
    /// Lanes of which more was seen than there is now: lost for certain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneBehind>,
}

/// A lane of which more was seen than Redis knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LaneBehind {
    /// The lane.
    pub lane: u16,
    /// The highest entry that was read.
    #[serde(serialize_with = "as_text")]
    pub seen: EntryId,
    /// The highest that Redis has given since, as far as it remembers.
    #[serde(serialize_with = "as_text")]
    pub last: EntryId,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Losses(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    runs: Runs,
    /// When these runs were heard last: on the clock that only rises, and on the one that people read.
    heard: Option<(Instant, u64)>,
    kept: VecDeque<PossibleLoss>,
    count: u64,
}

impl Losses {
    /// Names the runs of Redis heard last.
    #[must_use]
    pub fn runs(&self) -> Vec<Box<str>> {
        self.state().runs.names()
    }

    /// Tells what may have been lost, oldest first, the last ten times.
    #[must_use]
    pub fn all(&self) -> Vec<PossibleLoss> {
        self.state().kept.iter().cloned().collect()
    }

    /// Counts them since the process started.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.state().count
    }

    /// Takes note of the runs that answered a question asked at `asked`.
    pub(super) fn met(&self, runs: &Runs, asked: Instant) {
        let mut state = self.state();
        let now_ms = unix_ms();
        let Some((heard, heard_ms)) = state.heard else {
            state.runs = runs.clone();
            state.heard = Some((Instant::now(), now_ms));
            return;
        };
        let gone = state.runs.without(runs);
        // An answer that was overtaken by a later one tells nothing new.
        if !gone.is_empty() && asked < heard {
            return;
        }
        state.runs = runs.clone();
        state.heard = Some((Instant::now(), now_ms));
        if !gone.is_empty() {
            state.replaced(heard_ms.min(now_ms), now_ms, gone, runs.names());
        }
    }

    /// Takes note of a lane of which a higher entry was seen than Redis has given, as far as it knows now.
    pub fn lane_is_behind(&self, behind: LaneBehind) {
        let mut state = self.state();
        let now_ms = unix_ms();
        let belongs = |loss: &&mut PossibleLoss| now_ms.saturating_sub(loss.to_ms) < BELONGS_MS;
        match state.kept.back_mut().filter(belongs) {
            Some(loss) => loss.lanes.push(behind),
            None => {
                let lanes = vec![behind];
                state.keep(PossibleLoss { from_ms: now_ms, to_ms: now_ms, gone: Vec::new(), now: Vec::new(), lanes });
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn replaced(&mut self, from_ms: u64, to_ms: u64, gone: Vec<Box<str>>, now: Vec<Box<str>>) {
        tracing::warn!(
            from_ms,
            to_ms,
            ?gone,
            ?now,
            "redis is another run: what was written from the one time to the other may be lost"
        );
        // A lane may have met the other run first.
        let met = |loss: &&mut PossibleLoss| loss.gone.is_empty() && to_ms.saturating_sub(loss.to_ms) < BELONGS_MS;
        match self.kept.back_mut().filter(met) {
            Some(loss) => {
                *loss = PossibleLoss { from_ms, to_ms, gone, now, lanes: std::mem::take(&mut loss.lanes) };
            }
            None => self.keep(PossibleLoss { from_ms, to_ms, gone, now, lanes: Vec::new() }),
        }
    }

    fn keep(&mut self, loss: PossibleLoss) {
        if self.kept.len() == REMEMBERED {
            self.kept.pop_front();
        }
        self.kept.push_back(loss);
        self.count += 1;
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn as_text<S: Serializer>(id: &EntryId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(lane: u16) -> LaneBehind {
        LaneBehind { lane, seen: EntryId { ms: 9, seq: 1 }, last: EntryId { ms: 7, seq: 0 } }
    }

    fn met(losses: &Losses, run: &str) {
        losses.met(&Runs::of(run), Instant::now());
    }

    #[tokio::test]
    async fn only_another_run_is_a_possible_loss() {
        let losses = Losses::default();
        met(&losses, "a");
        met(&losses, "a");
        assert_eq!((losses.count(), losses.runs()), (0, vec!["a".into()]));
        met(&losses, "b");
        let all = losses.all();
        assert_eq!((all.len(), &all[0].gone, &all[0].now), (1, &vec!["a".into()], &vec!["b".into()]));
        assert!(all[0].from_ms <= all[0].to_ms);
    }

    #[tokio::test]
    async fn an_answer_that_was_overtaken_changes_nothing() {
        let losses = Losses::default();
        met(&losses, "a");
        let asked = Instant::now();
        met(&losses, "b");
        losses.met(&Runs::of("a"), asked);
        assert_eq!((losses.count(), losses.runs()), (1, vec!["b".into()]));
    }

    #[tokio::test]
    async fn a_lane_that_is_behind_is_told_with_the_change_it_came_by() {
        let losses = Losses::default();
        met(&losses, "a");
        losses.lane_is_behind(behind(1));
        met(&losses, "b");
        losses.lane_is_behind(behind(2));
        let all = losses.all();
        assert_eq!((all.len(), &all[0].lanes, losses.count()), (1, &vec![behind(1), behind(2)], 1));
        let json = serde_json::to_value(all[0].lanes[0]).unwrap();
        assert_eq!(json, serde_json::json!({ "lane": 1, "seen": "9-1", "last": "7-0" }));
    }

    #[tokio::test]
    async fn the_last_ten_are_remembered_and_all_are_counted() {
        let losses = Losses::default();
        for run in 0..15 {
            met(&losses, &run.to_string());
        }
        let all = losses.all();
        assert_eq!((all.len(), losses.count(), &all[0].gone), (10, 14, &vec!["4".into()]));
    }
}
