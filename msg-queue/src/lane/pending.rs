//! A message of the window: its legs, what they have come to, and what is left of it.

use std::collections::HashSet;
use std::sync::Arc;

use gim_proto::{Class, Entry, EntryId, Incarnation, MessageId, Priority, Target, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::Message;
use smallvec::{SmallVec, smallvec};

use super::admit::Read;
use super::keys::Key;
use crate::deliver::Failure;
use crate::source::Rest;

/// What a leg takes up in the window, beside the bytes of its entry.
pub(super) const LEG_BYTES: usize = 128;

#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) message: Arc<Message>,
    pub(super) to: To,
    /// Those of a message to groups or to all: the look-up, then one per node.
    pub(super) legs: SmallVec<[Leg; 1]>,
    /// Attempts made before it was read.
    pub(super) attempts: u32,
    /// Legs that are not finished.
    pub(super) open: usize,
    pub(super) fan: Fan,
    pub(super) priority: Priority,
    pub(super) size: usize,
    /// Since when it could have been delivered.
    pub(super) since_ms: u64,
    pub(super) expires_ms: Option<u64>,
    pub(super) last_failure: Option<Failure>,
}

/// To whom, as legs see it.
#[derive(Clone, Debug)]
pub(super) enum To {
    /// One leg per user.
    Users {
        uids: SmallVec<[Uid; 1]>,
        of: Arc<[Tgid]>,
    },
    Groups(Arc<[Tgid]>),
    All,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) state: LegState,
    pub(super) attempts: u32,
    /// Of a message to groups or to all: the node. None: the look-up.
    pub(super) node: Option<Incarnation>,
    /// It was on its way to a node before.
    pub(super) tried: bool,
    /// The user's mailbox has it.
    pub(super) stored: bool,
    /// Of a user, once it is done.
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegState {
    Waiting,
    /// Of a message to groups or to all: it is looked up which nodes it goes to.
    Routing,
    Flying,
    /// It has its outcome.
    Done,
    /// It was given up.
    Dead,
}

/// What the nodes have answered for a message to groups or to all.
#[derive(Clone, Debug, Default)]
pub(super) struct Fan {
    pub(super) done: Vec<Incarnation>,
    pub(super) offered: bool,
    pub(super) slow: bool,
    pub(super) expired: bool,
    /// Of class durable: a member has it in its mailbox.
    pub(super) stored: bool,
}

impl Fan {
    fn outcome(&self) -> Outcome {
        match self {
            Self { stored: true, .. } => Outcome::Stored,
            Self { offered: true, .. } => Outcome::Offered,
            Self { slow: true, .. } => Outcome::Slow,
            Self { expired: true, .. } => Outcome::Expired,
            Self { .. } => Outcome::Offline,
        }
    }
}

impl Pending {
    /// Takes up an entry for what of it is to be done. It may turn out to be nothing: all its users are excepted.
    pub(super) fn new(fetched: &Read, message_id: MessageId, entry: Entry) -> Self {
        let (to, done) = aim(&entry, fetched.rest.as_ref());
        let legs = match &to {
            To::Users { uids, .. } => uids.len(),
            To::Groups(_) | To::All => 1,
        };
        let since_ms = entry.deliver_at_ms.unwrap_or(0).max(fetched.entry_id.ms);
        let expires_ms = expires_ms(fetched.entry_id, &entry);
        let traced = entry.is_traced();
        let Entry { class, key, payload, except, receipt, priority, .. } = entry;
        let message = Message { id: message_id, class, key, payload, except, expires_ms, receipt, traced };
        Self {
            message: Arc::new(message),
            to,
            legs: smallvec![Leg::new(fetched.attempts, None); legs],
            attempts: fetched.attempts,
            open: legs,
            fan: Fan { done, ..Fan::default() },
            priority,
            size: fetched.size + legs * LEG_BYTES,
            since_ms,
            expires_ms,
            last_failure: None,
        }
    }

    pub(super) fn is_expired(&self, unix_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= unix_ms)
    }

    pub(super) fn is_durable(&self) -> bool {
        self.message.class == Class::Durable
    }

    pub(super) fn is_fan(&self) -> bool {
        matches!(self.to, To::Groups(_) | To::All)
    }

    /// Names the one outcome of a message to groups or to all, once all nodes have answered.
    pub(super) fn fan_outcome(&self) -> Option<Outcome> {
        self.is_fan().then(|| self.fan.outcome())
    }

    /// Names the key of a leg that can have but one: a user's.
    pub(super) fn only_key_of(&self, leg: usize) -> Option<Key> {
        match &self.to {
            To::Users { uids, .. } => uids.get(leg).cloned().map(Key::User),
            To::Groups(_) | To::All => None,
        }
    }

    /// Names the keys of a leg.
    pub(super) fn keys_of(&self, leg: usize) -> impl Iterator<Item = Key> {
        let node = self.legs.get(leg).and_then(|leg| leg.node);
        let (one, several): (Option<Key>, &[Tgid]) = match &self.to {
            To::Users { uids, .. } => (uids.get(leg).cloned().map(Key::User), &[]),
            To::Groups(tgids) => (None, tgids),
            To::All => (Some(Key::of_all(node)), &[]),
        };
        one.into_iter().chain(several.iter().map(move |tgid| Key::of_group(tgid, node)))
    }

    /// Names the keys of all legs that are not finished.
    pub(super) fn open_keys(&self) -> impl Iterator<Item = Key> {
        let open = self.legs.iter().enumerate().filter(|(_, leg)| !leg.is_finished());
        open.flat_map(|(at, _)| self.keys_of(at))
    }

    /// Names the targets of all legs that are not finished, at whatever node: of two messages that share one, the earlier
    /// goes first.
    pub(super) fn open_targets(&self) -> impl Iterator<Item = Key> {
        let looked_up = usize::from(self.is_fan() && self.open > 0);
        let users = if self.is_fan() { &[][..] } else { &self.legs };
        let open = users.iter().enumerate().filter(|(_, leg)| !leg.is_finished()).map(|(at, _)| at);
        (0..looked_up).chain(open).flat_map(|at| self.keys_of(at))
    }

    /// Finds the leg of a node.
    pub(super) fn leg_at(&self, node: Incarnation) -> Option<usize> {
        self.legs.iter().position(|leg| leg.node == Some(node))
    }

    /// Tells whether a node has it, or a leg for it.
    pub(super) fn covers(&self, node: Incarnation) -> bool {
        self.leg_at(node).is_some() || self.fan.done.contains(&node)
    }

    /// Names the targets without an outcome.
    pub(super) fn failed_targets(&self) -> Vec<Box<str>> {
        match &self.to {
            To::Users { uids, .. } => self.users(uids, |uid| uid.as_str().into()),
            To::Groups(tgids) => tgids.iter().map(|tgid| tgid.as_str().into()).collect(),
            To::All => vec!["all".into()],
        }
    }

    /// Tells what is left to be done: legs that have no outcome.
    pub(super) fn rest(&self) -> Option<Rest> {
        match &self.to {
            To::Users { uids, .. } => Some(Rest::Users(self.users(uids, Uid::clone))),
            To::Groups(_) | To::All => {
                Some(&self.fan.done).filter(|done| !done.is_empty()).cloned().map(Rest::NodesBut)
            }
        }
    }

    fn users<T>(&self, uids: &[Uid], show: impl Fn(&Uid) -> T) -> Vec<T> {
        let legs = self.legs.iter().zip(uids);
        legs.filter(|(leg, _)| leg.state != LegState::Done).map(|(_, uid)| show(uid)).collect()
    }
}

impl Leg {
    pub(super) fn new(attempts: u32, node: Option<Incarnation>) -> Self {
        let state = LegState::Waiting;
        Self { state, attempts, node, tried: attempts > 0, stored: false, outcome: None }
    }

    pub(super) fn is_finished(self) -> bool {
        matches!(self.state, LegState::Done | LegState::Dead)
    }
}

/// Tells when an entry is not worth delivering any more.
fn expires_ms(entry_id: EntryId, entry: &Entry) -> Option<u64> {
    let ttl_ms = u64::try_from(entry.ttl?.as_millis()).unwrap_or(u64::MAX);
    Some(entry.deliver_at_ms.unwrap_or(entry_id.ms).saturating_add(ttl_ms))
}

fn aim(entry: &Entry, rest: Option<&Rest>) -> (To, Vec<Incarnation>) {
    let done = match rest {
        Some(Rest::NodesBut(done)) => done.clone(),
        _ => Vec::new(),
    };
    // Of nothing there is one that all share.
    let groups = |of: &[Tgid]| if of.is_empty() { Arc::default() } else { of.into() };
    let users = |uids: &[Uid], of: &[Tgid]| To::Users { uids: wanted(uids, &entry.except, rest), of: groups(of) };
    let to = match &entry.target {
        Target::User(uid) => users(std::slice::from_ref(uid), &[]),
        Target::Users(uids) => users(uids, &[]),
        Target::GroupUser { tgid, uid } => users(std::slice::from_ref(uid), std::slice::from_ref(tgid)),
        Target::GroupsUser { tgids, uid } => users(std::slice::from_ref(uid), tgids),
        Target::Group(tgid) => To::Groups([tgid.clone()].into()),
        Target::Groups(tgids) => To::Groups(tgids.as_slice().into()),
        Target::All => To::All,
    };
    (to, done)
}

// An excepted user is no target: nothing is sent and no outcome counted.
fn wanted(uids: &[Uid], except: &[Uid], rest: Option<&Rest>) -> SmallVec<[Uid; 1]> {
    if except.is_empty() && rest.is_none() {
        return uids.iter().cloned().collect();
    }
    let except: HashSet<&Uid> = except.iter().collect();
    let left: Option<HashSet<&Uid>> = match rest {
        Some(Rest::Users(users)) => Some(users.iter().collect()),
        _ => None,
    };
    let is_left = |uid: &Uid| left.as_ref().is_none_or(|left| left.contains(uid));
    uids.iter().filter(|uid| is_left(uid) && !except.contains(uid)).cloned().collect()
}
