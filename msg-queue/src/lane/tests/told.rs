//! Durable messages as the lane sees them, and what it tells of messages that ask for it.

use gim_proxy_sdk::ledger::ReceiptState;

use super::*;

const DURABLE: (&str, &str) = ("class", "durable");
const RECEIPT: (&str, &str) = ("receipt", "1");

fn told(lane: &mut Lane) -> Vec<(String, ReceiptState, Option<&'static str>)> {
    lane.take_told().into_iter().map(|told| (told.target.into_string(), told.state, told.reason)).collect()
}

fn of(target: &str, state: ReceiptState) -> (String, ReceiptState, Option<&'static str>) {
    (target.to_owned(), state, None)
}

fn ends(lane: &mut Lane, seq: u64, leg: u32, outcome: Outcome) {
    lane.complete(LegId { entry_id: id(seq), leg }, Verdict::Done(outcome), START);
}

#[test]
fn a_durable_message_whose_user_cannot_be_told_is_stored_and_never_dead() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uid", "1"), DURABLE]), START);
    lane.admit(fetched(2, &[("to_uid", "2")]), START);
    let mut now = START;
    for _ in 0..3 {
        assert_eq!(seqs(&lane.take_ready(now, 9)), [1, 2]);
        fail(&mut lane, 1, 0, now);
        fail(&mut lane, 2, 0, now);
        now = later(now, 1_000);
    }
    let settled = settled(&mut lane);
    assert_eq!(settled[0], (1, Settlement::Ack));
    assert!(matches!(settled[1], (2, Settlement::Dead(_))));
    assert_eq!(outcomes(&mut lane), [(Outcome::Stored, 1)]);
}

#[test]
fn what_expires_before_it_is_stored_is_expired_and_what_expires_after_it_is_stored() {
    let mut lane = lane();
    let pairs = [("to_uids", r#"["1","2"]"#), DURABLE, ("ttl_ms", "500"), RECEIPT];
    lane.admit(fetched(1, &[("to_uid", "2")]), START);
    assert_eq!(lane.take_ready(START, 9).len(), 1);
    lane.admit(fetched(2, &pairs), START);
    assert_eq!(users(&lane.take_ready(START, 9)[0]), ["1"], "2 is behind another");
    fail(&mut lane, 2, 0, START);
    let late = later(START, 500);
    assert!(lane.take_ready(late, 9).is_empty());
    assert_eq!(outcomes(&mut lane), [(Outcome::Expired, 1), (Outcome::Stored, 1)]);
    assert_eq!(told(&mut lane), [of("1", ReceiptState::Stored), of("2", ReceiptState::Expired)]);
    assert_eq!(settled(&mut lane), [(2, Settlement::Ack)]);
}

#[test]
fn a_durable_group_message_is_stored_if_anybody_has_it() {
    for (members, offered, outcome) in
        [(true, 0, Outcome::Stored), (false, 2, Outcome::Stored), (false, 0, Outcome::Offline)]
    {
        let mut lane = lane();
        let node = node();
        lane.admit(fetched(1, &[("tgid_list", r#"["a","b"]"#), DURABLE, RECEIPT]), START);
        lane.take_ready(START, 9);
        if members {
            lane.members_have(id(1));
        }
        assert!(lane.fan_out(id(1), &[node], START).is_empty());
        lane.answered(id(1), node, Answer::Count { offered, slow: 0 }, START);
        assert_eq!(outcomes(&mut lane), [(outcome, 1)]);
        let state = tell::state_of(outcome).unwrap();
        assert_eq!(told(&mut lane), [of("a", state), of("b", state)]);
    }
}

#[test]
fn a_durable_group_message_that_members_have_is_no_dead_letter() {
    for members in [true, false] {
        let mut lane = lane();
        let node = node();
        lane.admit(fetched(1, &[("tgid", "a"), DURABLE]), START);
        lane.take_ready(START, 9);
        if members {
            lane.members_have(id(1));
        }
        assert!(lane.fan_out(id(1), &[node], START).is_empty());
        let mut now = START;
        lane.answered(id(1), node, FAILED, now);
        while lane.messages() > 0 {
            now = later(now, 60_000);
            lane.take_ready(now, 9);
            assert!(lane.fan_out(id(1), &[node], now).is_empty());
            lane.answered(id(1), node, FAILED, now);
        }
        assert_eq!(matches!(settled(&mut lane)[..], [(1, Settlement::Ack)]), members);
    }
}

#[test]
fn only_the_first_look_up_of_a_group_is_called_so() {
    let mut lane = lane();
    let is_first = |jobs: &[Job]| matches!(jobs[0].aim, Aim::Groups { is_first: true, .. });
    lane.admit(fetched(1, &[("tgid", "a"), DURABLE]), START);
    let jobs = lane.take_ready(START, 9);
    assert!(is_first(&jobs));
    lane.not_routed(&jobs[0], START);
    let jobs = lane.take_ready(START, 9);
    assert!(is_first(&jobs), "it was not looked up");
    let node = node();
    assert!(lane.fan_out(id(1), &[node], START).is_empty());
    lane.answered(id(1), node, FAILED, START);
    assert!(!is_first(&lane.take_ready(later(START, 1_000), 9)));
}

#[test]
fn every_outcome_but_offered_is_told_with_the_settlement_and_only_if_asked_for() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uids", r#"["1","2","3","4","5"]"#), RECEIPT]), START);
    lane.admit(fetched(2, &[("to_uid", "6")]), START);
    lane.take_ready(START, 9);
    ends(&mut lane, 1, 0, Outcome::Offline);
    ends(&mut lane, 1, 1, Outcome::Offered);
    ends(&mut lane, 1, 2, Outcome::Slow);
    ends(&mut lane, 1, 3, Outcome::NotMember);
    ends(&mut lane, 2, 0, Outcome::Offline);
    assert!(told(&mut lane).is_empty(), "one is under way");
    ends(&mut lane, 1, 4, Outcome::Stored);
    let expected = [
        ("1", ReceiptState::Offline),
        ("3", ReceiptState::Slow),
        ("4", ReceiptState::NotMember),
        ("5", ReceiptState::Stored),
    ];
    assert_eq!(told(&mut lane), expected.map(|(uid, state)| of(uid, state)));
    assert!(told(&mut lane).is_empty());
}

#[test]
fn what_needs_no_delivery_is_told_too() {
    let mut lane = lane();
    lane.admit(Fetched { duplicate: true, ..fetched(1, &[("tgid", "g"), RECEIPT]) }, START);
    lane.admit(fetched(2, &[("all", "1"), ("ttl_ms", "1"), RECEIPT]), later(START, 1));
    lane.admit(Fetched { attempts: 3, ..fetched(3, &[("to_uid", "1"), RECEIPT]) }, START);
    assert_eq!(
        told(&mut lane),
        [
            of("g", ReceiptState::Duplicate),
            of("all", ReceiptState::Expired),
            ("1".to_owned(), ReceiptState::Dead, Some("attempts"))
        ]
    );
}

#[test]
fn what_was_given_up_is_told_by_target() {
    let mut lane = lane();
    lane.admit(fetched(1, &[("to_uids", r#"["1","2"]"#), RECEIPT]), START);
    let mut now = START;
    for attempt in 0..3 {
        lane.take_ready(now, 9);
        if attempt == 0 {
            ends(&mut lane, 1, 0, Outcome::Offline);
        }
        fail(&mut lane, 1, 1, now);
        now = later(now, 1_000);
    }
    assert_eq!(
        told(&mut lane),
        [of("1", ReceiptState::Offline), ("2".to_owned(), ReceiptState::Dead, Some("attempts"))]
    );
}

#[test]
fn who_is_finished_is_told_once_when_the_others_are_put_aside() {
    let backoff = Backoff { first: Duration::from_secs(1_000), max: Duration::from_secs(1_000) };
    let mut lane = lane_with(Limits { persistence: Persistence { attempts: 3, backoff }, ..limits() });
    lane.admit(fetched(1, &[("to_uids", r#"["1","2"]"#), RECEIPT]), START);
    lane.take_ready(START, 9);
    ends(&mut lane, 1, 0, Outcome::Offline);
    fail(&mut lane, 1, 1, START);
    assert_eq!(told(&mut lane), [of("1", ReceiptState::Offline)]);
    let Settlement::Later { rest, attempts, .. } = settled(&mut lane).remove(0).1 else { panic!("not put aside") };
    lane.admit(Fetched { rest, attempts, ..fetched(1, &[("to_uids", r#"["1","2"]"#), RECEIPT]) }, START);
    lane.take_ready(START, 9);
    ends(&mut lane, 1, 0, Outcome::Offline);
    assert_eq!(told(&mut lane), [of("2", ReceiptState::Offline)]);
}

#[test]
fn the_steps_of_a_message_that_is_followed_are_marked() {
    let mut lane = lane();
    let followed = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    lane.admit(fetched(1, &[("to_uid", "1"), followed]), START);
    lane.admit(to(2, "2"), START);
    lane.take_ready(START, 9);
    fail(&mut lane, 1, 0, START);
    lane.take_ready(later(START, 1_000), 9);
    ends(&mut lane, 1, 0, Outcome::Offline);
    let hops: Vec<_> = lane.take_marks().into_iter().map(|mark| (mark.hop, mark.target)).collect();
    let one = Some(Box::from("1"));
    assert_eq!(hops, [("read", None), ("retry", one.clone()), ("offline", one), ("settled", None)]);
    assert!(told(&mut lane).is_empty(), "no receipt was asked for");
}
