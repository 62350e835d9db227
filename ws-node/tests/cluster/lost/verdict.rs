//! The judge: what was accepted against what each application saw. It knows nothing of the servers.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::app::{App, Log};
use super::flow::{Crowd, Flow, durable_targets};
use super::schedule::Fault;
use super::trouble::Struck;

/// Within this a superseded connection may still get live messages: the lease of a node, and a margin. Milliseconds.
const LEASE: u64 = 11_000;

/// What a run came to. The first part has to be nothing, the second is to be known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<String>,
    pub(crate) twice: Vec<String>,
    pub(crate) out_of_order: Vec<String>,
    pub(crate) jumps: usize,
    pub(crate) gone: u64,
    pub(crate) two_owners: Vec<String>,
    pub(crate) ghosts: Vec<String>,
    pub(crate) stale: Vec<String>,
    pub(crate) resets: u64,
    pub(crate) refused: u64,
    pub(crate) durable: usize,
    pub(crate) seen: usize,
    pub(crate) live: usize,
    pub(crate) live_lost: usize,
    pub(crate) live_twice: usize,
    pub(crate) connections: usize,
    /// Of each fault, how long until everybody steady was reached again, milliseconds.
    pub(crate) recovered: BTreeMap<Fault, Vec<u64>>,
}

impl Verdict {
    /// Judges what these applications saw. `steady`: those whom nobody cut off on purpose.
    pub(crate) fn of(crowd: Crowd, flow: &Flow, apps: &[App], steady: &[&App], struck: &[Struck]) -> Self {
        let mut verdict = Self { durable: flow.count("ugm"), live: flow.count("l"), ..Self::default() };
        for app in apps {
            verdict.judge_letters(crowd, flow, app);
            verdict.judge_pushes(flow, app);
        }
        for (fault, from) in struck {
            let waits = steady.iter().filter_map(|app| wait_of(flow, app, *from));
            verdict.recovered.entry(*fault).or_default().extend(waits.max());
        }
        verdict
    }

    fn judge_letters(&mut self, crowd: Crowd, flow: &Flow, app: &App) {
        let log = app.log();
        let uid = &app.uid;
        for target in durable_targets(crowd, uid) {
            let accepted = flow.accepted.get(&target).map_or(0, Vec::len);
            let (mut known, mut highest) = (HashSet::new(), 0);
            for seen in log.letters.iter().filter(|seen| *seen.target == *target) {
                if !known.insert(seen.number) {
                    self.twice.push(format!("{target}.{} at {uid}", seen.number));
                } else if seen.number < highest {
                    self.out_of_order.push(format!("{target}.{} at {uid}", seen.number));
                }
                highest = highest.max(seen.number);
            }
            self.seen += known.len();
            let missing = (1..=accepted).filter(|number| !known.contains(&(*number as u32)));
            self.lost.extend(missing.map(|number| format!("{target}.{number} at {uid}")));
        }
        self.jumps += log.jumps.len();
        self.gone += log.gone;
        self.resets += log.resets;
        self.refused += log.refused;
        self.connections += log.connections.len();
    }

    fn judge_pushes(&mut self, flow: &Flow, app: &App) {
        let log = app.log();
        let Some(number) = app.uid.strip_prefix('u') else { return };
        let (live, latest) = (format!("l{number}"), format!("v{number}"));
        let mut known = HashSet::new();
        for seen in log.pushes.iter().filter(|seen| *seen.target == *live) {
            self.live_twice += usize::from(!known.insert(seen.number));
            if is_owned_by_another(&log, seen.fence, flow.accepted[&live][seen.number as usize - 1]) {
                self.two_owners.push(format!("{live}.{} at {}", seen.number, app.uid));
            }
        }
        self.live_lost += flow.accepted.get(&live).map_or(0, Vec::len) - known.len();
        let last = log.pushes.iter().filter(|seen| *seen.target == *latest).map(|seen| seen.number).max();
        if last.unwrap_or(0) as usize != flow.accepted.get(&latest).map_or(0, Vec::len) {
            self.stale.push(format!("{latest} {last:?}"));
        }
    }

    /// Whether everything promised was kept.
    pub(crate) fn is_clean(&self) -> bool {
        let broken = [&self.lost, &self.twice, &self.out_of_order, &self.two_owners, &self.ghosts, &self.stale];
        broken.iter().all(|broken| broken.is_empty()) && (self.jumps, self.gone, self.resets) == (0, 0, 0)
    }

    /// One line for machines.
    pub(crate) fn line(&self, seed: u64, seconds: u64) -> Value {
        let faults: serde_json::Map<String, Value> =
            self.recovered.iter().map(|(fault, waits)| fault_of(*fault, waits)).collect();
        json!({
            "seed": seed, "seconds": seconds, "durable": self.durable, "seen": self.seen, "live": self.live,
            "connections": self.connections, "lost": self.lost.len(), "twice": self.twice.len(),
            "out_of_order": self.out_of_order.len(), "jumps": self.jumps, "gone": self.gone, "resets": self.resets,
            "refused": self.refused, "two_owners": self.two_owners.len(), "ghosts": self.ghosts.len(),
            "stale": self.stale.len(), "live_lost": self.live_lost, "live_twice": self.live_twice, "faults": faults,
        })
    }
}

fn fault_of(fault: Fault, waits: &[u64]) -> (String, Value) {
    let (median, worst) = median_and_worst(waits);
    (fault.name().to_owned(), json!({ "count": waits.len(), "median_ms": median, "worst_ms": worst }))
}

pub(crate) fn median_and_worst(waits: &[u64]) -> (u64, u64) {
    let mut waits = waits.to_vec();
    waits.sort_unstable();
    (waits.get(waits.len() / 2).copied().unwrap_or_default(), waits.last().copied().unwrap_or_default())
}

/// Whether what was accepted then came under a fence that a later one had long superseded.
fn is_owned_by_another(log: &Log, fence: u64, accepted: u64) -> bool {
    log.connections.iter().any(|(newer, since)| *newer > fence && since + LEASE < accepted)
}

/// Until an application saw something durable of its own that was accepted after a moment.
fn wait_of(flow: &Flow, app: &App, from: u64) -> Option<u64> {
    let log = app.log();
    let accepted = flow.accepted.get(&app.uid)?;
    let own = log.letters.iter().filter(|seen| *seen.target == *app.uid);
    let after = own.filter(|seen| accepted[seen.number as usize - 1] >= from);
    after.map(|seen| seen.at.saturating_sub(from)).min()
}

#[tokio::test]
async fn the_judge_notices_what_is_lost_twice_out_of_order_and_of_two_owners() {
    let crowd = Crowd { users: 3, groups: 1 };
    let mut flow = Flow::new(crowd, Vec::new());
    flow.accepted.insert("u0".to_owned(), vec![1_000; 5]);
    flow.accepted.insert("l0".to_owned(), vec![1_000, 90_000, 90_000]);
    let at =
        |target: &str, number: u32, fence: u64| super::app::Seen { target: target.into(), number, at: 91_000, fence };
    let log = Log {
        connections: vec![(1, 500), (2, 60_000)],
        letters: [1, 3, 2, 3, 5].map(|number| at("u0", number, 1)).into(),
        pushes: vec![at("l0", 1, 1), at("l0", 2, 1), at("l0", 2, 2)],
        ..Log::default()
    };
    let app = App::that_saw("u0", log);
    let verdict = Verdict::of(crowd, &flow, std::slice::from_ref(&app), &[&app], &[(Fault::NodeKilled, 1_000)]);
    assert_eq!(verdict.lost, ["u0.4 at u0"]);
    assert_eq!(verdict.twice, ["u0.3 at u0"]);
    assert_eq!(verdict.out_of_order, ["u0.2 at u0"]);
    assert_eq!(verdict.two_owners, ["l0.2 at u0"]);
    assert_eq!((verdict.live_lost, verdict.live_twice), (1, 1));
    assert_eq!(verdict.recovered[&Fault::NodeKilled], [90_000]);
    assert!(!verdict.is_clean());
}
