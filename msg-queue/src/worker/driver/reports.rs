//! What the answers of nodes are to the lane.

use gim_proxy_sdk::delivery::{Delivery, Report, TargetReport};
use gim_proxy_sdk::directory::NodeRef;
use tokio::time::Duration;

use super::answers::describe;
use super::{Driver, Sent};
use crate::deliver::{DeliverError, DeliverErrorKind, Failure};
use crate::lane::{Aim, Answer, Job, LegId, Legs, Now, Verdict};
use crate::observe::{Event, Step};
use crate::route::{Receipt, ReceiptLegs};

impl Driver {
    pub(super) fn delivered(&mut self, node: NodeRef, deliveries: &[Delivery], receipts: &[Receipt], result: Sent) {
        let now = self.now();
        let mut again = Vec::new();
        match result {
            Sent::Answered(Ok(reports)) if reports.len() == receipts.len() => {
                self.pipes.resume(&node);
                for ((delivery, receipt), report) in deliveries.iter().zip(receipts).zip(reports) {
                    again.extend(self.reported(&node, delivery, receipt, report, now));
                }
            }
            Sent::Answered(Ok(_)) => self.not_delivered(&node, receipts, Failure::Unknown, now),
            Sent::Answered(Err(error)) => match error.kind.failure() {
                Some(failure) => self.not_delivered(&node, receipts, failure, now),
                None => self.not_taken(&node, receipts, &error, now),
            },
            Sent::NotOwned => self.none_was_tried(&node, receipts, Duration::ZERO, now),
        }
        if !again.is_empty() {
            // What waits to go to the same node may be for the same users, and must not go ahead of this.
            self.none_was_tried(&node, &[], Duration::ZERO, now);
            self.begin_to_route(again, true);
        }
        if let Some(parcels) = self.pipes.ended(&node) {
            self.begin_to_deliver(node, parcels);
        }
    }

    /// Takes note that a batch did not get through. What waits behind it is routed anew, in its order.
    fn not_delivered(&mut self, node: &NodeRef, receipts: &[Receipt], failure: Failure, now: Now) {
        for receipt in receipts {
            self.all_end_as(node, receipt, Verdict::Failed(failure), Answer::Failed(failure), now);
        }
        self.none_was_tried(node, &[], Duration::ZERO, now);
    }

    /// Takes note that a node takes nothing right now, and counts no attempt. What goes there waits.
    fn not_taken(&mut self, node: &NodeRef, receipts: &[Receipt], error: &DeliverError, now: Now) {
        if error.kind == DeliverErrorKind::Refused {
            self.context.source.doubt();
        }
        let wait = self.pipes.suspend(node, &self.context.limits.persistence.backoff, &mut self.jitter);
        let error = format!("{}: {}", node.id, describe(error, error.source.as_deref())).into();
        self.context.record(&Event::Paused { step: Step::Deliver, wait, error });
        self.none_was_tried(node, receipts, wait, now);
    }

    /// Takes back a batch and what waits behind it.
    fn none_was_tried(&mut self, node: &NodeRef, receipts: &[Receipt], wait: Duration, now: Now) {
        for receipt in receipts {
            self.postponed(node, receipt, wait, now);
        }
        for receipt in self.pipes.take_waiting(node).receipts {
            self.postponed(node, &receipt, wait, now);
        }
    }

    /// Takes the report on one delivery. Returns what of it has to be looked up again.
    fn reported(
        &mut self,
        node: &NodeRef,
        delivery: &Delivery,
        receipt: &Receipt,
        report: Report,
        now: Now,
    ) -> Option<Job> {
        let entry_id = receipt.entry_id;
        match (&receipt.legs, report) {
            (ReceiptLegs::Users { legs, of }, Report::Targets(reports)) => {
                let mut moved = Legs::new();
                let reports = delivery.to.addressed().iter().zip(reports);
                // Every leg gets a verdict, whatever there is of answers.
                for (leg, report) in legs.iter().zip(reports.map(Some).chain(std::iter::repeat(None))) {
                    let at = LegId { entry_id, leg: *leg };
                    match report {
                        Some((_, TargetReport::Done(outcome))) => {
                            self.lane.complete(at, Verdict::Done(outcome), now);
                        }
                        Some((to, TargetReport::NotOwner)) if !receipt.again => moved.push((*leg, to.uid.clone())),
                        Some((_, TargetReport::NotOwner)) => {
                            self.lane.complete(at, Verdict::Failed(Failure::NotOwner), now);
                        }
                        None => self.lane.complete(at, Verdict::Failed(Failure::Unknown), now),
                    }
                }
                if moved.is_empty() {
                    return None;
                }
                let message = delivery.message.clone();
                self.context.record(&Event::Rerouted { message_id: message.id.clone() });
                Some(Job { entry_id, message, aim: Aim::Users { legs: moved, of: of.clone() }, tried: true })
            }
            (ReceiptLegs::Fan, Report::Count { offered, slow }) => {
                self.lane.answered(entry_id, node.incarnation, Answer::Count { offered, slow }, now);
                None
            }
            _ => {
                let failure = Failure::Unknown;
                self.all_end_as(node, receipt, Verdict::Failed(failure), Answer::Failed(failure), now);
                None
            }
        }
    }

    pub(super) fn postponed(&mut self, node: &NodeRef, receipt: &Receipt, wait: Duration, now: Now) {
        self.all_end_as(node, receipt, Verdict::Postponed { wait }, Answer::Postponed { wait }, now);
    }

    fn all_end_as(&mut self, node: &NodeRef, receipt: &Receipt, verdict: Verdict, answer: Answer, now: Now) {
        let entry_id = receipt.entry_id;
        match &receipt.legs {
            ReceiptLegs::Users { legs, .. } => {
                for leg in legs {
                    self.lane.complete(LegId { entry_id, leg: *leg }, verdict, now);
                }
            }
            ReceiptLegs::Fan => self.lane.answered(entry_id, node.incarnation, answer, now),
        }
    }
}
