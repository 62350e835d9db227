//! The worker inside the node: the only place where the two meet.
//!
//! Owns the way of a batch to this node, which is a plain call of the [`Intake`], its way to others, and the worker's life
//! within the node's.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use gim_msg_queue::deliver::{Deliver, DeliverError, DeliverErrorKind};
use gim_msg_queue::observe::Observer;
use gim_msg_queue::remote::RemoteDeliver;
use gim_msg_queue::team::Team;
use gim_msg_queue::worker::{DrainReport, Ports, Worker, WorkerHandle};
use gim_proto::Incarnation;
use gim_proxy_sdk::delivery::{Batch, Report};
use gim_proxy_sdk::directory::NodeRef;
use tokio::time::Instant;

use super::backend::Work;
use crate::config::WorkerSection;
use crate::core::Core;
use crate::intake::{Declined, Intake};

/// See the module.
pub(super) struct EmbeddedWorker(Mutex<Option<Kind>>);

enum Kind {
    Alone(WorkerHandle),
    OfMany(Team),
}

impl EmbeddedWorker {
    pub(super) fn start(
        core: &Arc<Core>,
        intake: &Arc<Intake>,
        work: Work,
        observer: Arc<dyn Observer>,
        section: &WorkerSection,
    ) -> Self {
        let far = core.peers.clone().map(RemoteDeliver::new);
        let deliver = Arc::new(NearOrFar { core: Arc::clone(core), intake: Arc::clone(intake), far });
        let ports = Ports {
            name: core.node().id.clone(),
            directory: Arc::clone(&core.directory),
            mailboxes: Arc::clone(&core.mailboxes),
            ledger: Arc::clone(&core.ledger),
            deliver,
            observer,
        };
        let worker = match work {
            Work::Lanes(sources) => Some(Kind::Alone(Worker::start(sources, &ports, section))),
            Work::Team(team) => Some(Kind::OfMany(Team::start(team(ports)))),
            Work::Elsewhere => None,
        };
        Self(Mutex::new(worker))
    }

    /// Delivers what was accepted and is due, then ends. The second call finds nothing to do.
    pub(super) async fn drain(&self, deadline: Instant) -> DrainReport {
        let worker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match worker {
            Some(Kind::Alone(worker)) => worker.drain(deadline).await,
            Some(Kind::OfMany(team)) => team.drain(deadline).await,
            None => DrainReport::default(),
        }
    }
}

/// The way to this node, and to others where there are any.
struct NearOrFar {
    core: Arc<Core>,
    intake: Arc<Intake>,
    far: Option<RemoteDeliver>,
}

#[async_trait]
impl Deliver for NearOrFar {
    async fn deliver(&self, node: &NodeRef, batch: &Arc<Batch>) -> Result<Vec<Report>, DeliverError> {
        match &self.far {
            Some(far) if !self.core.has_lived_as(&node.incarnation) => far.deliver(node, batch).await,
            None => {
                let answer = self.intake.deliver(&node.incarnation, batch).await;
                answer.map_err(|declined| kind(declined).into())
            }
            Some(_) => self.deliver_here(node.incarnation, Arc::clone(batch)).await,
        }
    }
}

impl NearOrFar {
    /// A lane that is lost drops what it waits for. Begun, a batch goes on to its end all the same, or the lane's next owner
    /// would deliver again what some have already.
    async fn deliver_here(&self, run: Incarnation, batch: Arc<Batch>) -> Result<Vec<Report>, DeliverError> {
        let intake = Arc::clone(&self.intake);
        let delivery = tokio::spawn(async move { intake.deliver(&run, &batch).await });
        match delivery.await {
            Ok(answer) => answer.map_err(|declined| kind(declined).into()),
            Err(panic) => Err(DeliverError { kind: DeliverErrorKind::Unknown, source: Some(panic.into()) }),
        }
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
