//! The worker's own figures, beside those of its lanes.
//!
//! Owns their names and meaning. They are read when somebody looks.

use gim_proxy_sdk::ledger::Ledger;
use gim_proxy_sdk::queue::LaneStats;
use metrics::{Counter, Gauge};

use super::running::Standing;
use crate::admin::Counters;
use crate::exporter::{Exporter, as_f64};

const COUNTERS: [(&str, &str); 3] = [
    ("gim_accept_errors_total", "accepts that failed, for want of descriptors as a rule"),
    ("gim_admin_refused_total", "connections on the admin listener closed at once because there were too many"),
    ("gim_membership_looks_failed_total", "looks at who lives that redis did not answer"),
];
const GAUGES: [(&str, &str); 11] = [
    ("gim_worker_lanes_owned", "lanes that redis calls this worker's"),
    ("gim_worker_lanes_share", "lanes that are this worker's share of the team's"),
    ("gim_worker_team", "workers that share the lanes"),
    ("gim_worker_phase", "0 running, 1 draining, 2 stopped"),
    ("gim_nodes", "nodes that live"),
    ("gim_nodes_awaited", "nodes waited for before anybody counts as offline"),
    ("gim_peers_connected", "nodes that the stream of batches stands to"),
    ("gim_peers_batches", "batches sent to nodes and not answered"),
    ("gim_peers_bytes", "bytes of batches sent to nodes and not answered"),
    ("gim_redis_up", "1: redis answers"),
    ("gim_etcd_up", "1: etcd answers"),
];

/// See the module.
pub(super) struct Figures {
    pub(super) exporter: Exporter,
    accept_errors: Counter,
    full: Counter,
    looks_failed: Counter,
    gauges: [Gauge; GAUGES.len()],
}

impl Figures {
    pub(super) fn new() -> Self {
        let exporter = Exporter::new();
        exporter.describe(&COUNTERS, &GAUGES);
        let [accept_errors, full, looks_failed] = COUNTERS.map(|(name, _)| exporter.counter(name));
        let gauges = GAUGES.map(|(name, _)| exporter.gauge(name));
        Self { exporter, accept_errors, full, looks_failed, gauges }
    }

    /// What the admin listener counts.
    pub(super) fn counters(&self) -> Counters {
        Counters { accept_errors: self.accept_errors.clone(), full: self.full.clone() }
    }

    /// Renders everything as it is now.
    pub(super) fn render(&self, now: &Standing, redis_is_well: bool, lanes: &[LaneStats]) -> String {
        let (members, peers) = (now.membership.stats(), now.peers.stats());
        let connected = peers.iter().filter(|peer| peer.is_connected).count();
        let values = [
            as_f64(now.team.owned().len() as u64),
            as_f64(now.team.share().len() as u64),
            as_f64(now.team.workers().len() as u64),
            f64::from(now.phase() as u8),
            as_f64(members.living),
            as_f64(members.awaited.nodes.len() as u64),
            as_f64(connected as u64),
            as_f64(peers.iter().map(|peer| peer.batches as u64).sum()),
            as_f64(peers.iter().map(|peer| peer.bytes as u64).sum()),
            f64::from(u8::from(redis_is_well)),
            f64::from(u8::from(now.watcher.is_connected())),
        ];
        self.gauges.iter().zip(values).for_each(|(gauge, value)| gauge.set(value));
        self.looks_failed.absolute(members.failed);
        self.exporter.show_kept(now.ledger.written(), Some(now.store.losses().count()));
        self.exporter.show_crowded(now.crowded());
        self.exporter.render(lanes, now.log.as_ref().map_or(0, |log| log.dropped_lines()))
    }
}
