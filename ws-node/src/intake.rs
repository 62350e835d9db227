//! What a batch passes at a node, whatever road it came by: the worker in this process, or a stream of another's.
//!
//! Owns the order of it: addressed to this process, one at a time per lane, from the lane's present owner, the node's lease
//! proven, repeats answered from memory, and only then the hub. Direct sends pass the first and the last alone: they go on
//! while Redis is away. Never waits for a client.

mod lane;
mod memory;
mod post;
mod told;

use std::sync::Arc;

use gim_proto::Incarnation;
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Batch, Delivery, LaneOrigin, Report, TargetReport};
use gim_proxy_sdk::lease::Guard;
use gim_proxy_sdk::queue::MAX_LANES;

use self::lane::Lane;
use self::memory::{Memory, Recall};
use crate::core::Core;
use crate::receipts::{Flags, Step};

/// See the module.
pub(crate) struct Intake {
    core: Arc<Core>,
    /// As many as there may ever be, so that none has to be made for whoever names one.
    lanes: Box<[Lane]>,
}

/// Whether outcomes are kept for repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remembers {
    /// A worker elsewhere may not hear an answer and ask again.
    Outcomes,
    /// The worker is in this process and hears every answer.
    Nothing,
}

/// Why a batch was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// It is for another run, of this node or of another.
    NotHere,
    /// The lane has a later owner.
    Refused,
    /// The mailboxes do not answer. Or the node cannot prove that it lives, or the lane's batch before this one waits for
    /// that proof. Or the node has lost its place in the middle of the batch, and never acts again.
    Suspended,
    /// No service has so many lanes.
    NoSuchLane,
}

impl Declined {
    /// The word in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotHere => "not_here",
            Self::Refused => "refused",
            Self::Suspended => "suspended",
            Self::NoSuchLane => "malformed",
        }
    }
}

impl Intake {
    pub(crate) fn new(core: &Arc<Core>, remembers: Remembers) -> Self {
        let lanes = (0..MAX_LANES).map(|_| Lane::new(Memory::new(remembers == Remembers::Outcomes))).collect();
        Self { core: Arc::clone(core), lanes }
    }

    /// Offers a batch that is addressed to a run of a node. Returns one report per delivery, in order. Begun, a batch goes on
    /// to its end; whoever drops this future loses the answer and makes repeats of it come twice.
    pub(crate) async fn deliver(&self, run: &Incarnation, batch: &Batch) -> Result<Vec<Report>, Declined> {
        let answer = self.pass(run, batch).await;
        self.core.metrics.batch(answer.as_ref().map_or_else(|declined| declined.as_str(), |_| "done"));
        answer
    }

    /// A batch came that could not be read.
    pub(crate) fn malformed(&self) {
        self.core.metrics.batch(Declined::NoSuchLane.as_str());
    }

    async fn pass(&self, run: &Incarnation, batch: &Batch) -> Result<Vec<Report>, Declined> {
        if !self.core.has_lived_as(run) {
            return Err(Declined::NotHere);
        }
        match &batch.lane {
            Some(origin) => self.of_lane(origin, &batch.deliveries).await,
            None => self.offer(None, &batch.deliveries, None).await,
        }
    }

    async fn of_lane(&self, origin: &LaneOrigin, deliveries: &[Delivery]) -> Result<Vec<Report>, Declined> {
        let lane = self.lanes.get(usize::from(origin.lane)).ok_or(Declined::NoSuchLane)?;
        let mut memory = lane.enter(origin.term).await?;
        let guard = self.core.guard();
        if let Some(guard) = guard {
            guard.pass().await.map_err(|_| Declined::Suspended)?;
        }
        if memory.is_off() {
            return self.offer(Some(origin), deliveries, guard).await;
        }
        let lowest = deliveries.iter().filter_map(|delivery| delivery.entry).min();
        memory.forget_below(origin.low_water.or(lowest));
        let reports = self.offer_what_is_new(origin, &memory, deliveries, guard).await?;
        let forgotten =
            deliveries.iter().zip(&reports).map(|(delivery, report)| memory.remember(delivery, report)).sum();
        self.core.metrics.outcomes_forgotten(forgotten);
        Ok(reports)
    }

    /// Answers repeats from memory and offers the rest.
    async fn offer_what_is_new(
        &self,
        origin: &LaneOrigin,
        memory: &Memory,
        deliveries: &[Delivery],
        guard: Option<&Guard>,
    ) -> Result<Vec<Report>, Declined> {
        if !memory.knows_any(deliveries) {
            return self.offer(Some(origin), deliveries, guard).await;
        }
        let mut recalled: Vec<Recall<'_>> = deliveries.iter().map(|delivery| memory.recall(delivery)).collect();
        let new: Vec<Delivery> = recalled.iter_mut().filter_map(Recall::take_new).collect();
        self.core.metrics.outcomes_recalled((deliveries.len() - new.len()) as u64);
        let mut reports = self.offer(Some(origin), &new, guard).await?.into_iter();
        Ok(recalled.into_iter().map(|recall| recall.join(&mut reports)).collect())
    }

    async fn offer(
        &self,
        origin: Option<&LaneOrigin>,
        deliveries: &[Delivery],
        guard: Option<&Guard>,
    ) -> Result<Vec<Report>, Declined> {
        let fans = self.store(origin, deliveries).await?;
        // Each write is behind the guard too: a process may be frozen in the middle of a batch.
        let reports = self.core.hub.deliver(deliveries, &fans, guard).await.map_err(|_| Declined::Suspended)?;
        self.core.metrics.offered(reports.iter().map(offered).sum());
        self.trace(deliveries, &reports);
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.tell(deliveries, &reports);
        }
        Ok(reports)
    }

    /// Writes down where messages went that somebody follows. Durable ones are the session's to tell of.
    fn trace(&self, deliveries: &[Delivery], reports: &[Report]) {
        const FLAGS: Flags = Flags { receipt: false, traced: true };
        for (delivery, report) in deliveries.iter().zip(reports).filter(|(delivery, _)| delivery.message.traced) {
            let Report::Targets(targets) = report else { continue };
            for (to, target) in delivery.to.addressed().iter().zip(targets) {
                if *target == TargetReport::Done(Outcome::Offered) {
                    self.core.tell_step(&to.uid, &delivery.message.id, FLAGS, Step::Offered);
                }
            }
        }
    }

    fn tell(&self, deliveries: &[Delivery], reports: &[Report]) {
        for (delivery, report) in deliveries.iter().zip(reports) {
            let Report::Targets(targets) = report else { continue };
            for (to, target) in delivery.to.addressed().iter().zip(targets) {
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

#[cfg(test)]
mod tests;
