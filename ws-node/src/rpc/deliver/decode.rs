//! From the wire to a batch: every rule that a sender must keep, checked once.

use std::sync::Arc;

use gim_proto::rpc::{self, DeliverRequest, MessageClass};
use gim_proto::{Class, EntryId, Fence, Incarnation, MessageId, NameError, Payload, SessionId, Tgid, Uid};
use gim_proxy_sdk::delivery::{Addressed, Batch, Delivery, LaneOrigin, Message, Recipients, Sessions};
use gim_proxy_sdk::mailbox::Position;

/// Deliveries of one batch.
const MOST_DELIVERIES: usize = 1_000;

/// A batch and the run it is for.
pub(super) struct Decoded {
    pub(super) run: Incarnation,
    pub(super) batch: Batch,
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A name breaks its rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A part that has to be there is not, or is of a later version.
    #[error("{0} is missing or unknown")]
    Missing(&'static str),
    /// A number is above its bound.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}

pub(super) fn batch(request: DeliverRequest) -> Result<Decoded, Malformed> {
    if request.deliveries.len() > MOST_DELIVERIES {
        return Err(Malformed::OutOfRange("number of deliveries"));
    }
    let run = Incarnation::parse(&request.incarnation)?;
    let lane = request.lane.map(origin).transpose()?;
    let deliveries = request.deliveries.into_iter().map(delivery).collect::<Result<_, _>>()?;
    Ok(Decoded { run, batch: Batch { lane, deliveries } })
}

/// Reads the session a question is about.
pub(in crate::rpc) fn addressed(to: rpc::Addressed) -> Result<Addressed, Malformed> {
    Ok(Addressed { uid: Uid::parse(&to.uid)?, session: SessionId::parse(&to.session)?, fence: Fence(to.fence) })
}

fn origin(origin: rpc::LaneOrigin) -> Result<LaneOrigin, Malformed> {
    let lane = u16::try_from(origin.lane).map_err(|_| Malformed::OutOfRange("lane"))?;
    Ok(LaneOrigin { lane, term: origin.term, low_water: origin.low_water.map(position) })
}

fn delivery(delivery: rpc::Delivery) -> Result<Delivery, Malformed> {
    let class = match delivery.class() {
        MessageClass::Live => Class::Live,
        MessageClass::Latest => Class::Latest,
        MessageClass::Durable => Class::Durable,
        MessageClass::Unspecified => return Err(Malformed::Missing("class")),
    };
    // The bytes stay where they were read into.
    let payload = match delivery.body.and_then(|body| body.body) {
        Some(rpc::body::Body::Response(json)) => Payload::Json(json),
        Some(rpc::body::Body::Raw(bytes)) => Payload::Raw(bytes),
        None => return Err(Malformed::Missing("body")),
    };
    let message = Message {
        id: MessageId::parse(&delivery.id)?,
        class,
        key: (!delivery.key.is_empty()).then(|| Arc::from(delivery.key)),
        payload,
        except: delivery.except.iter().map(|uid| Uid::parse(uid)).collect::<Result<_, _>>()?,
        expires_ms: (delivery.expires_ms > 0).then_some(delivery.expires_ms),
        receipt: delivery.receipt,
        traced: delivery.traced,
    };
    let to = recipients(delivery.to.ok_or(Malformed::Missing("to"))?)?;
    Ok(Delivery { entry: delivery.entry.map(position), message: Arc::new(message), to })
}

fn recipients(to: rpc::delivery::To) -> Result<Recipients, Malformed> {
    let names = |tgids: Vec<String>| tgids.iter().map(|tgid| Tgid::parse(tgid)).collect::<Result<_, _>>();
    Ok(match to {
        rpc::delivery::To::Sessions(all) => {
            let at = all.sessions.iter().map(|to| Position { epoch: to.epoch, offset: to.offset });
            let at: Vec<Position> = at.filter(|at| at.epoch > 0).collect();
            let to: Sessions = all.sessions.into_iter().map(addressed).collect::<Result<_, _>>()?;
            match at.len() {
                0 => Recipients::Sessions(to),
                all if all == to.len() => Recipients::Stored { to, at },
                _ => return Err(Malformed::Missing("epoch")),
            }
        }
        rpc::delivery::To::Member(member) => Recipients::Member {
            to: addressed(member.to.ok_or(Malformed::Missing("member"))?)?,
            of: names(member.tgids)?,
        },
        rpc::delivery::To::Groups(groups) => Recipients::Groups(names(groups.tgids)?),
        rpc::delivery::To::All(true) => Recipients::All,
        rpc::delivery::To::All(false) => return Err(Malformed::Missing("to")),
    })
}

const fn position(position: rpc::EntryPosition) -> EntryId {
    EntryId { ms: position.ms, seq: position.seq }
}
