//! What nodes see of the workers: which of them works on which lane under which term, and what arrives in which order.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gim_msg_queue::deliver::{Deliver, DeliverError};
use gim_proxy_sdk::delivery::{Batch, Recipients, Report};
use gim_proxy_sdk::directory::NodeRef;

use crate::support::{reports, text};

/// See the module.
#[derive(Default)]
pub(super) struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whose batches of a lane are on their way right now.
    busy: HashMap<u16, Vec<&'static str>>,
    terms: HashMap<u16, u64>,
    took: BTreeMap<String, Vec<usize>>,
    arrived: usize,
    repeats: usize,
    violations: Vec<String>,
}

/// The way of one worker to the nodes.
pub(super) struct Way {
    pub(super) worker: &'static str,
    pub(super) ledger: Arc<Ledger>,
}

/// One batch on its way. Its end is noted also when its worker is killed meanwhile.
struct OnItsWay<'a>(&'a Way, u16);

impl Ledger {
    /// Entries that arrived, each counted once.
    pub(super) fn arrived(&self) -> usize {
        self.0.lock().unwrap().arrived
    }

    /// Entries that arrived more than once.
    pub(super) fn repeats(&self) -> usize {
        self.0.lock().unwrap().repeats
    }

    /// What no node may ever see.
    pub(super) fn violations(&self) -> Vec<String> {
        self.0.lock().unwrap().violations.clone()
    }

    /// Sees to it that every target got its entries in order when it got each for the first time.
    pub(super) fn check_order(&self) {
        for (uid, numbers) in &self.0.lock().unwrap().took {
            assert!(numbers.is_sorted(), "{uid}: {numbers:?}");
        }
    }

    fn begin(&self, worker: &'static str, lane: u16, term: u64) {
        let mut state = self.0.lock().unwrap();
        let highest = state.terms.entry(lane).or_default();
        let is_over = term < *highest;
        *highest = term.max(*highest);
        let busy = state.busy.entry(lane).or_default();
        let other = busy.iter().find(|other| **other != worker).copied();
        busy.push(worker);
        if is_over {
            state.violations.push(format!("{worker} delivers on lane {lane} under term {term}, which is over"));
        }
        if let Some(other) = other {
            state.violations.push(format!("{worker} delivers on lane {lane} while {other} does"));
        }
    }

    fn end(&self, worker: &'static str, lane: u16) {
        let mut state = self.0.lock().unwrap();
        let busy = state.busy.entry(lane).or_default();
        let at = busy.iter().position(|other| *other == worker).unwrap();
        busy.swap_remove(at);
    }

    fn take(&self, batch: &Batch) {
        let mut state = self.0.lock().unwrap();
        for delivery in &batch.deliveries {
            let Recipients::Sessions(to) = &delivery.to else { panic!("{delivery:?}") };
            let digits: String = text(delivery).chars().filter(char::is_ascii_digit).collect();
            let number: usize = digits.parse().unwrap();
            let took = state.took.entry(to[0].uid.to_string()).or_default();
            let is_new = !took.contains(&number);
            if is_new {
                took.push(number);
            }
            state.arrived += usize::from(is_new);
            state.repeats += usize::from(!is_new);
        }
    }
}

#[async_trait]
impl Deliver for Way {
    async fn deliver(&self, _node: &NodeRef, batch: &Arc<Batch>) -> Result<Vec<Report>, DeliverError> {
        let origin = batch.lane.as_ref().unwrap();
        self.ledger.begin(self.worker, origin.lane, origin.term);
        let _on_its_way = OnItsWay(self, origin.lane);
        // As a stream between two machines takes.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.ledger.take(batch);
        Ok(reports(batch))
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.ledger.end(self.0.worker, self.1);
    }
}
