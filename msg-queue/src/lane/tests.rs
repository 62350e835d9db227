//! What a lane promises, one sentence at a time; [`property`] attacks the same promises with random schedules.

mod groups;
mod property;
mod told;

use std::time::Duration;

use gim_proto::{DeadReason, Entry, Fields, MessageId};

use super::pending::LEG_BYTES;
use super::*;
use crate::source::{Death, Fetched, Rest};

const START: Now = Now { unix_ms: 1_000_000, steady_ms: 0 };

fn limits() -> Limits {
    Limits {
        unsettled_messages: 100,
        unsettled_bytes: 10_000,
        held_per_target: 10,
        persistence: Persistence { attempts: 3, backoff: Backoff::default() },
        longest_wait: LONGEST_WAIT,
    }
}

fn lane() -> Lane {
    lane_with(limits())
}

fn lane_with(limits: Limits) -> Lane {
    Lane::new(limits, Jitter::seeded(1))
}

fn later(now: Now, ms: u64) -> Now {
    Now { unix_ms: now.unix_ms + ms, steady_ms: now.steady_ms + ms }
}

fn id(seq: u64) -> EntryId {
    EntryId { ms: START.unix_ms, seq }
}

fn fetched(seq: u64, pairs: &[(&'static str, &'static str)]) -> Fetched {
    let fields: Fields = [("data", "{}")].iter().chain(pairs).copied().collect();
    let body = Entry::decode(&fields);
    let entry_id = id(seq);
    let message_id = MessageId::of_entry(0, entry_id);
    Fetched { entry_id, message_id, size: 100, attempts: 0, rest: None, duplicate: false, body }
}

fn to(seq: u64, uid: &'static str) -> Fetched {
    fetched(seq, &[("to_uid", uid)])
}

fn seqs(jobs: &[Job]) -> Vec<u64> {
    jobs.iter().map(|job| job.entry_id.seq).collect()
}

fn users(job: &Job) -> Vec<&str> {
    match &job.aim {
        Aim::Users { legs, .. } => legs.iter().map(|(_, uid)| uid.as_str()).collect(),
        _ => Vec::new(),
    }
}

fn done(lane: &mut Lane, seq: u64, leg: u32, now: Now) {
    lane.complete(LegId { entry_id: id(seq), leg }, Verdict::Done(Outcome::Offered), now);
}

fn fail(lane: &mut Lane, seq: u64, leg: u32, now: Now) {
    lane.complete(LegId { entry_id: id(seq), leg }, Verdict::Failed(Failure::Unreachable), now);
}

fn settled(lane: &mut Lane) -> Vec<(u64, Settlement)> {
    lane.take_settlements().into_iter().map(|(entry_id, how)| (entry_id.seq, how)).collect()
}

fn dead(lane: &mut Lane) -> Death {
    match lane.take_settlements().pop() {
        Some((_, Settlement::Dead(death))) => *death,
        other => panic!("not dead: {other:?}"),
    }
}

fn outcomes(lane: &mut Lane) -> Vec<(Outcome, u64)> {
    let outcome = |event| match event {
        Event::Outcome { outcome, targets, .. } => Some((outcome, targets)),
        _ => None,
    };
    lane.drain_events().filter_map(outcome).collect()
}

fn but(job: &Job) -> &[Incarnation] {
    match &job.aim {
        Aim::Groups { but, .. } | Aim::All { but } => but,
        Aim::Users { .. } => &[],
    }
}

fn node() -> Incarnation {
    Incarnation::mint()
}

const COUNT: Answer = Answer::Count { offered: 1, slow: 0 };
const FAILED: Answer = Answer::Failed(Failure::Unknown);

#[test]
fn malformed_is_dead_on_first_sight() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uid", "1"), ("tgid_list", "[")]), START);
    lane.admit(to(2, "1"), START);
    let dead = dead(&mut lane);
    assert_eq!((dead.reason, dead.attempts), (DeadReason::Malformed, 1));
    assert_eq!(seqs(&lane.take_ready(START, 9)), [2]);
}

#[test]
fn a_duplicate_is_settled_and_not_delivered() {
    let mut lane = lane();
    lane.admit(Fetched { duplicate: true, ..to(1, "1") }, START);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
    assert_eq!(outcomes(&mut lane), [(Outcome::Duplicate, 1)]);
    assert!(!lane.has_ready(START));
}

#[test]
fn an_entry_before_its_time_is_put_aside() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uid", "1"), ("deliver_at_ms", "1000001")]), START);
    let aside = Settlement::Later { due_ms: 1_000_001, attempts: 0, rest: None };
    assert_eq!(settled(&mut lane), [(1, aside)]);
    lane.admit(fetched(1, &[("to_uid", "1"), ("deliver_at_ms", "1000001")]), later(START, 1));
    assert_eq!(seqs(&lane.take_ready(later(START, 1), 9)), [1]);
}

#[test]
fn time_to_live_counts_from_the_entry_or_from_its_schedule() {
    let mut lane = lane();
    let short = [("to_uids", r#"["1","2"]"#), ("ttl_ms", "10")];
    lane.admit(fetched(1, &short), later(START, 9));
    lane.admit(fetched(2, &short), later(START, 10));
    let scheduled = [("to_uid", "3"), ("ttl_ms", "10"), ("deliver_at_ms", "1000005")];
    lane.admit(fetched(3, &scheduled), later(START, 14));
    lane.admit(fetched(4, &scheduled), later(START, 15));
    assert_eq!(settled(&mut lane), [(2, Settlement::Ack), (4, Settlement::Ack)]);
    assert_eq!(outcomes(&mut lane), [(Outcome::Expired, 2), (Outcome::Expired, 1)]);
    assert_eq!(seqs(&lane.take_ready(later(START, 9), 9)), [1, 3]);
}

#[test]
fn what_expires_while_it_waits_is_not_delivered_and_holds_back_nobody() {
    let mut lane = lane();
    lane.admit(to(1, "1"), START);
    lane.take_ready(START, 9);
    lane.admit(fetched(2, &[("to_uid", "1"), ("ttl_ms", "10")]), START);
    lane.admit(to(3, "1"), START);
    let now = later(START, 10);
    done(&mut lane, 1, 0, now);
    assert_eq!(seqs(&lane.take_ready(now, 9)), [3]);
    assert_eq!(outcomes(&mut lane), [(Outcome::Offered, 1), (Outcome::Expired, 1)]);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack), (2, Settlement::Ack)]);
}

#[test]
fn what_expires_between_two_attempts_is_gone_also_while_its_target_is_under_way() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uids", r#"["1","2"]"#), ("ttl_ms", "10")]), START);
    lane.admit(to(2, "1"), START);
    lane.take_ready(START, 9);
    fail(&mut lane, 1, 0, START);
    fail(&mut lane, 1, 1, START);
    let now = later(START, 1_000);
    assert!(lane.take_ready(now, 9).is_empty());
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
    done(&mut lane, 2, 0, now);
    lane.admit(to(3, "1"), now);
    assert_eq!(seqs(&lane.take_ready(later(now, 1_000), 9)), [3]);
}

#[test]
fn messages_of_one_target_leave_together_and_none_passes_those_under_way() {
    let mut lane = lane();
    lane.admit(to(1, "1"), START);
    lane.admit(to(2, "1"), START);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [1, 2]);
    lane.admit(to(3, "1"), START);
    lane.admit(to(4, "2"), START);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [4]);
    done(&mut lane, 1, 0, START);
    assert!(lane.take_ready(START, 9).is_empty());
    done(&mut lane, 2, 0, START);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [3]);
}

#[test]
fn a_round_that_is_cut_short_keeps_the_order() {
    let mut lane = lane();
    for seq in 1..=4 {
        lane.admit(to(seq, "1"), START);
    }
    assert_eq!(seqs(&lane.take_ready(START, 2)), [1, 2]);
    assert!(lane.take_ready(START, 2).is_empty());
    done(&mut lane, 1, 0, START);
    done(&mut lane, 2, 0, START);
    assert_eq!(seqs(&lane.take_ready(START, 2)), [3, 4]);
}

#[test]
fn a_round_is_as_long_as_its_targets_are_many() {
    let mut lane = lane();
    for seq in 1..=4 {
        lane.admit(fetched(seq, &[("to_uids", r#"["1","2","3"]"#)]), START);
    }
    assert_eq!(seqs(&lane.take_ready(START, 4)), [1, 2]);
}

#[test]
fn a_retry_holds_back_its_own_target_and_no_other() {
    let mut lane = lane();
    lane.admit(to(1, "1"), START);
    lane.take_ready(START, 9);
    lane.admit(to(2, "1"), START);
    fail(&mut lane, 1, 0, START);
    lane.admit(to(3, "1"), START);
    lane.admit(to(4, "2"), START);
    let due = lane.next_retry_ms().unwrap();
    assert_eq!(seqs(&lane.take_ready(START, 9)), [4]);
    assert_eq!(seqs(&lane.take_ready(later(START, due), 9)), [1, 2, 3]);
}

#[test]
fn when_a_batch_fails_all_of_it_goes_again_in_order() {
    let mut lane = lane();
    for seq in 1..=3 {
        lane.admit(to(seq, "1"), START);
    }
    lane.take_ready(START, 9);
    for seq in [2, 1, 3] {
        fail(&mut lane, seq, 0, START);
    }
    assert_eq!(seqs(&lane.take_ready(later(START, 1_000), 9)), [1, 2, 3]);
}

#[test]
fn users_of_one_message_are_tried_and_held_back_separately() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uids", r#"["1","2","3"]"#)]), START);
    lane.take_ready(START, 9);
    done(&mut lane, 1, 0, START);
    fail(&mut lane, 1, 1, START);
    done(&mut lane, 1, 2, START);
    lane.admit(fetched(2, &[("to_uids", r#"["2","3"]"#)]), START);
    let jobs = lane.take_ready(START, 9);
    assert_eq!((seqs(&jobs), users(&jobs[0])), (vec![2], vec!["3"]));
    let jobs = lane.take_ready(later(START, 1_000), 9);
    assert_eq!((seqs(&jobs), users(&jobs[0]), users(&jobs[1])), (vec![1, 2], vec!["2"], vec!["2"]));
    assert!(settled(&mut lane).is_empty());
    done(&mut lane, 1, 1, START);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
}

#[test]
fn after_the_last_attempt_only_the_targets_that_failed_are_dead() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uids", r#"["1","2"]"#)]), START);
    let mut now = START;
    for attempt in 0..3 {
        let jobs = lane.take_ready(now, 9);
        assert_eq!(seqs(&jobs), [1], "attempt {attempt}");
        if attempt == 0 {
            done(&mut lane, 1, 0, now);
        }
        assert!(settled(&mut lane).is_empty());
        fail(&mut lane, 1, 1, now);
        now = later(now, 1_000);
    }
    let dead = dead(&mut lane);
    assert_eq!((dead.reason, dead.attempts, &*dead.error), (DeadReason::Attempts, 3, "unreachable"));
    assert_eq!(*dead.failed_targets, [Box::from("2")]);
    assert_eq!(dead.rest, Some(Rest::Users(vec![Uid::parse("2").unwrap()])));
    assert_eq!((lane.messages(), lane.bytes()), (0, 0));
}

#[test]
fn attempts_made_before_count() {
    let mut lane = lane();
    lane.admit(Fetched { attempts: 2, ..to(1, "1") }, START);
    lane.admit(Fetched { attempts: 3, ..to(2, "2") }, START);
    assert_eq!(dead(&mut lane).reason, DeadReason::Attempts);
    lane.take_ready(START, 9);
    fail(&mut lane, 1, 0, START);
    assert_eq!(dead(&mut lane).attempts, 3);
}

#[test]
fn only_what_is_left_of_an_entry_is_done() {
    let mut lane = lane();
    let rest = Some(Rest::Users(vec![Uid::parse("2").unwrap()]));
    lane.admit(Fetched { rest, ..fetched(1, &[("to_uids", r#"["1","2"]"#)]) }, START);
    let jobs = lane.take_ready(START, 9);
    assert_eq!(users(&jobs[0]), ["2"]);
    done(&mut lane, 1, 0, START);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
}

#[test]
fn an_excepted_user_is_no_target() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uids", r#"["1","2"]"#), ("except_uid", "1")]), START);
    lane.admit(fetched(2, &[("to_uid", "1"), ("except_uid", "1")]), START);
    assert_eq!(settled(&mut lane), [(2, Settlement::Ack)]);
    assert_eq!(users(&lane.take_ready(START, 9)[0]), ["2"]);
    assert!(outcomes(&mut lane).is_empty());
}

#[test]
fn a_message_to_several_groups_waits_for_all_of_them() {
    let mut lane = lane();
    let node = node();
    lane.admit(fetched(1, &[("tgid", "a")]), START);
    lane.take_ready(START, 9);
    lane.admit(fetched(2, &[("tgid_list", r#"["a","b"]"#)]), START);
    lane.admit(fetched(3, &[("tgid", "b")]), START);
    lane.admit(fetched(4, &[("tgid", "c")]), START);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [4], "1 is being looked up");
    assert!(lane.fan_out(id(1), &[node], START).is_empty());
    assert_eq!(seqs(&lane.take_ready(START, 9)), [2, 3]);
    assert_eq!(lane.fan_out(id(2), &[node], START), [node], "1 is under way to it");
    assert_eq!(lane.fan_out(id(3), &[node], START), [node]);
    lane.answered(id(1), node, COUNT, START);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [2, 3]);
    assert!(lane.fan_out(id(2), &[node], START).is_empty());
    assert!(lane.fan_out(id(3), &[node], START).is_empty());
}

#[test]
fn nodes_that_answered_are_not_sent_a_group_message_again() {
    let mut lane = lane();
    let (first, second) = (node(), node());
    lane.admit(fetched(1, &[("tgid", "a")]), START);
    lane.take_ready(START, 9);
    assert!(lane.fan_out(id(1), &[first, second], START).is_empty());
    lane.answered(id(1), first, COUNT, START);
    lane.answered(id(1), second, FAILED, START);
    let now = later(START, 1_000);
    let jobs = lane.take_ready(now, 9);
    assert_eq!(but(&jobs[0]), [first]);
    assert!(lane.fan_out(id(1), &[second], now).is_empty());
    lane.answered(id(1), second, Answer::Count { offered: 0, slow: 0 }, now);
    assert_eq!(outcomes(&mut lane), [(Outcome::Offered, 1)]);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
}

#[test]
fn a_group_has_one_outcome_whatever_its_nodes_say() {
    let count = |offered, slow| Answer::Count { offered, slow };
    let table = [
        (vec![], Outcome::Offline),
        (vec![count(0, 0), count(0, 0)], Outcome::Offline),
        (vec![count(0, 0), count(0, 2)], Outcome::Slow),
        (vec![count(0, 2), count(1, 0)], Outcome::Offered),
    ];
    for (answers, outcome) in table {
        let mut lane = lane();
        lane.admit(fetched(1, &[("all", "1")]), START);
        lane.take_ready(START, 9);
        let nodes: Vec<_> = answers.iter().map(|_| node()).collect();
        assert!(lane.fan_out(id(1), &nodes, START).is_empty());
        nodes.into_iter().zip(answers).for_each(|(node, answer)| lane.answered(id(1), node, answer, START));
        assert_eq!(outcomes(&mut lane), [(outcome, 1)]);
    }
}

#[test]
fn a_directory_that_does_not_answer_costs_no_attempt() {
    let mut lane = lane();
    lane.admit(to(1, "1"), START);
    lane.admit(to(2, "1"), START);
    for _ in 0..100 {
        assert_eq!(seqs(&lane.take_ready(START, 9)), [1, 2]);
        for seq in [1, 2] {
            lane.complete(LegId { entry_id: id(seq), leg: 0 }, Verdict::Postponed { wait: Duration::ZERO }, START);
        }
    }
    assert!(settled(&mut lane).is_empty());
    lane.take_ready(START, 9);
    done(&mut lane, 1, 0, START);
    done(&mut lane, 2, 0, START);
    assert_eq!(settled(&mut lane).len(), 2);
}

#[test]
fn urgent_messages_go_first_and_never_pass_their_own_target() {
    let mut lane = lane();
    let high = |seq, uid| fetched(seq, &[("to_uid", uid), ("priority", "high")]);
    let low = |seq, uid| fetched(seq, &[("to_uid", uid), ("priority", "low")]);
    lane.admit(low(1, "1"), START);
    lane.admit(to(2, "2"), START);
    lane.admit(low(3, "3"), START);
    lane.admit(to(4, "1"), START);
    lane.admit(high(5, "4"), START);
    lane.admit(high(6, "3"), START);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [3, 5, 6, 1, 2, 4]);
}

#[test]
fn urgency_is_inherited_along_a_chain_of_shared_targets() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uid", "9")]), START);
    lane.admit(fetched(2, &[("to_uid", "1"), ("priority", "low")]), START);
    lane.admit(fetched(3, &[("to_uids", r#"["1","2"]"#), ("priority", "low")]), START);
    lane.admit(fetched(4, &[("to_uid", "2"), ("priority", "high")]), START);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [2, 3, 4, 1]);
}

/// A lane in which so many messages wait, and how many are taken at once.
const CROWD: u64 = 2_000;
const ROUND: usize = 100;

fn crowd(pairs: &[(&'static str, &'static str)]) -> Lane {
    let mut lane = lane_with(Limits { unsettled_messages: usize::MAX, unsettled_bytes: usize::MAX, ..limits() });
    for seq in 0..CROWD {
        lane.admit(fetched(seq, pairs), START);
    }
    lane
}

fn deliver(lane: &mut Lane, jobs: &[Job], now: Now) {
    let node = node();
    for job in jobs {
        assert!(lane.fan_out(job.entry_id, &[node], now).is_empty());
    }
    for job in jobs {
        lane.answered(job.entry_id, node, COUNT, now);
    }
}

#[test]
fn messages_that_share_several_groups_are_each_looked_at_a_few_times_only() {
    let mut lane = crowd(&[("tgid_list", r#"["a","b"]"#)]);
    let mut taken = Vec::new();
    while lane.has_ready(START) {
        let jobs = lane.take_ready(START, ROUND);
        // What waits is looked at while they are under way, too.
        assert!(lane.take_ready(START, ROUND).is_empty());
        deliver(&mut lane, &jobs, START);
        taken.extend(seqs(&jobs));
    }
    assert_eq!(taken, (0..CROWD).collect::<Vec<_>>());
    assert!(lane.candidates.inserts <= 4 * CROWD as usize, "{}", lane.candidates.inserts);
}

#[test]
fn messages_that_expire_behind_a_busy_group_are_each_looked_at_a_few_times_only() {
    let mut lane = crowd(&[("tgid", "a"), ("ttl_ms", "1000")]);
    let jobs = lane.take_ready(START, ROUND);
    assert!(lane.take_ready(START, ROUND).is_empty());
    let late = later(START, 1_000);
    deliver(&mut lane, &jobs, late);
    assert!(lane.take_ready(late, ROUND).is_empty());
    assert_eq!(lane.messages(), 0);
    let expired = outcomes(&mut lane).into_iter().filter(|(outcome, _)| *outcome == Outcome::Expired).count();
    assert_eq!(expired, CROWD as usize - ROUND);
    assert!(lane.candidates.inserts <= 4 * CROWD as usize, "{}", lane.candidates.inserts);
}

#[test]
fn the_lane_stops_reading_at_its_bounds() {
    let mut lane = lane_with(Limits { unsettled_messages: 3, ..limits() });
    assert_eq!(lane.room(2), Some(Room { entries: 2, bytes: 10_000 }));
    lane.admit(to(1, "1"), START);
    lane.admit(to(2, "2"), START);
    assert_eq!(lane.room(2), Some(Room { entries: 1, bytes: 10_000 - 2 * (100 + LEG_BYTES) }));
    lane.admit(to(3, "3"), START);
    assert_eq!(lane.room(2), None);
    lane.take_ready(START, 9);
    done(&mut lane, 2, 0, START);
    assert!(lane.has_room());

    let mut lane = lane_with(Limits { unsettled_bytes: 500, ..limits() });
    lane.admit(to(1, "1"), START);
    lane.admit(to(2, "2"), START);
    assert!(lane.has_room());
    lane.admit(to(3, "3"), START);
    assert!(!lane.has_room());

    let mut lane = lane_with(Limits { unsettled_bytes: 500, ..limits() });
    lane.admit(fetched(1, &[("to_uids", r#"["1","2","3","4"]"#)]), START);
    assert!(!lane.has_room(), "each user of a message weighs something");
}

#[test]
fn the_lane_stops_reading_when_a_retry_holds_back_too_many() {
    let mut lane = lane();
    for seq in 1..=12 {
        lane.admit(to(seq, "1"), START);
    }
    lane.take_ready(START, 99);
    assert!(lane.has_room(), "what is under way is not held back");
    for seq in 1..=12 {
        fail(&mut lane, seq, 0, START);
    }
    assert!(!lane.has_room());
    let now = later(START, 1_000);
    lane.take_ready(now, 99);
    assert!(lane.has_room());
    for seq in 1..=12 {
        done(&mut lane, seq, 0, now);
    }
    assert!(lane.has_room());
    assert_eq!(settled(&mut lane).len(), 12);
}

fn impatient() -> Lane {
    let backoff = Backoff { first: Duration::from_secs(1_000), max: Duration::from_secs(1_000) };
    lane_with(Limits { persistence: Persistence { attempts: 3, backoff }, ..limits() })
}

#[test]
fn a_retry_that_is_far_off_leaves_with_all_that_waits_behind_it() {
    let mut lane = impatient();
    lane.admit(to(1, "1"), START);
    lane.take_ready(START, 9);
    lane.admit(to(2, "1"), START);
    lane.admit(to(3, "2"), START);
    fail(&mut lane, 1, 0, START);
    let left = settled(&mut lane);
    let (due_ms, ids) = left.iter().fold((0, Vec::new()), |(_, mut ids), (seq, how)| match how {
        Settlement::Later { due_ms, attempts, .. } => {
            ids.push((*seq, *attempts));
            (*due_ms, ids)
        }
        other => panic!("{other:?}"),
    });
    assert!(due_ms > START.unix_ms + 30_000);
    assert_eq!(lane.low_water(), Some(id(1)), "it was tried and comes again");
    assert_eq!(ids, [(1, 1), (2, 0)]);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [3]);

    // What is read for the target in the meantime follows, and what is to follow that.
    let aside = |seq| (seq, Settlement::Later { due_ms, attempts: 0, rest: None });
    lane.admit(to(4, "1"), START);
    assert_eq!(settled(&mut lane), [aside(4)]);
    lane.admit(fetched(5, &[("to_uids", r#"["1","3"]"#)]), START);
    lane.admit(to(6, "3"), START);
    assert_eq!(settled(&mut lane), [aside(5), aside(6)]);

    // They come back in order, before anything else.
    let now = Now { unix_ms: due_ms, steady_ms: due_ms };
    lane.admit(Fetched { attempts: 1, ..to(1, "1") }, now);
    lane.admit(to(7, "1"), now);
    assert_eq!(settled(&mut lane), [aside(7)]);
    for entry in [to(2, "1"), to(4, "1"), fetched(5, &[("to_uids", r#"["1","3"]"#)]), to(6, "3"), to(7, "1")] {
        lane.admit(entry, now);
    }
    lane.admit(to(8, "1"), now);
    assert_eq!(seqs(&lane.take_ready(now, 9)), [1, 2, 4, 5, 6, 7, 8]);
}

#[test]
fn a_message_with_other_targets_under_way_stays_when_one_of_them_is_far_off() {
    let mut lane = impatient();
    lane.admit(fetched(1, &[("to_uids", r#"["1","2"]"#)]), START);
    lane.take_ready(START, 9);
    fail(&mut lane, 1, 0, START);
    assert!(settled(&mut lane).is_empty());
    done(&mut lane, 1, 1, START);
    assert_eq!(lane.messages(), 1);
    assert!(lane.next_retry_ms().is_some());
}

#[test]
fn the_low_water_mark_is_the_lowest_entry_not_settled() {
    let mut lane = lane();
    assert_eq!(lane.low_water(), None);
    lane.admit(to(2, "1"), START);
    lane.admit(to(1, "2"), START);
    assert_eq!(lane.low_water(), Some(id(1)));
    lane.take_ready(START, 9);
    done(&mut lane, 1, 0, START);
    assert_eq!(lane.low_water(), Some(id(1)), "the source does not know it yet");
    lane.take_settlements();
    assert_eq!(lane.low_water(), Some(id(2)));
}

#[test]
fn answers_nobody_asked_for_change_nothing() {
    let mut lane = lane();
    lane.admit(to(1, "1"), START);
    done(&mut lane, 1, 0, START);
    done(&mut lane, 1, 7, START);
    done(&mut lane, 9, 0, START);
    lane.admit(to(1, "1"), START);
    assert_eq!(lane.messages(), 1);
    assert_eq!(seqs(&lane.take_ready(START, 9)), [1]);
    done(&mut lane, 1, 0, START);
    done(&mut lane, 1, 0, START);
    assert_eq!(settled(&mut lane), [(1, Settlement::Ack)]);
}
