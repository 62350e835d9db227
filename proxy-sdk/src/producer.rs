//! Puts entries on the queue from any process that reaches Redis, without a node between.
//!
//! Owns what has to hold before an entry is on a lane: the checks every mode shares ([`check_in`]), the bounds of a lane,
//! and the mark that makes an id count once within the idempotency window. Marking and appending are one script per
//! lane. Never repeats a call by itself and never reads a lane.

mod append;
mod check_in;
mod gate;
mod lanes;
mod options;
mod split;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use gim_proto::{EntryId, Fields, Keys, MessageId};
use tokio::time::{Instant, timeout_at};

use self::append::{Appending, Stopped};
use self::gate::Gate;
use self::lanes::Lanes;
use crate::queue::{PerLane, QueueError, QueueErrorKind};
use crate::store::{Link, RedisOptions, Store};
use crate::{Error, ErrorKind};

pub use self::check_in::{CheckIn, MAX_FIELDS, Part, check_in};
pub use self::options::{Bounds, ProducerOptions};

/// A way onto the queue. Cheap to clone; clones share connections and bounds.
///
/// An entry that is accepted has its message id. Of a call, everything is checked before anything is appended. What goes
/// to one lane is then appended whole or not at all, up to 1,000 entries, 8 MiB and 500,000 names and values; what is
/// beyond goes in further steps, in order. A call for several lanes is refused while one of them is full.
///
/// If one step fails after another has succeeded, or if its outcome is not known, the error is
/// [`QueueErrorKind::Timeout`]: the call may have taken effect, in part or whole. Repeating it is safe for entries that
/// have an id: within the idempotency window they are not queued again.
///
/// The number of lanes is looked up again every 10 s at most, when something is enqueued. Whoever changes it has to stop
/// the producers first: for those seconds they use the old one, and an id counts once per lane.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: Keys,
    bounds: Bounds,
    links: PerLane<Link>,
    lanes: Lanes,
    gate: Gate,
}

impl Producer {
    /// Reaches Redis and reads how many lanes the queue has.
    ///
    /// # Errors
    /// `Unavailable`: Redis cannot be reached, or no node has ever started there and no number of lanes is given.
    /// `Invalid`: the prefix is none, or the number given is not the one in use.
    pub async fn connect(redis: RedisOptions, options: ProducerOptions) -> Result<Self, Error> {
        let ProducerOptions { prefix, lanes, bounds } = options;
        let keys = Keys::new(&prefix).map_err(|error| Error::with_source(ErrorKind::Invalid, "the prefix", error))?;
        let store = Store::new(redis);
        let lanes = Lanes::read(&store, &keys, lanes).await?;
        Ok(Self::with(&store, keys, lanes, bounds))
    }

    /// Makes one for a node, whose number of lanes is agreed on. Connects when it is first used.
    pub(crate) fn of_node(store: &Store, keys: Keys, lanes: NonZeroU16, bounds: Bounds) -> Self {
        Self::with(store, keys, Lanes::fixed(lanes), bounds)
    }

    fn with(store: &Store, keys: Keys, lanes: Lanes, bounds: Bounds) -> Self {
        let links = PerLane::new(store, |lane| store.link(keys.queue(lane)));
        let gate = Gate::new(&bounds);
        Self(Arc::new(Shared { keys, bounds, links, lanes, gate }))
    }

    /// Enqueues one entry.
    ///
    /// # Errors
    /// See [`enqueue`](Self::enqueue).
    pub async fn enqueue_one(&self, entry: Fields) -> Result<MessageId, QueueError> {
        let id = self.enqueue(vec![entry]).await?.pop();
        id.ok_or_else(|| QueueError::new(QueueErrorKind::Timeout, "redis named no entry"))
    }

    /// Enqueues entries. Returns their message ids in order; an entry whose id was accepted within the idempotency
    /// window returns that id and has no effect. Ends within [`Bounds::deadline`]. Dropping the call may leave it half done.
    ///
    /// # Errors
    /// Names the first entry and field that is not acceptable; nothing took effect. `Full`: a bound is reached, or Redis
    /// is out of memory; nothing took effect. `Unavailable`: nothing took effect. `Timeout`: it may have; repeat it with
    /// the same ids.
    pub async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueError> {
        let Shared { bounds, lanes, gate, .. } = &*self.0;
        let end = Instant::now() + bounds.deadline;
        let lanes = lanes.number(end).await;
        let against = CheckIn { lanes, schedule_ahead: bounds.schedule_ahead, now_ms: unix_ms() };
        let count = entries.len();
        let parts = check_in(entries, &against)?;
        let bytes = parts.iter().map(|part| part.fields.bytes()).sum();
        let _place = gate.enter(bytes, end).await?;
        let appending = self.append(count, &parts);
        timeout_at(end, appending).await.unwrap_or_else(|_| Err(QueueError::unanswered()))
    }

    async fn append(&self, count: usize, parts: &[Part]) -> Result<Vec<MessageId>, QueueError> {
        let mut by_lane: BTreeMap<u16, Vec<&Part>> = BTreeMap::new();
        parts.iter().for_each(|part| by_lane.entry(part.lane).or_default().push(part));
        let lanes = by_lane.into_iter().map(|(lane, parts)| Appending::new(&self.0, lane, parts));
        let lanes: Vec<Appending<'_>> = lanes.collect::<Result<_, _>>()?;
        if lanes.len() > 1 {
            let rooms = join_all(lanes.iter().map(Appending::check_room)).await;
            rooms.into_iter().collect::<Result<(), _>>()?;
        }
        let places = whole(join_all(lanes.iter().map(Appending::run)).await)?;
        Ok(names(count, &lanes, places))
    }
}

/// Makes of what came of each lane what came of the call.
fn whole(lanes: Vec<Result<Vec<EntryId>, Stopped>>) -> Result<Vec<Vec<EntryId>>, QueueError> {
    let has_begun = lanes.iter().any(|lane| lane.as_ref().map_or_else(|stopped| stopped.has_begun, |_| true));
    lanes.into_iter().map(|lane| lane.map_err(|stopped| stopped.of_call(has_begun))).collect()
}

/// Names the messages of a call. All parts of an entry that was split have the same id.
fn names(count: usize, lanes: &[Appending<'_>], places: Vec<Vec<EntryId>>) -> Vec<MessageId> {
    let mut ids = vec![None; count];
    for (part, place) in lanes.iter().zip(places).flat_map(|(lane, places)| lane.parts().zip(places)) {
        if let Some(id) = ids.get_mut(part.index) {
            *id = Some(part.id.clone().unwrap_or_else(|| MessageId::of_entry(part.lane, place)));
        }
    }
    ids.into_iter().flatten().collect()
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
