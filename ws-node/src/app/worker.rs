//! The worker inside the node: the only place where the two meet.
//!
//! Owns the in-process way of a batch, which is a plain call, and the worker's life within the node's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use gim_msg_queue::deliver::{Deliver, DeliverError, DeliverErrorKind};
use gim_msg_queue::observe::Observer;
use gim_msg_queue::source::Source;
use gim_msg_queue::worker::{DrainReport, Ports, Worker, WorkerHandle};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Batch, Recipients, Report, TargetReport};
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::lease::Guard;
use tokio::time::Instant;

use crate::config::WorkerSection;
use crate::core::Core;

/// See the module.
pub(super) struct EmbeddedWorker(Mutex<Option<WorkerHandle>>);

impl EmbeddedWorker {
    pub(super) fn start(
        core: &Arc<Core>,
        sources: Vec<Arc<dyn Source>>,
        guard: Option<Guard>,
        observer: Arc<dyn Observer>,
        section: &WorkerSection,
    ) -> Self {
        let ports = Ports {
            directory: Arc::clone(&core.directory),
            deliver: Arc::new(InProcess { core: Arc::clone(core), guard, terms: Mutex::default() }),
            observer,
        };
        Self(Mutex::new(Some(Worker::start(sources, &ports, section))))
    }

    /// Delivers what was accepted and is due, then ends. The second call finds nothing to do.
    pub(super) async fn drain(&self, deadline: Instant) -> DrainReport {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match worker {
            Some(worker) => worker.drain(deadline).await,
            None => DrainReport::default(),
        }
    }
}

struct InProcess {
    core: Arc<Core>,
    /// What has to be passed before each write. None: nobody else could act in this node's place.
    guard: Option<Guard>,
    /// The highest term seen of each lane.
    terms: Mutex<HashMap<u16, u64>>,
}

#[async_trait]
impl Deliver for InProcess {
    async fn deliver(&self, node: &NodeRef, batch: Batch) -> Result<Vec<Report>, DeliverError> {
        if !self.core.is_this(node) {
            return Err(DeliverErrorKind::Unreachable.into());
        }
        if !self.is_of_the_owner(&batch) {
            return Err(DeliverErrorKind::Refused.into());
        }
        if let Some(guard) = &self.guard {
            guard.pass().await.map_err(|_| DeliverErrorKind::Suspended)?;
        }
        // Each write is behind the guard too: a process may be frozen in the middle of a batch.
        let reports = self.core.hub.deliver(&batch.deliveries, self.guard.as_ref()).await;
        let reports = reports.map_err(|_| DeliverErrorKind::Suspended)?;
        self.core.metrics.offered(reports.iter().map(offered).sum());
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.tell(&batch, &reports);
        }
        Ok(reports)
    }
}

impl InProcess {
    /// A lane's earlier owner may not know yet that it is none any more.
    fn is_of_the_owner(&self, batch: &Batch) -> bool {
        let Some(origin) = &batch.lane else { return true };
        let mut terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = terms.entry(origin.lane).or_default();
        *highest = origin.term.max(*highest);
        origin.term == *highest
    }

    fn tell(&self, batch: &Batch, reports: &[Report]) {
        for (delivery, report) in batch.deliveries.iter().zip(reports) {
            let to = match &delivery.to {
                Recipients::Sessions(all) => all.as_slice(),
                Recipients::Member { to, .. } => std::slice::from_ref(to),
                Recipients::Groups(_) | Recipients::All => continue,
            };
            let Report::Targets(targets) = report else { continue };
            for (to, target) in to.iter().zip(targets) {
                self.core.metrics.reported(&delivery.message.id, &to.uid, *target);
            }
        }
    }
}

fn offered(report: &Report) -> u64 {
    match report {
        Report::Count { offered, .. } => *offered,
        Report::Targets(targets) => {
            targets.iter().filter(|target| **target == TargetReport::Done(Outcome::Offered)).count() as u64
        }
    }
}
