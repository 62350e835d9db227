//! What became of a lane's last messages, so that a repeat is answered and not delivered.
//!
//! Owns the outcomes of messages that may come again: per entry, those of its users or the counts of its fan. Survives a
//! change of the lane's owner, which is what it is for. Only what is final is kept. At the bound the lowest entries go, and
//! a repeat of one of those is delivered twice.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::btree_map::{self, BTreeMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use gim_proto::{EntryId, Payload, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Delivery, Message, Report, Rest, TargetReport};

/// Messages remembered. As many as a lane's owner has read and not settled, unless configured.
const MOST_MESSAGES: usize = 20_000;
/// Users whose outcomes are remembered, over all messages.
const MOST_USERS: usize = 200_000;

/// See the module.
pub(super) struct Memory {
    is_off: bool,
    messages: BTreeMap<EntryId, Known>,
    users: usize,
}

struct Known {
    /// Of the message. A store that lost its data may give its entry's id to another.
    print: u64,
    outcomes: Outcomes,
}

enum Outcomes {
    /// Most messages have one user.
    One(Uid, Outcome),
    Many(HashMap<Uid, Outcome>),
    Fan(Report),
}

/// What is known about a delivery.
pub(super) enum Recall<'a> {
    /// All of it.
    Whole(Report),
    /// What is not, is to be delivered.
    Rest(Rest<'a>),
}

impl Memory {
    pub(super) const fn new(is_on: bool) -> Self {
        Self { is_off: !is_on, messages: BTreeMap::new(), users: 0 }
    }

    pub(super) const fn is_off(&self) -> bool {
        self.is_off
    }

    /// Forgets entries that will not come again.
    pub(super) fn forget_below(&mut self, low_water: Option<EntryId>) {
        let Some(low_water) = low_water else { return };
        while let Some(first) = self.messages.first_entry()
            && *first.key() < low_water
        {
            self.users -= first.remove().outcomes.users();
        }
    }

    /// Whether any of these has come before.
    pub(super) fn knows_any(&self, deliveries: &[Delivery]) -> bool {
        deliveries.iter().any(|delivery| self.known(delivery).is_some())
    }

    /// Tells what became of a delivery when it came before.
    pub(super) fn recall<'a>(&self, delivery: &'a Delivery) -> Recall<'a> {
        let known = self.known(delivery);
        if let Some(Outcomes::Fan(report)) = known
            && delivery.to.addressed().is_empty()
        {
            return Recall::Whole(report.clone());
        }
        let rest = Rest::of(delivery, |to| known?.of(&to.uid).map(TargetReport::Done));
        if rest.delivery.is_none() { Recall::Whole(rest.join(None)) } else { Recall::Rest(rest) }
    }

    /// Remembers what is final of a report. Returns how many messages had to be forgotten for it.
    pub(super) fn remember(&mut self, delivery: &Delivery, report: &Report) -> u64 {
        let Some(entry) = delivery.entry else { return 0 };
        let print = print(&delivery.message);
        if self.messages.get(&entry).is_some_and(|known| known.print != print) {
            self.forget(entry);
        }
        match report {
            Report::Count { .. } => {
                self.forget(entry);
                self.messages.insert(entry, Known { print, outcomes: Outcomes::Fan(report.clone()) });
            }
            Report::Targets(targets) => {
                for (to, target) in delivery.to.addressed().iter().zip(targets) {
                    if let TargetReport::Done(outcome) = target {
                        self.add(entry, print, &to.uid, *outcome);
                    }
                }
            }
        }
        self.keep_within_bounds()
    }

    fn known(&self, delivery: &Delivery) -> Option<&Outcomes> {
        let known = self.messages.get(&delivery.entry?)?;
        (known.print == print(&delivery.message)).then_some(&known.outcomes)
    }

    fn add(&mut self, entry: EntryId, print: u64, uid: &Uid, outcome: Outcome) {
        match self.messages.entry(entry) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Known { print, outcomes: Outcomes::One(uid.clone(), outcome) });
                self.users += 1;
            }
            btree_map::Entry::Occupied(known) => self.users += known.into_mut().outcomes.add(uid, outcome),
        }
    }

    fn forget(&mut self, entry: EntryId) {
        if let Some(known) = self.messages.remove(&entry) {
            self.users -= known.outcomes.users();
        }
    }

    fn keep_within_bounds(&mut self) -> u64 {
        let mut forgotten = 0;
        while self.messages.len() > MOST_MESSAGES || self.users > MOST_USERS {
            let Some((_, known)) = self.messages.pop_first() else { break };
            self.users -= known.outcomes.users();
            forgotten += 1;
        }
        forgotten
    }
}

impl Outcomes {
    fn users(&self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Many(users) => users.len(),
            Self::Fan(_) => 0,
        }
    }

    fn of(&self, uid: &Uid) -> Option<Outcome> {
        match self {
            Self::One(known, outcome) => (known == uid).then_some(*outcome),
            Self::Many(users) => users.get(uid).copied(),
            Self::Fan(_) => None,
        }
    }

    /// Returns by how many users it has grown.
    fn add(&mut self, uid: &Uid, outcome: Outcome) -> usize {
        let before = self.users();
        match self {
            Self::One(known, _) if known == uid => {}
            Self::One(known, first) => *self = Self::Many([(known.clone(), *first), (uid.clone(), outcome)].into()),
            Self::Many(users) => {
                users.entry(uid.clone()).or_insert(outcome);
            }
            // An entry has one target: to a group, or to users.
            Self::Fan(_) => *self = Self::One(uid.clone(), outcome),
        }
        self.users() - before
    }
}

impl Recall<'_> {
    /// Takes out what is to be delivered.
    pub(super) fn take_new(&mut self) -> Option<Delivery> {
        match self {
            Self::Whole(_) => None,
            Self::Rest(rest) => rest.delivery.take().map(Cow::into_owned),
        }
    }

    /// Makes the report. `new` are those for what was taken out, in order.
    pub(super) fn join(self, new: &mut impl Iterator<Item = Report>) -> Report {
        match self {
            Self::Whole(report) => report,
            Self::Rest(rest) => rest.join(new.next()),
        }
    }
}

fn print(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.id.hash(&mut hasher);
    let (Payload::Json(bytes) | Payload::Raw(bytes)) = &message.payload;
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
