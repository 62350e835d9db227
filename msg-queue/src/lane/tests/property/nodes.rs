//! The part of the world that is about groups: which nodes hold them, and what each node was sent.

use super::*;

const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const NODES: usize = 3;

/// A change of who holds what.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Join(usize, usize),
    Leave(usize, usize),
    /// It is another run of the node from now on, with the same groups.
    Restart(usize),
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..GROUPS.len(), 0..NODES).prop_map(|(group, node)| Change::Join(group, node)),
        (0..GROUPS.len(), 0..NODES).prop_map(|(group, node)| Change::Leave(group, node)),
        (0..NODES).prop_map(Change::Restart),
    ]
}

pub(super) struct Nodes {
    up: [Incarnation; NODES],
    holders: BTreeMap<Name, BTreeSet<usize>>,
    entries: BTreeMap<EntryId, Sent>,
}

/// One message to groups or to all.
#[derive(Default)]
struct Sent {
    keys: Vec<Name>,
    /// Nodes that have held one of its groups since it was read.
    owed: BTreeSet<Incarnation>,
    to: BTreeSet<Incarnation>,
    took: BTreeSet<Incarnation>,
    failures: BTreeMap<Incarnation, u32>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let holders = GROUPS.map(|group| (group.to_owned(), [0, 1].into()));
        Self { up: [node(), node(), node()], holders: holders.into(), entries: BTreeMap::new() }
    }

    pub(super) fn up(&self, node: usize) -> Incarnation {
        self.up[node]
    }

    pub(super) fn change(&mut self, change: &Change) {
        match change {
            Change::Join(group, node) => {
                self.holders.entry(GROUPS[*group].to_owned()).or_default().insert(*node);
            }
            Change::Leave(group, node) => {
                self.holders.entry(GROUPS[*group].to_owned()).or_default().remove(node);
            }
            Change::Restart(at) => self.up[*at] = node(),
        }
        let Self { up, holders, entries } = self;
        for sent in entries.values_mut() {
            let held = held(up, holders, &sent.keys);
            sent.owed.retain(|node| held.contains(node));
        }
    }

    pub(super) fn read(&mut self, entry_id: EntryId, spec: &Spec) {
        let owed = held(&self.up, &self.holders, &spec.keys);
        let sent = Sent { keys: spec.keys.clone(), owed: owed.into_iter().collect(), ..Sent::default() };
        assert!(self.entries.insert(entry_id, sent).is_none());
    }

    pub(super) fn settled(&mut self, entry_id: EntryId, how: &Settlement, spec: &Spec) {
        let sent = &self.entries[&entry_id];
        let gave_up = sent.failures.values().any(|failures| *failures == CAP);
        match how {
            Settlement::Ack => {
                assert!(!gave_up);
                assert!(spec.ttl.is_some() || sent.owed.is_subset(&sent.took), "{entry_id} is lost for a node");
            }
            Settlement::Dead(death) => {
                assert!(gave_up);
                let took: Vec<Incarnation> = sent.took.iter().copied().collect();
                let done = match &death.rest {
                    Some(Rest::NodesBut(done)) => done.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
                    _ => Vec::new(),
                };
                assert_eq!(done, took);
            }
            Settlement::Later { .. } => panic!("nothing for a group is put aside"),
        }
        self.entries.remove(&entry_id);
    }

    pub(super) fn others_have_everything(&self, dead: Incarnation) -> bool {
        let has = |sent: &Sent| sent.owed.iter().all(|node| *node == dead || sent.took.contains(node));
        self.entries.values().all(has)
    }
}

fn held(up: &[Incarnation; NODES], holders: &BTreeMap<Name, BTreeSet<usize>>, keys: &[Name]) -> Vec<Incarnation> {
    let holds = |at: &usize| keys.iter().any(|key| holders.get(key).is_none_or(|holders| holders.contains(at)));
    (0..NODES).filter(holds).map(|at| up[at]).collect()
}

impl World {
    pub(super) fn fan_out(&mut self, entry_id: EntryId, but: &[Incarnation]) {
        let Nodes { up, holders, .. } = &self.nodes;
        let mut nodes = held(up, holders, &self.spec(entry_id).keys);
        nodes.retain(|node| !but.contains(node));
        let waits = self.lane.fan_out(entry_id, &nodes, self.now);
        for node in nodes.into_iter().filter(|node| !waits.contains(node)) {
            self.start_at(entry_id, node);
        }
    }

    fn start_at(&mut self, entry_id: EntryId, node: Incarnation) {
        let is_flying = |other: EntryId, round| {
            let mut flights = self.flights.iter().filter(|flight| flight.to == To::Node(node));
            flights.any(|flight| flight.entry_id == other && flight.round >= round)
        };
        assert!(!is_flying(entry_id, 0), "sent while it is under way");
        let sent = &self.nodes.entries[&entry_id];
        assert!(!sent.took.contains(&node), "delivered to a node twice");
        for (other, earlier) in self.nodes.entries.range(..entry_id).filter(|(_, other)| other.shares_with(sent)) {
            if earlier.to.contains(&node) && !self.is_over_at(*other, node) {
                assert!(is_flying(*other, self.round), "{entry_id} passes {other}");
            }
        }
        let mut later = self.nodes.entries.range(entry_id..).skip(1);
        let is_behind = later.any(|(_, later)| later.shares_with(sent) && later.to.contains(&node));
        assert!(sent.to.contains(&node) || !is_behind, "{entry_id} comes behind a later one");
        self.nodes.entries.entry(entry_id).or_default().to.insert(node);
        self.flights.push(Flight { entry_id, to: To::Node(node), round: self.round });
    }

    /// Tells whether the lane sends an entry to a node no more.
    fn is_over_at(&self, entry_id: EntryId, node: Incarnation) -> bool {
        let Some(pending) = self.lane.window.get(entry_id) else { return true };
        pending.leg_at(node).is_none_or(|leg| pending.legs[leg].is_finished())
    }

    pub(super) fn answer_node(&mut self, entry_id: EntryId, node: Incarnation, how: How) {
        let sent = self.nodes.entries.entry(entry_id).or_default();
        let answer = match how {
            How::Done => {
                assert!(sent.took.insert(node));
                COUNT
            }
            How::Fail => {
                *sent.failures.entry(node).or_default() += 1;
                FAILED
            }
            How::Postpone => Answer::Postponed { wait: Duration::from_millis(entry_id.seq % 3 * 20) },
        };
        self.lane.answered(entry_id, node, answer, self.now);
    }
}

impl Sent {
    fn shares_with(&self, other: &Self) -> bool {
        self.keys.iter().any(|key| other.keys.contains(key))
    }
}
