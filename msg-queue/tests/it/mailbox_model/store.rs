//! The store: the lane's entries, who owns the lane and the uid, and the real mailbox.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use gim_proto::frame::MsgType;
use gim_proto::{Class, EntryId, Fence, MessageId, Payload};
use gim_proxy_sdk::delivery::{LaneOrigin, Message};
use gim_proxy_sdk::mailbox::state::Mailbox;
use gim_proxy_sdk::mailbox::{Acked, Arrival, MailboxBounds, Opened, Page, PageBounds, Position};

use super::protocol::{Protocol, Rule};
use super::state::{ENTRIES, Set};

const BOUNDS: fn() -> MailboxBounds = MailboxBounds::default;

static MESSAGES: LazyLock<[Arc<Message>; ENTRIES]> =
    LazyLock::new(|| std::array::from_fn(|entry| Arc::new(message(entry))));

fn message(entry: usize) -> Message {
    Message {
        id: MessageId::parse(&entry.to_string()).unwrap(),
        class: Class::Durable,
        key: None,
        payload: Payload::Json(Bytes::from_static(b"{}")),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    }
}

fn number(id: &MessageId) -> u8 {
    id.as_str().parse().unwrap()
}

fn origin(term: u8, low_water: u8) -> LaneOrigin {
    LaneOrigin { lane: 0, term: term.into(), low_water: Some(entry_id(low_water)) }
}

fn entry_id(entry: u8) -> EntryId {
    EntryId { ms: 1 + u64::from(entry), seq: 0 }
}

/// The real mailbox, and what tells two of them apart.
#[derive(Clone, Debug)]
pub(super) struct Shelf(Arc<(Mailbox, Shape)>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shape {
    opened: [u64; 3],
    letters: Vec<(u64, u8)>,
    known: Vec<(u8, u64)>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self::of(Mailbox::new(1))
    }
}

impl PartialEq for Shelf {
    fn eq(&self, other: &Self) -> bool {
        self.0.1 == other.0.1
    }
}

impl Eq for Shelf {}

impl Hash for Shelf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.1.hash(state);
    }
}

impl Shelf {
    fn of(mailbox: Mailbox) -> Self {
        let Opened { epoch, last, acked, .. } = mailbox.clone().open(Fence::default(), Arrival::Anew, 0);
        let mut known: Vec<_> = mailbox.ids().map(|(known, offset)| (number(&known.id), offset)).collect();
        known.sort_unstable();
        let letters = mailbox.letters().map(|letter| (letter.offset, number(&letter.message.id))).collect();
        Self(Arc::new((mailbox, Shape { opened: [epoch, last, acked], letters, known })))
    }

    fn change<T>(&mut self, act: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut mailbox = self.0.0.clone();
        let done = act(&mut mailbox);
        *self = Self::of(mailbox);
        done
    }

    /// What it holds.
    pub(super) fn entries(&self) -> Set {
        self.0.1.letters.iter().map(|(_, entry)| *entry).collect()
    }

    fn last(&self) -> u64 {
        self.0.1.opened[1]
    }

    fn epoch(&self) -> u64 {
        self.0.1.opened[0]
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Store {
    /// Entries put on the lane.
    pub(super) accepted: u8,
    pub(super) settled: Set,
    /// Accepted and gone with a lost tail.
    pub(super) wiped: Set,
    /// Of the lane's owner.
    pub(super) term: u8,
    pub(super) shelf: Shelf,
    /// Who owns the uid: the fence, which is the session's number.
    pub(super) owner: Option<u8>,
    /// The highest fence there was.
    pub(super) fence: u8,
    /// Counts its runs.
    pub(super) run: u8,
}

impl Store {
    pub(super) fn unsettled(&self) -> Set {
        Set::below(self.accepted).without(self.settled).without(self.wiped)
    }

    /// The script. `None`: the lane is somebody else's.
    pub(super) fn append(&mut self, term: u8, round: Set, protocol: &Protocol) -> Option<[Position; ENTRIES]> {
        if term < self.term && protocol.keeps(Rule::AppendAsOwner) {
            return None;
        }
        let origin = origin(term, round.first()?);
        Some(self.shelf.change(|mailbox| {
            let mut at = [Position::default(); ENTRIES];
            for entry in round.iter() {
                // As early as may be: ids are forgotten when there are many, which in so small a case there never are.
                mailbox.forget(&origin);
                let message = &MESSAGES[usize::from(entry)];
                at[usize::from(entry)] = mailbox.append(&origin, entry_id(entry), message, MsgType::User, 0, &BOUNDS());
            }
            at
        }))
    }

    pub(super) fn open(&mut self, fence: u8, arrival: Arrival, protocol: &Protocol) -> Opened {
        let fence = Fence(fence.into());
        let seen = match arrival {
            Arrival::Resumes(seen) | Arrival::Survives(seen) => seen,
            Arrival::Anew => Position::default(),
        };
        let has_lost = seen.epoch == self.shelf.epoch() && seen.offset > self.shelf.last();
        if has_lost && !protocol.keeps(Rule::EpochRises) {
            return self.shelf.change(|mailbox| mailbox.open(fence, Arrival::Anew, 0));
        }
        self.shelf.change(|mailbox| mailbox.open(fence, arrival, 0))
    }

    pub(super) fn read(&self, after: u64, messages: usize) -> Page {
        self.shelf.0.0.read(after, PageBounds { messages, bytes: 1 << 20 }, 0, &BOUNDS())
    }

    pub(super) fn ack(&mut self, fence: u8, upto: Position, protocol: &Protocol) {
        // What is in the mailbox compares with those who opened it; in Redis also with whom the record names.
        let is_old = self.owner.is_some_and(|owner| owner > fence);
        if is_old && protocol.keeps(Rule::AckComparesFence) {
            return;
        }
        let fence = if protocol.keeps(Rule::AckComparesFence) { fence } else { u8::MAX };
        let done = self.shelf.change(|mailbox| mailbox.ack(Fence(fence.into()), upto));
        if done == Acked::Done && !protocol.keeps(Rule::RememberIds) {
            self.shelf.change(|mailbox| mailbox.forget(&origin(0, u8::MAX)));
        }
    }

    /// Another run, from what was there at an earlier moment. What survives: clocks, so that terms and fences rise, and
    /// who is connected, because nodes say it again.
    pub(super) fn fall_back(&mut self, to: &Self) {
        self.settled = to.settled;
        self.wiped = self.wiped.and(Set::below(self.accepted).without(Set::below(to.accepted)));
        self.shelf = to.shelf.clone();
        self.run += 1;
    }
}

/// The entry of a message.
pub(super) fn entry_of(message: &Message) -> u8 {
    number(&message.id)
}
