//! Whose turn it is, on paused time and without a node.

use super::*;

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn run_at(rpc: &str) -> Registration {
    Registration::new(Incarnation::mint(), rpc, "", "0.1.0", 7)
}

fn snapshot(nodes: &[(&str, Registration)]) -> Snapshot {
    Snapshot::new(1, nodes.iter().map(|(name, node)| (id(name), node.clone())).collect())
}

/// Three nodes at ports of their own.
fn three() -> Vec<(&'static str, Registration)> {
    [("a", "127.0.0.1:1"), ("b", "127.0.0.1:2"), ("c", "127.0.0.1:3")].map(|(name, rpc)| (name, run_at(rpc))).into()
}

struct World {
    choice: Choice,
    snapshot: Snapshot,
}

impl World {
    fn of(nodes: &[(&str, Registration)]) -> Self {
        Self { choice: Choice::default(), snapshot: snapshot(nodes) }
    }

    fn next(&self, tried: &[NodeId]) -> Option<Chosen> {
        self.choice.next(&self.snapshot, tried, &ClientOptions::default())
    }

    /// The nodes of the next calls.
    fn turns(&self, count: usize) -> String {
        (0..count).map(|_| self.next(&[]).unwrap().id.to_string()).collect()
    }
}

#[tokio::test]
async fn every_node_has_its_turn() {
    let world = World::of(&three());
    assert_eq!(world.turns(7), "abcabca");
}

#[tokio::test]
async fn many_services_do_not_all_begin_with_the_same_node() {
    let nodes = snapshot(&three());
    let first = || Choice::anywhere().next(&nodes, &[], &ClientOptions::default()).unwrap().id;
    let begun: std::collections::BTreeSet<NodeId> = (0..200).map(|_| first()).collect();
    assert_eq!(begun.len(), 3);
}

#[tokio::test]
async fn a_node_that_was_tried_is_not_chosen_again() {
    let world = World::of(&three());
    let mut tried = Vec::new();
    for _ in 0..3 {
        let chosen = world.next(&tried).unwrap();
        assert!(!tried.contains(&chosen.id));
        tried.push(chosen.id);
    }
    assert!(world.next(&tried).is_none());
}

#[tokio::test]
async fn where_nobody_is_registered_nobody_is_chosen() {
    let world = World::of(&[]);
    assert!(world.next(&[]).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_did_not_answer_is_chosen_last_for_a_while() {
    let world = World::of(&three());
    let a = world.next(&[]).unwrap();
    world.choice.avoid(&a);
    let chosen = world.turns(6);
    assert!(!chosen.contains('a'), "{chosen}");
    let others = [id("b"), id("c")];
    assert_eq!(world.next(&others).unwrap().id, id("a"), "rather than nobody");

    tokio::time::advance(AVOIDED + Duration::from_millis(1)).await;
    assert!(world.turns(3).contains('a'));
}

#[tokio::test(start_paused = true)]
async fn where_all_are_avoided_each_still_has_its_turn() {
    let world = World::of(&three());
    for _ in 0..3 {
        world.choice.avoid(&world.next(&[]).unwrap());
    }
    assert_eq!(world.turns(6), "abcabc");
}

#[tokio::test]
async fn a_connection_is_kept_as_long_as_the_run_stays_registered() {
    let nodes = three();
    let mut world = World::of(&nodes);
    let before = world.next(&[]).unwrap();
    world.turns(2);
    assert!(world.next(&[]).unwrap().client.is_same(&before.client));
    world.snapshot = snapshot(&nodes[1..]);
    world.turns(1);
    assert_eq!(world.choice.lock().known.len(), 2, "a is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_node_at_another_address_is_another_way_and_in_good_standing() {
    let mut nodes = three();
    let mut world = World::of(&nodes);
    let before = world.next(&[]).unwrap();
    world.choice.avoid(&before);
    nodes[0].1.rpc = "127.0.0.1:9".to_owned();
    world.snapshot = snapshot(&nodes);
    let others = [id("b"), id("c")];
    let after = world.next(&others).unwrap();
    assert!(format!("{:?}", after.client).contains("127.0.0.1:9"), "{after:?}");
    assert!(world.turns(3).contains('a'));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_run_does_not_count_for_the_next_one() {
    let mut nodes = three();
    let mut world = World::of(&nodes);
    let before = world.next(&[]).unwrap();
    nodes[0].1 = run_at("127.0.0.1:1");
    world.snapshot = snapshot(&nodes);
    world.turns(3);
    world.choice.avoid(&before);
    assert!(world.turns(3).contains('a'));
}

#[tokio::test]
async fn an_address_that_is_none_stops_nobody() {
    let mut nodes = three();
    nodes[0].1.rpc = "nowhere".to_owned();
    let world = World::of(&nodes);
    let chosen = world.turns(6);
    assert!(!chosen.contains('a') && chosen.contains('b') && chosen.contains('c'), "{chosen}");
    assert!(world.choice.named(&world.snapshot, &id("a"), &ClientOptions::default()).is_none());
}

#[tokio::test]
async fn a_node_is_found_by_its_name() {
    let world = World::of(&three());
    let named = |name| world.choice.named(&world.snapshot, &id(name), &ClientOptions::default());
    assert_eq!(named("b").unwrap().id, id("b"));
    assert!(named("d").is_none());
}
