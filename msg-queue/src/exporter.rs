//! The figures of one process or node in the text format of Prometheus.
//!
//! Owns the recorder, of which there is one per node and none for the process, and the figures that nodes and workers
//! both show: build, log, memory, lanes. Every other metric belongs to the module that counts it.

use gim_proxy_sdk::ledger::Written;
use gim_proxy_sdk::queue::LaneStats;
use gim_proxy_sdk::store::CrowdedCalls;
use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::host;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

const LAG: &str = "gim_queue_lag";
const PENDING: &str = "gim_queue_pending";
const LATER: &str = "gim_queue_later";
const DEAD: &str = "gim_queue_dead";
const OLDEST: &str = "gim_queue_oldest_pending_seconds";
const HTTP_REQUESTS: &str = "gim_http_requests_total";

const RECEIPTS: &str = "gim_receipts_written_total";
const PRESENCE: &str = "gim_presence_written_total";
const PRESENCE_FULL: &str = "gim_presence_full_total";
const HOPS: &str = "gim_hops_written_total";
const HOPS_DROPPED: &str = "gim_hops_dropped_total";
const LEDGER_FAILURES: &str = "gim_ledger_failures_total";
const POSSIBLE_LOSSES: &str = "gim_redis_possible_losses_total";
const CROWDED: &str = "gim_redis_calls_refused_total";

const COUNTERS: [(&str, &str); 10] = [
    (RECEIPTS, "receipts written by this process"),
    (PRESENCE, "users that came or went, written by this process"),
    (PRESENCE_FULL, "times that more came and went than was written down: the oldest news may be gone"),
    (HOPS, "steps of journeys written by this process"),
    (HOPS_DROPPED, "steps of journeys dropped: too many at once or of one message, or redis did not take them"),
    (LEDGER_FAILURES, "writes of receipts or presence that failed"),
    (POSSIBLE_LOSSES, "times that redis came back as another run, or had lost what was seen of a lane"),
    (CROWDED, "calls to redis refused at once because there were too many, by bound"),
    (HTTP_REQUESTS, "requests on the admin listener, by status"),
    ("gim_log_lines_dropped_total", "log lines dropped because the log's buffer was full"),
];
const GAUGES: [(&str, &str); 7] = [
    ("gim_build_info", "1, with the program's version"),
    ("gim_resident_bytes", "resident memory of the process"),
    (LAG, "entries accepted and not read by the worker, by lane"),
    (PENDING, "entries read and not settled, by lane"),
    (LATER, "entries that wait for their time, by lane"),
    (DEAD, "dead letters kept, by lane"),
    (OLDEST, "age of the oldest entry that is due and not settled, by lane"),
];

/// See the module.
pub struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    dropped_log_lines: Counter,
    resident: Gauge,
}

impl Exporter {
    /// Starts with nothing but the build.
    #[must_use]
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let exporter = Self {
            dropped_log_lines: counter(&recorder, "gim_log_lines_dropped_total"),
            resident: gauge(&recorder, "gim_resident_bytes"),
            handle: recorder.handle(),
            recorder,
        };
        exporter.describe(&COUNTERS, &GAUGES);
        exporter.labelled_gauge("gim_build_info", "version", env!("CARGO_PKG_VERSION")).set(1.0);
        exporter
    }

    /// Says what the metrics of a module are: name and meaning, counters first.
    pub fn describe(&self, counters: &[(&'static str, &'static str)], gauges: &[(&'static str, &'static str)]) {
        for (name, what) in counters {
            self.recorder.describe_counter(KeyName::from_const_str(name), Some(Unit::Count), (*what).into());
        }
        for (name, what) in gauges {
            self.recorder.describe_gauge(KeyName::from_const_str(name), None, (*what).into());
        }
    }

    /// Where parts that know only a recorder register theirs.
    #[must_use]
    pub const fn recorder(&self) -> &impl Recorder {
        &self.recorder
    }

    /// Makes a counter.
    pub fn counter(&self, name: &'static str) -> Counter {
        counter(&self.recorder, name)
    }

    /// Makes a gauge.
    pub fn gauge(&self, name: &'static str) -> Gauge {
        gauge(&self.recorder, name)
    }

    /// Makes a counter with a label, whose values are a bounded set.
    pub fn labelled(&self, name: &'static str, label: &'static str, value: &str) -> Counter {
        self.recorder.register_counter(&key(name, label, value), &METADATA)
    }

    /// Makes a counter for each value of a label, beside the value: for those that are counted often.
    pub fn each(
        &self,
        name: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Vec<(&'static str, Counter)> {
        let counter = |value| {
            let counter = self.labelled(name, label, value);
            // One that first appears with its first event hides that event from whoever watches its growth.
            counter.increment(0);
            (value, counter)
        };
        values.into_iter().map(counter).collect()
    }

    /// Makes a gauge with a label, whose values are a bounded set.
    pub fn labelled_gauge(&self, name: &'static str, label: &'static str, value: &str) -> Gauge {
        self.recorder.register_gauge(&key(name, label, value), &METADATA)
    }

    /// Counts a request on the admin listener.
    pub fn http_done(&self, status: u16) {
        self.labelled(HTTP_REQUESTS, "status", &status.to_string()).increment(1);
    }

    /// Shows what the ledger has written, and how often Redis may have lost something. None: there is none.
    pub fn show_kept(&self, written: Written, possible_losses: Option<u64>) {
        let set = |name, value| self.counter(name).absolute(value);
        set(RECEIPTS, written.receipts);
        set(PRESENCE, written.presence);
        set(HOPS, written.hops);
        set(HOPS_DROPPED, written.dropped);
        set(LEDGER_FAILURES, written.failures);
        if let Some(losses) = possible_losses {
            set(POSSIBLE_LOSSES, losses);
        }
    }

    /// Shows how many calls the connections to Redis were too crowded for.
    pub fn show_crowded(&self, calls: CrowdedCalls) {
        for (bound, count) in [("waiting", calls.waiting), ("under_way", calls.under_way)] {
            self.labelled(CROWDED, "bound", bound).absolute(count);
        }
    }

    /// Condenses the samples of histograms. Left to whoever reads the metrics, they would pile up until somebody does.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Shows how often more came and went than was written down.
    pub fn show_full_news(&self, full: u64) {
        self.counter(PRESENCE_FULL).absolute(full);
    }

    /// Renders everything, with the figures of these lanes and so many dropped lines of the log.
    #[must_use]
    pub fn render(&self, lanes: &[LaneStats], dropped_log_lines: u64) -> String {
        for lane in lanes {
            self.show(lane);
        }
        self.dropped_log_lines.absolute(dropped_log_lines);
        self.resident.set(as_f64(host::resident_bytes()));
        self.handle.render()
    }

    fn show(&self, lane: &LaneStats) {
        let number = lane.lane.to_string();
        let set = |name, value| self.labelled_gauge(name, "lane", &number).set(value);
        set(LAG, as_f64(lane.lag));
        set(PENDING, as_f64(lane.pending));
        set(LATER, as_f64(lane.later));
        set(DEAD, as_f64(lane.dead));
        set(OLDEST, as_f64(lane.oldest_pending_ms) / 1_000.0);
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new()
    }
}

fn counter(recorder: &PrometheusRecorder, name: &'static str) -> Counter {
    recorder.register_counter(&Key::from_static_name(name), &METADATA)
}

fn gauge(recorder: &PrometheusRecorder, name: &'static str) -> Gauge {
    recorder.register_gauge(&Key::from_static_name(name), &METADATA)
}

fn key(name: &'static str, label: &'static str, value: &str) -> Key {
    Key::from_parts(KeyName::from_const_str(name), vec![Label::new(label, value.to_owned())])
}

/// Turns a figure into what gauges hold, exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; exact up to 2^53")]
pub fn as_f64(value: u64) -> f64 {
    value as f64
}
