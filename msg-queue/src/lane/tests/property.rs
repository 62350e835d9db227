//! Random schedules of entries, takes, look-ups, answers, time, and nodes that come and go, against the promises of a lane.

mod nodes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use self::nodes::{Change, Nodes, change};
use super::super::pending::LegState;
use super::*;

type Name = String;

/// What may happen next.
#[derive(Clone, Debug)]
enum Op {
    Read(usize),
    /// Nothing is taken while a look-up is under way.
    Take(usize),
    /// The look-up is answered, or fails.
    Route(bool),
    Change(Change),
    /// Which of those under way is answered, and how.
    Answer(usize, How),
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Done,
    Fail,
    Postpone,
}

#[derive(Clone, Debug)]
struct Spec {
    keys: Vec<Name>,
    priority: &'static str,
    ttl: Option<u64>,
}

fn spec() -> impl Strategy<Value = Spec> {
    let users = |most| prop::collection::btree_set((0..4_u8).prop_map(|n| format!("u{n}")), 1..=most);
    let groups = |most| prop::collection::btree_set((0..3_u8).prop_map(|n| format!("g{n}")), 1..=most);
    let keys =
        prop_oneof![4 => users(1), 2 => users(3), 2 => groups(1), 2 => groups(2), 1 => Just(["all".to_owned()].into())];
    let priority = prop_oneof![6 => Just("normal"), 1 => Just("high"), 1 => Just("low")];
    (keys, priority, prop::option::weighted(0.1, 1..2_000_u64)).prop_map(|(keys, priority, ttl)| Spec {
        keys: keys.into_iter().collect(),
        priority,
        ttl,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let how = prop_oneof![5 => Just(How::Done), 3 => Just(How::Fail), 1 => Just(How::Postpone)];
    prop_oneof![
        3 => (1..6_usize).prop_map(Op::Read),
        3 => (1..9_usize).prop_map(Op::Take),
        4 => prop::bool::weighted(0.8).prop_map(Op::Route),
        1 => change().prop_map(Op::Change),
        6 => (0..99_usize, how).prop_map(|(which, how)| Op::Answer(which, how)),
        2 => (0..400_u64).prop_map(Op::Pass),
    ]
}

impl Spec {
    fn fields(&self) -> Fields {
        let list = serde_json::to_string(&self.keys).unwrap();
        let (name, value) = match self.keys[0].as_bytes()[0] {
            b'u' => ("to_uids", list),
            b'g' => ("tgid_list", list),
            _ => ("all", "1".to_owned()),
        };
        let mut fields: Fields = [("data", "{}"), ("priority", self.priority), (name, &value)]
            .map(|(name, value)| (name, value.to_owned()))
            .into_iter()
            .collect();
        if let Some(ttl) = self.ttl {
            fields.push("ttl_ms", ttl.to_string());
        }
        fields
    }

    fn is_users(&self) -> bool {
        self.keys[0].starts_with('u')
    }
}

/// Something under way.
#[derive(Clone, Debug)]
struct Flight {
    entry_id: EntryId,
    to: To,
    round: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    User(u32, Name),
    Node(Incarnation),
}

struct World {
    lane: Lane,
    now: Now,
    specs: Vec<Spec>,
    unread: VecDeque<Fetched>,
    later: BTreeMap<(u64, EntryId), Fetched>,
    /// Being looked up.
    routing: Vec<Job>,
    flights: Vec<Flight>,
    /// Per user: read for the first time and not finished, in order.
    unfinished: BTreeMap<Name, BTreeSet<EntryId>>,
    /// Failed attempts for users.
    attempts: BTreeMap<(EntryId, Name), u32>,
    /// Users that took a message.
    took: BTreeSet<(EntryId, String)>,
    settled: BTreeSet<EntryId>,
    nodes: Nodes,
    round: u64,
}

const CAP: u32 = 3;

impl World {
    fn new(specs: Vec<Spec>) -> Self {
        let unread = specs.iter().enumerate().map(|(seq, spec)| {
            let entry_id = id(seq as u64);
            let message_id = MessageId::of_entry(0, entry_id);
            let body = Entry::decode(&spec.fields());
            Fetched { entry_id, message_id, size: 10, attempts: 0, rest: None, duplicate: false, body }
        });
        let limits = Limits {
            unsettled_messages: 12,
            unsettled_bytes: 100_000,
            held_per_target: 6,
            persistence: Persistence { attempts: CAP, backoff: Backoff::default() },
            longest_wait: Duration::from_millis(60),
        };
        Self {
            lane: lane_with(limits),
            now: START,
            unread: unread.collect(),
            specs,
            later: BTreeMap::new(),
            routing: Vec::new(),
            flights: Vec::new(),
            unfinished: BTreeMap::new(),
            attempts: BTreeMap::new(),
            took: BTreeSet::new(),
            settled: BTreeSet::new(),
            nodes: Nodes::new(),
            round: 0,
        }
    }

    fn spec(&self, entry_id: EntryId) -> Spec {
        self.specs[entry_id.seq as usize].clone()
    }

    fn read(&mut self, most: usize) {
        let Some(room) = self.lane.room(most) else { return };
        for _ in 0..room.entries {
            let due = self.later.first_key_value().is_some_and(|((due_ms, _), _)| *due_ms <= self.now.unix_ms);
            let next = if due { self.later.pop_first().map(|(_, entry)| entry) } else { self.unread.pop_front() };
            let Some(entry) = next else { break };
            let spec = self.spec(entry.entry_id);
            match spec.is_users() {
                true if !due => self.unfinish(entry.entry_id, spec.keys),
                true => {}
                false => self.nodes.read(entry.entry_id, &spec),
            }
            self.lane.admit(entry, self.now);
        }
        assert!(self.lane.messages() <= self.lane.limits.unsettled_messages, "the window is bounded");
        self.collect();
    }

    fn unfinish(&mut self, entry_id: EntryId, keys: Vec<Name>) {
        for key in keys {
            self.unfinished.entry(key).or_default().insert(entry_id);
        }
    }

    fn take(&mut self, most: usize) {
        if !self.routing.is_empty() {
            return;
        }
        self.round += 1;
        let jobs = self.lane.take_ready(self.now, most);
        assert!(jobs.len() <= most);
        // What has expired is out of the way before anything of the round starts.
        self.collect();
        self.nothing_is_overlooked();
        self.routing = jobs;
    }

    fn route(&mut self, found: bool) {
        for job in std::mem::take(&mut self.routing) {
            match &job.aim {
                _ if !found => self.lane.not_routed(&job, self.now),
                Aim::Users { legs, .. } => {
                    for (leg, uid) in legs {
                        self.start(job.entry_id, *leg, uid.as_str());
                    }
                }
                Aim::Groups { but, .. } | Aim::All { but } => self.fan_out(job.entry_id, but),
            }
        }
        self.collect();
        self.nothing_is_overlooked();
    }

    /// A lane that says it has nothing to take has no leg that could go.
    fn nothing_is_overlooked(&self) {
        if self.lane.has_ready(self.now) || !self.routing.is_empty() {
            return;
        }
        for (entry_id, pending) in self.lane.window.iter() {
            for (at, leg) in pending.legs.iter().enumerate() {
                let waits = leg.state == LegState::Waiting;
                let free = pending.keys_of(at).all(|key| self.lane.keys.may_fly(&key, entry_id, self.lane.round + 1));
                assert!(!(waits && free), "{entry_id} is overlooked");
            }
        }
    }

    fn start(&mut self, entry_id: EntryId, leg: u32, user: &str) {
        assert!(!self.took.contains(&(entry_id, user.to_owned())), "delivered twice");
        let to = |leg: u32| To::User(leg, user.to_owned());
        let earlier = self.unfinished.get(user).into_iter().flatten().filter(|other| **other < entry_id);
        for other in earlier {
            let is_to_him = |flight: &&Flight| matches!(&flight.to, To::User(_, name) if name == user);
            let mut flights = self.flights.iter().filter(is_to_him);
            let with = flights.any(|flight| flight.entry_id == *other && flight.round == self.round);
            assert!(with, "{entry_id} for {user} passes {other}");
        }
        self.flights.push(Flight { entry_id, to: to(leg), round: self.round });
    }

    fn answer(&mut self, which: usize, how: How) {
        if self.flights.is_empty() {
            return;
        }
        let flight = self.flights.remove(which % self.flights.len());
        match flight.to {
            To::User(leg, user) => self.answer_user(flight.entry_id, leg, &user, how),
            To::Node(node) => self.answer_node(flight.entry_id, node, how),
        }
        self.collect();
    }

    fn answer_user(&mut self, entry_id: EntryId, leg: u32, user: &str, how: How) {
        let verdict = match how {
            How::Done => {
                assert!(self.took.insert((entry_id, user.to_owned())));
                self.finish(entry_id, &[user.to_owned()]);
                Verdict::Done(Outcome::Offered)
            }
            How::Fail => {
                self.failed(entry_id, &[user.to_owned()]);
                Verdict::Failed(Failure::Unknown)
            }
            How::Postpone => Verdict::Postponed { wait: Duration::from_millis(u64::from(leg) * 20) },
        };
        self.lane.complete(LegId { entry_id, leg }, verdict, self.now);
    }

    fn failed(&mut self, entry_id: EntryId, keys: &[Name]) {
        let attempts = self.attempts.entry((entry_id, keys[0].clone())).or_default();
        *attempts += 1;
        if *attempts == CAP {
            self.finish(entry_id, keys);
        }
    }

    fn finish(&mut self, entry_id: EntryId, keys: &[Name]) {
        for key in keys {
            self.unfinished.entry(key.clone()).or_default().remove(&entry_id);
        }
    }

    /// Takes what the lane has decided.
    fn collect(&mut self) {
        let expired = |event| match event {
            Event::Outcome { message_id, outcome: Outcome::Expired, .. } => Some(message_id),
            _ => None,
        };
        let expired: Vec<MessageId> = self.lane.drain_events().filter_map(expired).collect();
        for message_id in expired {
            let seq = (0..self.specs.len() as u64).find(|seq| MessageId::of_entry(0, id(*seq)) == message_id);
            let entry_id = id(seq.unwrap());
            let is_flying = |key: &Name| {
                let is_to_him = |flight: &Flight| matches!(&flight.to, To::User(_, name) if name == key);
                self.flights.iter().any(|flight| flight.entry_id == entry_id && is_to_him(flight))
            };
            let keys: Vec<Name> = self.spec(entry_id).keys.into_iter().filter(|key| !is_flying(key)).collect();
            self.finish(entry_id, &keys);
        }
        for (entry_id, how) in self.lane.take_settlements() {
            assert!(!self.settled.contains(&entry_id), "{entry_id} settled twice");
            assert!(!self.flights.iter().any(|flight| flight.entry_id == entry_id), "settled while under way");
            if !self.spec(entry_id).is_users() {
                self.nodes.settled(entry_id, &how, &self.spec(entry_id));
                self.settled.insert(entry_id);
                continue;
            }
            match how {
                Settlement::Ack | Settlement::Dead(_) => {
                    self.settled.insert(entry_id);
                    assert!(self.unfinished.values().all(|ids| !ids.contains(&entry_id)), "{entry_id} has no outcome");
                }
                Settlement::Later { due_ms, attempts, rest } => self.put_aside(entry_id, due_ms, attempts, rest),
            }
        }
    }

    fn put_aside(&mut self, entry_id: EntryId, due_ms: u64, attempts: u32, rest: Option<Rest>) {
        let spec = self.spec(entry_id);
        let keys: Vec<Name> = match &rest {
            Some(Rest::Users(uids)) => uids.iter().map(|uid| uid.as_str().to_owned()).collect(),
            _ => spec.keys.clone(),
        };
        for key in keys {
            self.attempts.insert((entry_id, key.clone()), attempts);
            self.unfinished.entry(key).or_default().insert(entry_id);
        }
        let message_id = MessageId::of_entry(0, entry_id);
        let body = Entry::decode(&spec.fields());
        let entry = Fetched { entry_id, message_id, size: 10, attempts, rest, duplicate: false, body };
        assert!(self.later.insert((due_ms, entry_id), entry).is_none());
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Read(most) => self.read(*most),
            Op::Take(most) => self.take(*most),
            Op::Route(found) => self.route(*found),
            Op::Change(change) => self.nodes.change(change),
            Op::Answer(which, how) => self.answer(*which, *how),
            Op::Pass(ms) => self.now = later(self.now, *ms),
        }
    }

    /// Answers everything that is not under way to a node.
    fn answer_all_but(&mut self, node: Incarnation) {
        while let Some(which) = self.flights.iter().position(|flight| flight.to != To::Node(node)) {
            self.answer(which, How::Done);
        }
    }

    /// Lets everything come to its end.
    fn finish_all(&mut self) {
        for _ in 0..20 * self.specs.len() + 100 {
            self.read(6);
            self.take(9);
            self.route(true);
            while !self.flights.is_empty() {
                self.answer(0, How::Done);
            }
            self.now = later(self.now, 500);
        }
    }
}

fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(1_000), ..default }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn every_entry_settles_once_in_the_order_of_its_targets_and_nothing_is_delivered_twice(
        specs in prop::collection::vec(spec(), 1..40),
        ops in prop::collection::vec(op(), 0..200),
    ) {
        let mut world = World::new(specs);
        ops.iter().for_each(|op| world.step(op));
        world.finish_all();
        prop_assert_eq!(world.settled.len(), world.specs.len());
        prop_assert_eq!((world.lane.messages(), world.lane.bytes()), (0, 0));
        prop_assert!(world.lane.has_room());
        prop_assert_eq!(world.lane.next_retry_ms(), None);
        prop_assert!(world.lane.keys.is_empty() || !world.later.is_empty());
        prop_assert!(world.lane.spread.is_empty());
    }

    #[test]
    fn a_node_that_never_answers_holds_up_nobody_but_itself(
        specs in prop::collection::vec(spec(), 1..40),
        rounds in prop::collection::vec((1..6_usize, 1..9_usize), 1..40),
    ) {
        let mut world = World::new(specs);
        world.lane.limits.unsettled_messages = 100;
        let dead = world.nodes.up(0);
        for (read, take) in rounds {
            world.read(read);
            while world.lane.has_ready(world.now) {
                world.take(take);
                world.route(true);
                world.answer_all_but(dead);
            }
            prop_assert!(world.nodes.others_have_everything(dead));
            world.now = later(world.now, 20);
        }
    }
}
