//! Nodes that answer as they are told, and remember what they took.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use gim_msg_queue::deliver::{Deliver, DeliverError, DeliverErrorKind};
use gim_proto::{MessageId, Payload};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Batch, Delivery, LaneOrigin, Recipients, Report, TargetReport};
use gim_proxy_sdk::directory::NodeRef;
use tokio::sync::{Semaphore, watch};

pub(crate) type Answer = Result<Vec<Report>, DeliverErrorKind>;
type Script = Box<dyn FnMut(&NodeRef, &Batch) -> Answer + Send>;

/// One delivery that was taken by a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Took {
    pub(crate) node: String,
    pub(crate) id: MessageId,
    /// The uid, or the groups, or `all`.
    pub(crate) target: String,
    /// The number in the entry's data.
    pub(crate) number: usize,
}

pub(crate) struct Nodes {
    script: Mutex<Script>,
    took: Mutex<Vec<Took>>,
    batches: Mutex<Vec<(String, usize)>>,
    origins: Mutex<Vec<LaneOrigin>>,
    /// Names of nodes that do not answer.
    frozen: watch::Sender<HashSet<String>>,
    /// Batches wait for a permit here.
    gate: Semaphore,
}

impl Nodes {
    /// Nodes that take everything.
    pub(crate) fn willing() -> Self {
        Self::scripted(|_, batch| Ok(reports(batch)))
    }

    pub(crate) fn scripted(script: impl FnMut(&NodeRef, &Batch) -> Answer + Send + 'static) -> Self {
        Self {
            script: Mutex::new(Box::new(script)),
            took: Mutex::default(),
            batches: Mutex::default(),
            origins: Mutex::default(),
            frozen: watch::Sender::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }

    /// Lets no batch through until [`open`](Self::open). Batches are counted before they wait.
    pub(crate) fn shut(self) -> Self {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
        self
    }

    /// Lets so many batches through.
    pub(crate) fn open(&self, batches: usize) {
        self.gate.add_permits(batches);
    }

    /// Lets a node answer nothing until it is thawed.
    pub(crate) fn freeze(&self, name: &str) {
        self.frozen.send_modify(|frozen| {
            frozen.insert(name.to_owned());
        });
    }

    pub(crate) fn thaw(&self, name: &str) {
        self.frozen.send_modify(|frozen| {
            frozen.remove(name);
        });
    }

    /// Where the batches said they came from, in the order they were begun.
    pub(crate) fn origins(&self) -> Vec<LaneOrigin> {
        self.origins.lock().unwrap().clone()
    }

    /// Numbers a target took at a node, in order.
    pub(crate) fn numbers_at(&self, node: &str, target: &str) -> Vec<usize> {
        let took = self.took().into_iter().filter(|took| took.target == target && took.node == node);
        took.map(|took| took.number).collect()
    }

    /// Everything taken, in order.
    pub(crate) fn took(&self) -> Vec<Took> {
        self.took.lock().unwrap().clone()
    }

    /// Numbers a target took, in order.
    pub(crate) fn numbers(&self, target: &str) -> Vec<usize> {
        self.took().into_iter().filter(|took| took.target == target).map(|took| took.number).collect()
    }

    /// Nodes and sizes of all batches, in the order they were begun.
    pub(crate) fn batches(&self) -> Vec<(String, usize)> {
        self.batches.lock().unwrap().clone()
    }
}

#[async_trait]
impl Deliver for Nodes {
    async fn deliver(&self, node: &NodeRef, batch: &Arc<Batch>) -> Result<Vec<Report>, DeliverError> {
        self.batches.lock().unwrap().push((node.id.to_string(), batch.deliveries.len()));
        self.origins.lock().unwrap().extend(batch.lane);
        let mut frozen = self.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen.contains(node.id.as_str())).await.unwrap();
        self.gate.acquire().await.unwrap().forget();
        // As a stream between two machines would.
        tokio::task::yield_now().await;
        // A script may panic on purpose.
        let answer = { (self.script.lock().unwrap_or_else(PoisonError::into_inner))(node, batch) };
        let reports = answer.map_err(DeliverError::from)?;
        let mut took = self.took.lock().unwrap();
        for (delivery, report) in batch.deliveries.iter().zip(&reports) {
            for target in taken(delivery, report) {
                let number = number(delivery);
                took.push(Took { node: node.id.to_string(), id: delivery.message.id.clone(), target, number });
            }
        }
        Ok(reports)
    }
}

/// A report that everybody took everything.
pub(crate) fn reports(batch: &Batch) -> Vec<Report> {
    batch.deliveries.iter().map(|delivery| to_users(delivery, |_| taken_as(delivery))).collect()
}

/// What somebody who takes a delivery answers.
pub(crate) fn taken_as(delivery: &Delivery) -> TargetReport {
    match delivery.to {
        Recipients::Stored { .. } => TargetReport::Done(Outcome::Stored),
        _ => TargetReport::Done(Outcome::Offered),
    }
}

/// A report on each user; groups take everything.
pub(crate) fn to_users(delivery: &Delivery, report: impl Fn(&str) -> TargetReport) -> Report {
    match &delivery.to {
        Recipients::Sessions(to) | Recipients::Stored { to, .. } => {
            Report::Targets(to.iter().map(|to| report(to.uid.as_str())).collect())
        }
        Recipients::Member { to, .. } => Report::Targets(vec![report(to.uid.as_str())].into()),
        Recipients::Groups(_) | Recipients::All => Report::Count { offered: 1, slow: 0 },
    }
}

/// What a delivery says.
pub(crate) fn text(delivery: &Delivery) -> String {
    let (Payload::Json(bytes) | Payload::Raw(bytes)) = &delivery.message.payload;
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn number(delivery: &Delivery) -> usize {
    let digits: String = text(delivery).chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn taken(delivery: &Delivery, report: &Report) -> Vec<String> {
    let offered = |report: &TargetReport| matches!(report, TargetReport::Done(Outcome::Offered | Outcome::Stored));
    match (&delivery.to, report) {
        (Recipients::Sessions(to) | Recipients::Stored { to, .. }, Report::Targets(reports)) => {
            let taken = to.iter().zip(reports).filter(|(_, report)| offered(report));
            taken.map(|(to, _)| to.uid.to_string()).collect()
        }
        (Recipients::Member { to, .. }, Report::Targets(reports)) if reports.iter().all(offered) => {
            vec![to.uid.to_string()]
        }
        (Recipients::Groups(tgids), Report::Count { .. }) => {
            vec![tgids.iter().map(|tgid| tgid.as_str()).collect::<Vec<_>>().join("+")]
        }
        (Recipients::All, Report::Count { .. }) => vec!["all".to_owned()],
        _ => Vec::new(),
    }
}
