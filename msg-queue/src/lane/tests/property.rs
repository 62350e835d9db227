//! Random schedules of entries, takes, answers and time, against the promises of a lane.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::super::pending::LegState;
use super::*;

type Name = String;

/// What may happen next.
#[derive(Clone, Debug)]
enum Op {
    Read(usize),
    Take(usize),
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
    leg: u32,
    keys: Vec<Name>,
    /// For groups: nodes that have not answered.
    nodes: Vec<Incarnation>,
    round: u64,
}

struct World {
    lane: Lane,
    now: Now,
    specs: Vec<Spec>,
    unread: VecDeque<Fetched>,
    later: BTreeMap<(u64, EntryId), Fetched>,
    flights: Vec<Flight>,
    /// Per key: read for the first time and not finished, in order.
    unfinished: BTreeMap<Name, BTreeSet<EntryId>>,
    /// Failed attempts of legs.
    attempts: BTreeMap<(EntryId, Name), u32>,
    /// Nodes that took a group message, and users that took a message.
    took: BTreeSet<(EntryId, String)>,
    settled: BTreeSet<EntryId>,
    nodes: [Incarnation; 2],
    round: u64,
}

const CAP: u32 = 3;

impl World {
    fn new(specs: Vec<Spec>) -> Self {
        let unread = specs.iter().enumerate().map(|(seq, spec)| {
            let entry_id = id(seq as u64);
            let message_id = MessageId::of_entry(0, entry_id);
            let body = Entry::decode(&spec.fields()).map(Arc::new);
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
            flights: Vec::new(),
            unfinished: BTreeMap::new(),
            attempts: BTreeMap::new(),
            took: BTreeSet::new(),
            settled: BTreeSet::new(),
            nodes: [node(), node()],
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
            if !due {
                for key in self.spec(entry.entry_id).keys {
                    self.unfinished.entry(key).or_default().insert(entry.entry_id);
                }
            }
            self.lane.admit(entry, self.now);
        }
        assert!(self.lane.messages() <= 12, "the window is bounded");
        self.collect();
    }

    fn take(&mut self, most: usize) {
        self.round += 1;
        let jobs = self.lane.take_ready(self.now, most);
        assert!(jobs.len() <= most);
        // What has expired is out of the way before anything of the round starts.
        self.collect();
        for job in jobs {
            match job.aim {
                Aim::Users { legs, .. } => {
                    for (leg, uid) in legs {
                        let key = uid.as_str().to_owned();
                        assert!(!self.took.contains(&(job.entry_id, key.clone())), "delivered twice");
                        self.start(job.entry_id, leg, vec![key], Vec::new());
                    }
                }
                Aim::Groups { done, .. } | Aim::All { done } => {
                    let nodes: Vec<_> = self.nodes.into_iter().filter(|node| !done.contains(node)).collect();
                    let again = |node: &Incarnation| self.took.contains(&(job.entry_id, node.to_string()));
                    assert!(!nodes.iter().any(again), "delivered to a node twice");
                    self.start(job.entry_id, 0, self.spec(job.entry_id).keys, nodes.clone());
                    self.lane.fan_out(job.entry_id, nodes.len(), self.now);
                }
            }
        }
        self.nothing_is_overlooked();
    }

    /// A lane that says it has nothing to take has no leg that could go.
    fn nothing_is_overlooked(&self) {
        if self.lane.has_ready(self.now) {
            return;
        }
        for (entry_id, pending) in &self.lane.window {
            for (at, leg) in pending.legs.iter().enumerate() {
                let waits = leg.state == LegState::Waiting;
                let free = pending.keys_of(at).all(|key| self.lane.keys.may_fly(&key, *entry_id, self.lane.round + 1));
                assert!(!(waits && free), "{entry_id} is overlooked");
            }
        }
    }

    fn start(&mut self, entry_id: EntryId, leg: u32, keys: Vec<Name>, nodes: Vec<Incarnation>) {
        for key in &keys {
            let earlier = self.unfinished.get(key).into_iter().flatten().filter(|other| **other < entry_id);
            for other in earlier {
                let with = self
                    .flights
                    .iter()
                    .any(|flight| flight.entry_id == *other && flight.round == self.round && flight.keys.contains(key));
                assert!(with, "{entry_id} of {key} passes {other}");
            }
        }
        self.flights.push(Flight { entry_id, leg, keys, nodes, round: self.round });
    }

    fn answer(&mut self, which: usize, how: How) {
        if self.flights.is_empty() {
            return;
        }
        let which = which % self.flights.len();
        let flight = self.flights[which].clone();
        if self.spec(flight.entry_id).is_users() {
            self.flights.remove(which);
            self.answer_user(&flight, how);
        } else if let Some(node) = flight.nodes.last().copied() {
            self.answer_node(which, node, how);
        }
        self.collect();
    }

    fn answer_user(&mut self, flight: &Flight, how: How) {
        let Flight { entry_id, leg, keys, .. } = flight;
        let verdict = match how {
            How::Done => {
                assert!(self.took.insert((*entry_id, keys[0].clone())));
                self.finish(*entry_id, keys);
                Verdict::Done(Outcome::Offered)
            }
            How::Fail => {
                self.failed(*entry_id, keys);
                Verdict::Failed(Failure::Unknown)
            }
            How::Postpone => Verdict::Postponed,
        };
        self.lane.complete(LegId { entry_id: *entry_id, leg: *leg }, verdict, self.now);
    }

    fn answer_node(&mut self, which: usize, node: Incarnation, how: How) {
        let flight = &mut self.flights[which];
        flight.nodes.pop();
        let entry_id = flight.entry_id;
        let answer = if matches!(how, How::Done) { COUNT } else { FAILED };
        if matches!(how, How::Done) {
            self.took.insert((entry_id, node.to_string()));
        }
        if self.flights[which].nodes.is_empty() {
            let flight = self.flights.remove(which);
            let all = self.nodes.iter().all(|node| self.took.contains(&(entry_id, node.to_string())));
            if all { self.finish(entry_id, &flight.keys) } else { self.failed(entry_id, &flight.keys) }
        }
        self.lane.answered(entry_id, node, answer, self.now);
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
            let flying: Vec<Name> =
                self.flights.iter().filter(|flight| flight.entry_id == entry_id).flat_map(|f| f.keys.clone()).collect();
            let keys: Vec<Name> = self.spec(entry_id).keys.into_iter().filter(|key| !flying.contains(key)).collect();
            self.finish(entry_id, &keys);
        }
        for (entry_id, how) in self.lane.take_settlements() {
            assert!(!self.settled.contains(&entry_id), "{entry_id} settled twice");
            assert!(!self.flights.iter().any(|flight| flight.entry_id == entry_id), "settled while under way");
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
        let body = Entry::decode(&spec.fields()).map(Arc::new);
        let entry = Fetched { entry_id, message_id, size: 10, attempts, rest, duplicate: false, body };
        assert!(self.later.insert((due_ms, entry_id), entry).is_none());
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Read(most) => self.read(*most),
            Op::Take(most) => self.take(*most),
            Op::Answer(which, how) => self.answer(*which, *how),
            Op::Pass(ms) => self.now = later(self.now, *ms),
        }
    }

    /// Lets everything come to its end.
    fn finish_all(&mut self) {
        for _ in 0..20 * self.specs.len() + 100 {
            self.read(6);
            self.take(9);
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
    }
}
