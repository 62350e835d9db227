//! Metrics of queue and worker, `gim_worker_*`.
//!
//! Owns the handles, made once from a recorder that is passed in; the global recorder is never used. Labels are bounded:
//! lane, outcome, reason, step, state.

use std::num::NonZeroU16;

use gim_proto::DeadReason;
use gim_proxy_sdk::Outcome;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};

use super::{Event, Step};
use crate::deliver::Failure;

const OUTCOMES: [Outcome; 7] = [
    Outcome::Offered,
    Outcome::Offline,
    Outcome::NotMember,
    Outcome::Expired,
    Outcome::Duplicate,
    Outcome::Slow,
    Outcome::Stored,
];
const REASONS: [DeadReason; 4] =
    [DeadReason::Malformed, DeadReason::TooLarge, DeadReason::Attempts, DeadReason::Unsupported];
const BOUNDS: [&str; 4] = ["entries", "bytes", "later", "store"];

const READ: &str = "gim_worker_read_total";
const OUTCOME: &str = "gim_worker_outcomes_total";
const AGE: &str = "gim_worker_outcome_age_seconds";
const REROUTED: &str = "gim_worker_rerouted_total";
const RETRIES: &str = "gim_worker_retries_total";
const LATER: &str = "gim_worker_later_total";
const DEAD: &str = "gim_worker_dead_total";
const SETTLED: &str = "gim_worker_settled_total";
const UNSETTLED: &str = "gim_worker_unsettled_messages";
const UNSETTLED_BYTES: &str = "gim_worker_unsettled_bytes";
const PAUSES: &str = "gim_worker_pauses_total";
const LOST: &str = "gim_worker_lost_total";
const TAKEN: &str = "gim_worker_taken_total";
const STORE_REPLACED: &str = "gim_worker_store_replaced_total";
const BEHIND: &str = "gim_worker_lane_behind_total";
const GONE: &str = "gim_worker_entries_gone_total";
const PANICS: &str = "gim_worker_panics_total";
const DEAD_DROPPED: &str = "gim_worker_dead_dropped_total";
const IDS_FORGOTTEN: &str = "gim_worker_ids_forgotten_total";
const STORED_ANEW: &str = "gim_worker_stored_anew_total";
const RECEIPTS_UNTOLD: &str = "gim_worker_receipts_untold_total";
const REFUSED: &str = "gim_worker_refused_total";

const COUNTERS: [(&str, &str); 19] = [
    (READ, "Entries read."),
    (OUTCOME, "Outcomes, one per target."),
    (REROUTED, "Messages looked up again because a node did not hold the session."),
    (RETRIES, "Attempts that failed and are repeated."),
    (LATER, "Messages put aside until their time."),
    (DEAD, "Messages that became dead letters."),
    (SETTLED, "Entries settled."),
    (PAUSES, "Waits for a store that did not answer, or for a node that takes nothing right now."),
    (LOST, "Lanes left to another owner."),
    (TAKEN, "Lanes taken."),
    (STORE_REPLACED, "Times that another run of the store answered."),
    (BEHIND, "Times that the store had lost the last entries of the lane: more was read than it knew."),
    (GONE, "Accepted entries gone from the store without an outcome."),
    (PANICS, "Panics of a lane's task."),
    (DEAD_DROPPED, "Dead letters dropped at their bound."),
    (IDS_FORGOTTEN, "Message ids forgotten before their window ended."),
    (STORED_ANEW, "Durable entries stored anew because another run of Redis answered before they were settled."),
    (RECEIPTS_UNTOLD, "Messages trimmed without the receipt that was wanted, because one append trimmed too many."),
    (REFUSED, "Enqueues refused at a bound."),
];

/// The metric handles of all lanes.
#[derive(Debug)]
pub struct WorkerMetrics {
    lanes: Vec<LaneMetrics>,
}

#[derive(Debug)]
struct LaneMetrics {
    read: Counter,
    outcomes: [Counter; OUTCOMES.len()],
    age: Histogram,
    rerouted: Counter,
    retries: [Counter; Failure::ALL.len()],
    later: Counter,
    dead: [Counter; REASONS.len()],
    settled: Counter,
    unsettled: Gauge,
    unsettled_bytes: Gauge,
    pauses: [Counter; Step::ALL.len()],
    lost: Counter,
    taken: Counter,
    store_replaced: Counter,
    behind: Counter,
    gone_unread: Counter,
    gone_pending: Counter,
    panics: Counter,
    dead_dropped: Counter,
    ids_forgotten: Counter,
    receipts_untold: Counter,
    stored_anew: Counter,
    refused: [Counter; BOUNDS.len()],
}

impl WorkerMetrics {
    /// Makes the handles of every lane on a recorder.
    #[must_use]
    pub fn new(recorder: &dyn Recorder, lanes: NonZeroU16) -> Self {
        describe(recorder);
        Self { lanes: (0..lanes.get()).map(|lane| LaneMetrics::new(recorder, lane)).collect() }
    }

    /// Counts an event. Lanes beyond those it was made for are not counted.
    pub fn count(&self, lane: u16, event: &Event) {
        if let Some(lane) = self.lanes.get(usize::from(lane)) {
            lane.count(event);
        }
    }
}

impl LaneMetrics {
    fn new(recorder: &dyn Recorder, lane: u16) -> Self {
        let of = |name| counter(recorder, name, lane, None);
        let with = |name, label, value| counter(recorder, name, lane, Some((label, value)));
        Self {
            read: of(READ),
            outcomes: OUTCOMES.map(|outcome| with(OUTCOME, "outcome", outcome.as_str())),
            age: recorder.register_histogram(&key(AGE, lane, None), &METADATA),
            rerouted: of(REROUTED),
            retries: Failure::ALL.map(|failure| with(RETRIES, "reason", failure.as_str())),
            later: of(LATER),
            dead: REASONS.map(|reason| with(DEAD, "reason", reason.as_str())),
            settled: of(SETTLED),
            unsettled: recorder.register_gauge(&key(UNSETTLED, lane, None), &METADATA),
            unsettled_bytes: recorder.register_gauge(&key(UNSETTLED_BYTES, lane, None), &METADATA),
            pauses: Step::ALL.map(|step| with(PAUSES, "step", step.as_str())),
            lost: of(LOST),
            taken: of(TAKEN),
            store_replaced: of(STORE_REPLACED),
            behind: of(BEHIND),
            gone_unread: with(GONE, "state", "unread"),
            gone_pending: with(GONE, "state", "pending"),
            panics: of(PANICS),
            dead_dropped: of(DEAD_DROPPED),
            ids_forgotten: of(IDS_FORGOTTEN),
            receipts_untold: of(RECEIPTS_UNTOLD),
            stored_anew: of(STORED_ANEW),
            refused: BOUNDS.map(|bound| with(REFUSED, "reason", bound)),
        }
    }

    fn count(&self, event: &Event) {
        match event {
            Event::Read { entries } => self.read.increment(*entries as u64),
            Event::Outcome { outcome, targets, age_ms, .. } => {
                bump(&self.outcomes, &OUTCOMES, outcome, *targets);
                self.age.record(*age_ms as f64 / 1_000.0);
            }
            Event::Rerouted { .. } => self.rerouted.increment(1),
            Event::Retry { failure, .. } => bump(&self.retries, &Failure::ALL, failure, 1),
            Event::Later { .. } => self.later.increment(1),
            Event::Dead { reason, .. } => bump(&self.dead, &REASONS, reason, 1),
            Event::Settled { entries } => self.settled.increment(*entries as u64),
            Event::Window { messages, bytes } => {
                self.unsettled.set(*messages as f64);
                self.unsettled_bytes.set(*bytes as f64);
            }
            Event::Paused { step, .. } => bump(&self.pauses, &Step::ALL, step, 1),
            Event::Lost => self.lost.increment(1),
            Event::Taken { .. } => self.taken.increment(1),
            Event::StoreReplaced { .. } => self.store_replaced.increment(1),
            Event::LaneBehind { .. } => self.behind.increment(1),
            Event::EntriesGone { entries, unread: true, .. } => self.gone_unread.increment(*entries),
            Event::EntriesGone { entries, unread: false, .. } => self.gone_pending.increment(*entries),
            Event::Panicked { .. } => self.panics.increment(1),
            Event::DeadLettersDropped { letters } => self.dead_dropped.increment(*letters),
            Event::IdsForgotten { ids } => self.ids_forgotten.increment(*ids),
            Event::StoredAnew { entries } => self.stored_anew.increment(*entries as u64),
            Event::ReceiptsUntold { receipts } => self.receipts_untold.increment(*receipts),
            Event::Refused { bound } => bump(&self.refused, &BOUNDS, bound, 1),
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn describe(recorder: &dyn Recorder) {
    for (name, text) in COUNTERS {
        recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
    }
    recorder.describe_histogram(AGE.into(), Some(Unit::Seconds), "From accepted or due to the outcome.".into());
    recorder.describe_gauge(UNSETTLED.into(), Some(Unit::Count), "Messages read and not settled.".into());
    recorder.describe_gauge(UNSETTLED_BYTES.into(), Some(Unit::Bytes), "Bytes read and not settled.".into());
}

fn counter(
    recorder: &dyn Recorder,
    name: &'static str,
    lane: u16,
    label: Option<(&'static str, &'static str)>,
) -> Counter {
    recorder.register_counter(&key(name, lane, label), &METADATA)
}

fn key(name: &'static str, lane: u16, label: Option<(&'static str, &'static str)>) -> Key {
    let mut labels = vec![Label::new("lane", lane.to_string())];
    labels.extend(label.map(|(name, value)| Label::new(name, value)));
    Key::from_parts(name, labels)
}

fn bump<T: PartialEq>(counters: &[Counter], values: &[T], value: &T, by: u64) {
    let at = values.iter().position(|other| other == value);
    if let Some(counter) = at.and_then(|at| counters.get(at)) {
        counter.increment(by);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use gim_proto::MessageId;
    use metrics::{KeyName, SharedString};

    use super::*;

    #[derive(Default)]
    struct Counts(Mutex<HashMap<String, Arc<AtomicU64>>>);

    impl Counts {
        fn of(&self, key: &str) -> Option<u64> {
            self.0.lock().unwrap().get(key).map(|value| value.load(Ordering::Relaxed))
        }
    }

    impl Recorder for Counts {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let value = Arc::new(AtomicU64::new(0));
            self.0.lock().unwrap().insert(format!("{}{{{}}}", key.name(), labels.join(",")), Arc::clone(&value));
            Counter::from_arc(value)
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn outcomes_are_counted_per_target_with_bounded_labels() {
        let counts = Counts::default();
        let metrics = WorkerMetrics::new(&counts, NonZeroU16::new(2).unwrap());
        let message_id = MessageId::mint();
        let event = Event::Outcome { message_id, outcome: Outcome::Offline, targets: 7, age_ms: 12 };
        metrics.count(1, &event);
        metrics.count(9, &event);
        assert_eq!(counts.of("gim_worker_outcomes_total{lane=1,outcome=offline}"), Some(7));
        assert_eq!(counts.of("gim_worker_outcomes_total{lane=0,outcome=offline}"), Some(0));
        assert_eq!(counts.of("gim_worker_outcomes_total{lane=1,outcome=offered}"), Some(0));
        assert_eq!(counts.of("gim_worker_outcomes_total{lane=9,outcome=offline}"), None);
    }
}
