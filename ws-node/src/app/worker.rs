//! The worker inside the node: the only place where the two meet.
//!
//! Owns the in-process way of a batch, which is a plain call of the [`Intake`], and the worker's life within the node's.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use gim_msg_queue::clock::Clock;
use gim_msg_queue::deliver::{Deliver, DeliverError, DeliverErrorKind};
use gim_msg_queue::observe::Observer;
use gim_msg_queue::source::Source;
use gim_msg_queue::worker::{DrainReport, Ports, Worker, WorkerHandle};
use gim_proxy_sdk::delivery::{Batch, Report};
use gim_proxy_sdk::directory::{Directory, NodeRef};
use tokio::time::Instant;

use crate::config::WorkerSection;
use crate::intake::{Declined, Intake};

/// See the module.
pub(super) struct EmbeddedWorker(Mutex<Option<WorkerHandle>>);

impl EmbeddedWorker {
    pub(super) fn start(
        intake: &Arc<Intake>,
        directory: Arc<dyn Directory>,
        sources: Vec<Arc<dyn Source>>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        section: &WorkerSection,
    ) -> Self {
        let deliver = Arc::new(InProcess { intake: Arc::clone(intake) });
        let ports = Ports { sources, directory, deliver, observer, clock };
        Self(Mutex::new(Some(Worker::start(ports, section))))
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

/// The way to this node and to no other.
struct InProcess {
    intake: Arc<Intake>,
}

#[async_trait]
impl Deliver for InProcess {
    async fn deliver(&self, node: &NodeRef, batch: Batch) -> Result<Vec<Report>, DeliverError> {
        let answer = self.intake.deliver(&node.incarnation, &batch).await;
        answer.map_err(|declined| kind(declined).into())
    }
}

const fn kind(declined: Declined) -> DeliverErrorKind {
    match declined {
        // The last cannot come about: there are as many lanes as the configuration allows.
        Declined::NotHere | Declined::NoSuchLane => DeliverErrorKind::Unreachable,
        Declined::Refused => DeliverErrorKind::Refused,
        Declined::Suspended => DeliverErrorKind::Suspended,
    }
}
