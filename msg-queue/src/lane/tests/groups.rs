//! What a lane promises of messages to groups and to all, which go to several nodes.

use super::*;

fn to_group(seq: u64, tgid: &'static str) -> Fetched {
    fetched(seq, &[("tgid", tgid)])
}

/// Takes what is ready and looks it up. Returns what is sent to each node.
fn send(lane: &mut Lane, nodes: &[Incarnation], now: Now) -> Vec<Vec<u64>> {
    let mut sent = vec![Vec::new(); nodes.len()];
    for job in lane.take_ready(now, 99) {
        let goes_to: Vec<Incarnation> = nodes.iter().filter(|node| !but(&job).contains(node)).copied().collect();
        let held = lane.fan_out(job.entry_id, &goes_to, now);
        for (node, sent) in nodes.iter().zip(&mut sent) {
            let goes = goes_to.contains(node) && !held.contains(node);
            sent.extend(goes.then_some(job.entry_id.seq));
        }
    }
    sent
}

fn answer(lane: &mut Lane, seqs: &[u64], node: Incarnation, answer: Answer, now: Now) {
    seqs.iter().for_each(|seq| lane.answered(id(*seq), node, answer, now));
}

/// A message that one node took and another did not.
fn half_sent(lane: &mut Lane, entry: Fetched) -> [Incarnation; 2] {
    let (up, down) = (node(), node());
    let seq = entry.entry_id.seq;
    lane.admit(entry, START);
    assert_eq!(send(lane, &[up, down], START), [[seq], [seq]]);
    answer(lane, &[seq], up, COUNT, START);
    answer(lane, &[seq], down, FAILED, START);
    [up, down]
}

#[test]
fn a_node_that_fails_holds_back_what_goes_to_it_and_nothing_else() {
    for targets in [("tgid", "a"), ("tgid_list", r#"["a","b"]"#), ("all", "1")] {
        let mut lane = lane();
        let nodes @ [up, down] = half_sent(&mut lane, fetched(1, &[targets]));
        lane.admit(fetched(2, &[targets]), START);
        lane.admit(fetched(3, &[targets]), START);
        assert_eq!(send(&mut lane, &nodes, START), [vec![2, 3], vec![]]);
        answer(&mut lane, &[2, 3], up, COUNT, START);
        assert!(settled(&mut lane).is_empty());
        let now = later(START, 1_000);
        assert_eq!(send(&mut lane, &nodes, now), [vec![], vec![1, 2, 3]]);
        answer(&mut lane, &[1, 2, 3], down, COUNT, now);
        assert_eq!(settled(&mut lane), [1, 2, 3].map(|seq| (seq, Settlement::Ack)));
        assert_eq!(outcomes(&mut lane).len(), 3);
    }
}

#[test]
fn what_is_under_way_to_one_node_holds_back_no_other_node() {
    let mut lane = lane();
    let nodes @ [fast, slow] = [node(), node()];
    lane.admit(to_group(1, "a"), START);
    send(&mut lane, &nodes, START);
    answer(&mut lane, &[1], fast, COUNT, START);
    lane.admit(to_group(2, "a"), START);
    assert_eq!(send(&mut lane, &nodes, START), [vec![2], vec![]]);
    answer(&mut lane, &[2], fast, COUNT, START);
    answer(&mut lane, &[1], slow, COUNT, START);
    assert_eq!(send(&mut lane, &nodes, START), [vec![], vec![2]]);
}

#[test]
fn a_group_of_several_waits_at_a_node_for_any_of_them() {
    let mut lane = lane();
    let nodes @ [up, _] = half_sent(&mut lane, to_group(1, "a"));
    lane.admit(fetched(2, &[("tgid_list", r#"["a","b"]"#)]), START);
    lane.admit(to_group(3, "b"), START);
    lane.admit(to_group(4, "c"), START);
    assert_eq!(send(&mut lane, &nodes, START), [vec![2, 3, 4], vec![4]]);
    answer(&mut lane, &[2, 3, 4], up, COUNT, START);
    assert_eq!(send(&mut lane, &nodes, later(START, 1_000)), [vec![], vec![1, 2, 3]]);
}

#[test]
fn a_node_that_is_gone_when_its_retry_is_looked_up_is_not_waited_for() {
    let mut lane = lane();
    let [up, _gone] = half_sent(&mut lane, to_group(1, "a"));
    lane.admit(to_group(2, "a"), START);
    let now = later(START, 1_000);
    assert_eq!(send(&mut lane, &[up], now), [[2]]);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
    answer(&mut lane, &[2], up, COUNT, now);
    assert_eq!(outcomes(&mut lane), [(Outcome::Offered, 1), (Outcome::Offered, 1)]);
}

#[test]
fn another_run_of_a_node_gets_what_the_one_before_it_did_not_and_in_order() {
    let mut lane = lane();
    let [up, _gone] = half_sent(&mut lane, to_group(1, "a"));
    lane.admit(to_group(2, "a"), START);
    let new = node();
    let nodes = [up, new];
    // The new run is met by a later message first.
    assert_eq!(send(&mut lane, &nodes, START), [vec![2], vec![]]);
    assert_eq!(send(&mut lane, &nodes, START), [vec![], vec![1, 2]]);
}

#[test]
fn after_the_last_attempt_at_one_node_a_message_is_dead_and_the_next_goes_there() {
    let mut lane = lane();
    let nodes @ [up, down] = half_sent(&mut lane, to_group(1, "a"));
    lane.admit(to_group(2, "a"), START);
    send(&mut lane, &nodes, START);
    answer(&mut lane, &[2], up, COUNT, START);
    let mut now = START;
    for failures in 2..=3 {
        now = later(now, 1_000);
        assert_eq!(send(&mut lane, &nodes, now), [vec![], vec![1, 2]], "{failures}");
        answer(&mut lane, &[1, 2], down, FAILED, now);
    }
    let dead = dead(&mut lane);
    assert_eq!((dead.reason, dead.attempts, &*dead.error), (DeadReason::Attempts, 3, "unknown"));
    assert_eq!(*dead.failed_targets, [Box::from("a")]);
    assert_eq!(dead.rest, Some(Rest::NodesBut(vec![up])));
    now = later(now, 1_000);
    assert_eq!(send(&mut lane, &nodes, now), [vec![], vec![2]]);
    answer(&mut lane, &[2], down, COUNT, now);
    assert_eq!(settled(&mut lane), [(2, Settlement::Ack)]);
}

#[test]
fn what_expires_while_a_node_is_waited_for_keeps_the_outcome_it_has() {
    let short = |seq| fetched(seq, &[("tgid", "a"), ("ttl_ms", "500")]);
    let mut lane = lane();
    let nodes = half_sent(&mut lane, short(1));
    lane.admit(short(2), START);
    assert_eq!(send(&mut lane, &nodes, START), [vec![2], vec![]]);
    answer(&mut lane, &[2], nodes[0], Answer::Count { offered: 0, slow: 0 }, START);
    assert_eq!(send(&mut lane, &nodes, later(START, 1_000)), [[]; 2] as [[u64; 0]; 2]);
    assert_eq!(outcomes(&mut lane), [(Outcome::Offered, 1), (Outcome::Expired, 1)]);
    assert_eq!(settled(&mut lane).len(), 2);
}

#[test]
fn the_lane_stops_reading_when_one_node_holds_back_too_many_of_a_group() {
    let mut lane = lane();
    let nodes @ [up, down] = half_sent(&mut lane, to_group(1, "a"));
    for seq in 2..=10 {
        assert!(lane.has_room());
        lane.admit(to_group(seq, "a"), START);
        send(&mut lane, &nodes, START);
        answer(&mut lane, &[seq], up, COUNT, START);
    }
    assert!(!lane.has_room());
    let now = later(START, 1_000);
    send(&mut lane, &nodes, now);
    answer(&mut lane, &(1..=10).collect::<Vec<_>>(), down, COUNT, now);
    assert!(lane.has_room());
    assert_eq!(settled(&mut lane).len(), 10);
}

#[test]
fn a_node_that_takes_nothing_right_now_is_waited_for_and_costs_no_attempt() {
    let mut lane = lane();
    let node = node();
    lane.admit(to_group(1, "a"), START);
    let mut now = START;
    for _ in 0..50 {
        assert_eq!(send(&mut lane, &[node], now), [[1]]);
        answer(&mut lane, &[1], node, Answer::Postponed { wait: Duration::from_millis(100) }, now);
        assert_eq!(lane.next_retry_ms(), Some(now.steady_ms + 100));
        now = later(now, 100);
    }
    assert_eq!(send(&mut lane, &[node], now), [[1]]);
    answer(&mut lane, &[1], node, COUNT, now);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
}

#[test]
fn a_look_up_that_fails_changes_nothing() {
    let mut lane = lane();
    let nodes @ [_, down] = half_sent(&mut lane, to_group(1, "a"));
    lane.admit(to_group(2, "a"), START);
    let now = later(START, 1_000);
    for _ in 0..50 {
        let jobs = lane.take_ready(now, 9);
        assert_eq!(seqs(&jobs), [1, 2]);
        jobs.iter().for_each(|job| lane.not_routed(job, now));
    }
    assert_eq!(send(&mut lane, &nodes, now), [vec![2], vec![1, 2]]);
    answer(&mut lane, &[1], down, COUNT, now);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
}

#[test]
fn urgency_does_not_pass_what_waits_for_a_node() {
    let mut lane = lane();
    let nodes = half_sent(&mut lane, to_group(1, "a"));
    lane.admit(fetched(2, &[("tgid", "a"), ("priority", "high")]), START);
    assert_eq!(send(&mut lane, &nodes, later(START, 1_000)), [vec![2], vec![1, 2]]);
}

#[test]
fn a_message_to_many_nodes_weighs_more_than_one_to_few() {
    let mut lane = lane();
    let nodes = [node(), node(), node()];
    lane.admit(to_group(1, "a"), START);
    send(&mut lane, &nodes, START);
    assert_eq!(lane.bytes(), 100 + 4 * LEG_BYTES);
    nodes.into_iter().for_each(|node| answer(&mut lane, &[1], node, COUNT, START));
    assert_eq!(lane.bytes(), 0);
}
