//! A worker between a real queue, a real directory and scripted nodes.

mod keeping;
mod nodes;
mod wrap;

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gim_msg_queue::clock::{Clock, TokioClock};
use gim_msg_queue::config::{QueueSection, WorkerSection};
use gim_msg_queue::deliver::Deliver;
use gim_msg_queue::local::LocalQueue;
use gim_msg_queue::observe::{Event, Observer};
use gim_msg_queue::source::Source;
use gim_msg_queue::worker::{DrainReport, Ports, Worker, WorkerHandle};
use gim_proto::{Fence, Fields, Incarnation, MessageId, NodeId, SessionId, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::directory::{Claim, ClaimRequest, Directory, NodeRef, OnDuplicate};
use gim_proxy_sdk::ledger::local::LocalLedger;
use gim_proxy_sdk::ledger::{Ledger, LedgerBounds};
use gim_proxy_sdk::mailbox::local::LocalMailboxes;
use gim_proxy_sdk::mailbox::{MailboxBounds, Mailboxes};
use gim_proxy_sdk::queue::{DeadLetter, LaneStats, Queue};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use keeping::{ShakyLedger, ShakyMailboxes};
pub(crate) use nodes::{Nodes, reports, taken_as, text, to_users};
pub(crate) use wrap::{Flakiness, FlakySource, ShakyDirectory, Tenure};

pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// Collects events and tells how many entries are settled.
pub(crate) struct Heard {
    events: Mutex<Vec<Event>>,
    settled: watch::Sender<usize>,
}

impl Observer for Heard {
    fn record(&self, _lane: u16, event: &Event) {
        if let Event::Settled { entries } = event {
            self.settled.send_modify(|settled| *settled += entries);
        }
        if !matches!(event, Event::Window { .. } | Event::Read { .. } | Event::Settled { .. }) {
            self.events.lock().unwrap().push(event.clone());
        }
    }
}

/// What a world is made of; the rest is default.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) queue: QueueSection,
    pub(crate) worker: WorkerSection,
    pub(crate) source: Option<Flakiness>,
    pub(crate) directory_failures: usize,
    pub(crate) directory_panics: usize,
    /// None: those of this process.
    pub(crate) mailboxes: Option<Arc<dyn Mailboxes>>,
    /// None: that of this process.
    pub(crate) ledger: Option<Arc<dyn Ledger>>,
    /// None: one that stands still while nobody waits.
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

pub(crate) struct World {
    pub(crate) queue: Arc<LocalQueue>,
    pub(crate) directory: Arc<ShakyDirectory>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) home: NodeRef,
    heard: Arc<Heard>,
    worker: WorkerHandle,
}

impl World {
    pub(crate) fn start(nodes: Nodes) -> Self {
        Self::with(Plan::default(), nodes)
    }

    pub(crate) fn with(plan: Plan, nodes: Nodes) -> Self {
        let heard = Arc::new(Heard { events: Mutex::default(), settled: watch::Sender::new(0) });
        let observer: Arc<dyn Observer> = Arc::clone(&heard) as _;
        let clock = plan.clock.unwrap_or_else(|| Arc::new(TokioClock::starting_at(START_MS)));
        let queue = LocalQueue::with(plan.queue, clock, Arc::clone(&observer));
        let home = node("home");
        let inner = LocalDirectory::new(home.clone());
        let directory = Arc::new(ShakyDirectory::new(inner, plan.directory_failures, plan.directory_panics));
        let nodes = Arc::new(nodes);
        let wrap = |source: Arc<dyn Source>| match &plan.source {
            Some(flakiness) => Arc::new(FlakySource::new(source, flakiness)) as Arc<dyn Source>,
            None => source,
        };
        let ports = Ports {
            name: node("worker").id,
            directory: Arc::clone(&directory) as Arc<dyn Directory>,
            mailboxes: plan.mailboxes.unwrap_or_else(mailboxes),
            ledger: plan.ledger.unwrap_or_else(ledger),
            deliver: Arc::clone(&nodes) as Arc<dyn Deliver>,
            observer,
        };
        let worker = Worker::start(queue.sources().into_iter().map(wrap).collect(), &ports, &plan.worker);
        Self { queue, directory, nodes, home, heard, worker }
    }

    /// Connects users to the first node.
    pub(crate) async fn connect(&self, names: &[&str]) {
        for name in names {
            self.connect_at(name, &self.home).await;
        }
    }

    pub(crate) async fn connect_at(&self, name: &str, node: &NodeRef) -> (SessionId, Fence) {
        let session = SessionId::mint();
        let request = ClaimRequest {
            uid: uid(name),
            node: node.clone(),
            session,
            on_duplicate: OnDuplicate::Replace,
            resume: None,
        };
        match self.directory.inner.claim(request).await.unwrap() {
            Claim::Granted { fence, .. } => (session, fence),
            Claim::Taken { .. } => panic!("taken"),
        }
    }

    pub(crate) async fn holds(&self, group: &str, node: &NodeRef) {
        self.directory.inner.add_holder(&Tgid::parse(group).unwrap(), node).await.unwrap();
    }

    pub(crate) async fn put(&self, entries: Vec<Fields>) -> Vec<MessageId> {
        self.queue.enqueue(entries).await.unwrap()
    }

    /// Waits until so many entries are settled.
    pub(crate) async fn settled(&self, entries: usize) {
        let mut settled = self.heard.settled.subscribe();
        let enough = settled.wait_for(|settled| *settled >= entries);
        tokio::time::timeout(Duration::from_hours(24), enough).await.unwrap().unwrap();
    }

    /// Waits until a condition on the figures of lane 0 holds.
    pub(crate) async fn until(&self, holds: impl Fn(&LaneStats) -> bool) {
        let looking = async {
            while !holds(&self.stats().await) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_hours(24), looking).await.unwrap();
    }

    pub(crate) async fn stats(&self) -> LaneStats {
        self.queue.stats().await.unwrap().remove(0)
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        self.queue.dead(0, None, 1_000).await.unwrap()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.heard.events.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|event| which(event)).count()
    }

    /// Counts outcomes per target.
    pub(crate) fn outcomes(&self, wanted: Outcome) -> u64 {
        let targets = |event: &Event| match event {
            Event::Outcome { outcome, targets, .. } if *outcome == wanted => *targets,
            _ => 0,
        };
        self.events().iter().map(targets).sum()
    }

    /// Waits until a condition on what the nodes took holds.
    pub(crate) async fn took(&self, holds: impl Fn(&Nodes) -> bool) {
        self.until(|_| holds(&self.nodes)).await;
    }

    pub(crate) async fn drain(self, within: Duration) -> (DrainReport, Arc<Nodes>) {
        self.queue.close();
        (self.worker.drain(Instant::now() + within).await, self.nodes)
    }
}

pub(crate) fn node(name: &str) -> NodeRef {
    NodeRef { id: NodeId::parse(name).unwrap(), incarnation: Incarnation::mint() }
}

pub(crate) fn uid(name: &str) -> Uid {
    Uid::parse(name).unwrap()
}

pub(crate) fn lanes(lanes: u16) -> QueueSection {
    QueueSection { lanes: NonZeroU16::new(lanes).unwrap(), ..QueueSection::default() }
}

/// An entry whose data is its number.
pub(crate) fn entry(number: usize, pairs: &[(&'static str, &str)]) -> Fields {
    let data = [("data", format!(r#"{{"n":{number}}}"#))];
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(data).collect()
}

pub(crate) fn to(number: usize, name: &str) -> Fields {
    entry(number, &[("to_uid", name)])
}

/// Mailboxes of this process. Everybody is in every group.
pub(crate) fn mailboxes() -> Arc<dyn Mailboxes> {
    Arc::new(LocalMailboxes::new(MailboxBounds::default(), Arc::new(|_, _| true)))
}

/// The ledger of this process.
pub(crate) fn ledger() -> Arc<dyn Ledger> {
    Arc::new(LocalLedger::new(LedgerBounds::default()))
}
