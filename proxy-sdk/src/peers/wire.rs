//! Batches in the form they travel in, and the answers to them.
//!
//! Owns how much goes in one request, and what of an answer can be believed. Whoever answers another number of reports than
//! was asked for has answered nothing.

use std::collections::HashSet;
use std::sync::Arc;

use gim_proto::rpc::{self, DeliverRequest, DeliverResponse, DeliverVerdict, TargetOutcome};
use gim_proto::{Class, EntryId, Incarnation, Payload, Tgid, Uid};
use prost::Message as _;
use smallvec::smallvec;

use super::{PeerError, PeerErrorKind};
use crate::Outcome;
use crate::delivery::{Addressed, Delivery, LaneOrigin, Message, Recipients, Report, Rest, TargetReport};
use crate::mailbox::Position;

/// Bytes of one request, unless one delivery alone is larger. A node takes twice as much, and a delivery is at most about
/// 1 MiB: an entry has 256 KiB, and 10,000 addressed sessions add 40 bytes each.
pub(super) const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Deliveries of one request. A node takes no more.
pub(super) const MOST_DELIVERIES: usize = 1_000;

/// An answer that breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's answer does not fit the batch")]
pub(super) struct Unreadable;

/// As much of a batch as goes in one request.
pub(super) struct Part<'a> {
    deliveries: Vec<rpc::Delivery>,
    asked: Asked<'a>,
}

/// What the answer to a part has to fit.
pub(super) struct Asked<'a>(Vec<Rest<'a>>);

impl<'a> Part<'a> {
    /// Takes the first deliveries. Who is refused is left out, and what a node of this version does not understand.
    pub(super) fn of(rest: &'a [Delivery], version: u32, refused: &HashSet<Uid>) -> Self {
        let (mut deliveries, mut asked, mut bytes) = (Vec::new(), Vec::new(), 0);
        for delivery in rest.iter().take(MOST_DELIVERIES) {
            let left = if delivery.message.class == Class::Durable && version < rpc::DURABLE_FROM {
                Rest::answered(held_back(delivery))
            } else {
                Rest::of(delivery, |to| refused.contains(&to.uid).then_some(TargetReport::NotOwner))
            };
            if let Some(delivery) = left.delivery.as_deref().map(to_wire) {
                let one = delivery.encoded_len() + 8;
                if bytes > 0 && bytes + one > MOST_BYTES {
                    break;
                }
                bytes += one;
                deliveries.push(delivery);
            }
            asked.push(left);
        }
        Self { deliveries, asked: Asked(asked) }
    }

    /// How many deliveries of the batch it is.
    pub(super) const fn covers(&self) -> usize {
        self.asked.0.len()
    }

    /// Makes the request, whose number is chosen when it is sent. None: nothing is left to ask.
    pub(super) fn request(self, node: Incarnation, lane: Option<&LaneOrigin>) -> (Option<DeliverRequest>, Asked<'a>) {
        let request = (!self.deliveries.is_empty()).then(|| DeliverRequest {
            number: 0,
            incarnation: node.to_string(),
            lane: lane.map(|origin| rpc::LaneOrigin {
                lane: origin.lane.into(),
                term: origin.term,
                low_water: origin.low_water.map(position),
            }),
            deliveries: self.deliveries,
        });
        (request, self.asked)
    }
}

impl Asked<'_> {
    /// Reads the answer.
    pub(super) fn reports(self, answer: DeliverResponse) -> Result<Vec<Report>, PeerError> {
        match answer.verdict() {
            DeliverVerdict::Done => {}
            DeliverVerdict::Refused => return Err(PeerErrorKind::Refused.into()),
            DeliverVerdict::Suspended => return Err(PeerErrorKind::Suspended.into()),
            DeliverVerdict::NotHere => return Err(PeerErrorKind::Unreachable.into()),
            DeliverVerdict::Malformed => {
                tracing::error!(detail = %answer.detail, "a node calls a batch malformed");
                return Err(PeerError { kind: PeerErrorKind::Unreachable, source: Some(answer.detail.into()) });
            }
            DeliverVerdict::Unspecified => return Err(Unreadable.into()),
        }
        let mut answers = answer.reports.into_iter();
        let mut reports = Vec::with_capacity(self.0.len());
        for rest in self.0 {
            let answered = match rest.delivery.as_deref() {
                Some(delivery) => Some(report(&delivery.to, answers.next().ok_or(Unreadable)?)?),
                None => None,
            };
            reports.push(rest.join(answered));
        }
        if answers.next().is_some() { Err(Unreadable.into()) } else { Ok(reports) }
    }
}

/// Answers in the stead of a node that does not know durable messages: who is connected there has them in the mailbox, and
/// gets them from a node that does.
fn held_back(delivery: &Delivery) -> Report {
    match delivery.to.addressed() {
        [] => Report::Count { offered: 0, slow: 0 },
        addressed => Report::Targets(smallvec![TargetReport::Done(Outcome::Stored); addressed.len()]),
    }
}

fn to_wire(delivery: &Delivery) -> rpc::Delivery {
    let message: &Arc<Message> = &delivery.message;
    let class = match message.class {
        Class::Live => rpc::MessageClass::Live,
        Class::Latest => rpc::MessageClass::Latest,
        Class::Durable => rpc::MessageClass::Durable,
    };
    // The bytes are shared, not copied.
    let body = match &message.payload {
        Payload::Json(json) => rpc::body::Body::Response(json.clone()),
        Payload::Raw(bytes) => rpc::body::Body::Raw(bytes.clone()),
    };
    rpc::Delivery {
        id: message.id.to_string(),
        entry: delivery.entry.map(position),
        class: class.into(),
        key: message.key.as_deref().unwrap_or_default().to_owned(),
        body: Some(rpc::Body { body: Some(body) }),
        except: message.except.iter().map(ToString::to_string).collect(),
        to: Some(recipients(&delivery.to)),
        receipt: message.receipt,
        traced: message.traced,
        expires_ms: message.expires_ms.unwrap_or_default(),
    }
}

fn recipients(to: &Recipients) -> rpc::delivery::To {
    let names = |tgids: &[Tgid]| tgids.iter().map(ToString::to_string).collect();
    match to {
        Recipients::Sessions(all) => {
            rpc::delivery::To::Sessions(rpc::Sessions { sessions: all.iter().map(addressed).collect() })
        }
        Recipients::Stored { to, at } => {
            let sessions = to.iter().zip(at);
            let sessions = sessions.map(|(to, Position { epoch, offset })| rpc::Addressed {
                epoch: *epoch,
                offset: *offset,
                ..addressed(to)
            });
            rpc::delivery::To::Sessions(rpc::Sessions { sessions: sessions.collect() })
        }
        Recipients::Member { to, of } => {
            rpc::delivery::To::Member(rpc::Member { to: Some(addressed(to)), tgids: names(of) })
        }
        Recipients::Groups(tgids) => rpc::delivery::To::Groups(rpc::Groups { tgids: names(tgids) }),
        Recipients::All => rpc::delivery::To::All(true),
    }
}

fn addressed(to: &Addressed) -> rpc::Addressed {
    rpc::Addressed { uid: to.uid.to_string(), session: to.session.to_string(), fence: to.fence.0, epoch: 0, offset: 0 }
}

const fn position(entry: EntryId) -> rpc::EntryPosition {
    rpc::EntryPosition { ms: entry.ms, seq: entry.seq }
}

fn report(to: &Recipients, answer: rpc::DeliveryReport) -> Result<Report, Unreadable> {
    match to {
        Recipients::Groups(_) | Recipients::All if answer.targets.is_empty() => {
            Ok(Report::Count { offered: answer.offered, slow: answer.slow })
        }
        Recipients::Sessions(_) | Recipients::Stored { .. } | Recipients::Member { .. }
            if answer.targets.len() == to.addressed().len() =>
        {
            Ok(Report::Targets(answer.targets.into_iter().map(target).collect::<Result<_, _>>()?))
        }
        _ => Err(Unreadable),
    }
}

fn target(outcome: i32) -> Result<TargetReport, Unreadable> {
    match TargetOutcome::try_from(outcome) {
        Ok(TargetOutcome::Offered) => Ok(TargetReport::Done(Outcome::Offered)),
        Ok(TargetOutcome::NotMember) => Ok(TargetReport::Done(Outcome::NotMember)),
        Ok(TargetOutcome::Slow) => Ok(TargetReport::Done(Outcome::Slow)),
        Ok(TargetOutcome::Stored) => Ok(TargetReport::Done(Outcome::Stored)),
        Ok(TargetOutcome::NotOwner) => Ok(TargetReport::NotOwner),
        Ok(TargetOutcome::Unspecified) | Err(_) => Err(Unreadable),
    }
}
