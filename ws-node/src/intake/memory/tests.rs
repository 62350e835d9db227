//! What is remembered, how far, and what is not.

use std::sync::Arc;

use gim_proto::{Class, Fence, MessageId, SessionId, Tgid};
use gim_proxy_sdk::delivery::{Addressed, Recipients};

use super::*;

const OFFERED: TargetReport = TargetReport::Done(Outcome::Offered);
const SLOW: TargetReport = TargetReport::Done(Outcome::Slow);
const NOT_OWNER: TargetReport = TargetReport::NotOwner;

fn entry(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

fn delivery(ms: u64, to: Recipients) -> Delivery {
    let message = Message {
        id: MessageId::of_entry(0, entry(ms)),
        class: Class::Live,
        key: None,
        payload: Payload::Raw("x".into()),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    };
    Delivery { entry: Some(entry(ms)), message: Arc::new(message), to }
}

/// Every time another session: users come back.
fn users(names: &[&str]) -> Recipients {
    let of = |name: &&str| Addressed { uid: Uid::parse(name).unwrap(), session: SessionId::mint(), fence: Fence(1) };
    Recipients::Sessions(names.iter().map(of).collect())
}

fn group() -> Recipients {
    Recipients::Groups(vec![Tgid::parse("g").unwrap()])
}

fn knows(memory: &Memory, ms: u64) -> bool {
    memory.knows_any(&[delivery(ms, group())])
}

#[test]
fn what_is_final_is_answered_whole_and_whoever_comes_back() {
    let mut memory = Memory::new(true);
    let targets = Report::Targets(vec![OFFERED, SLOW, TargetReport::Done(Outcome::NotMember)].into());
    memory.remember(&delivery(1, users(&["a", "b", "c"])), &targets);
    let counts = Report::Count { offered: 3, slow: 1 };
    memory.remember(&delivery(2, group()), &counts);
    memory.remember(&delivery(3, Recipients::All), &counts);
    for (ms, to, report) in
        [(1, users(&["a", "b", "c"]), targets), (2, group(), counts.clone()), (3, Recipients::All, counts)]
    {
        let asked = delivery(ms, to);
        let mut recall = memory.recall(&asked);
        assert!(recall.take_new().is_none());
        assert_eq!(recall.join(&mut std::iter::empty()), report);
    }
    let asked = delivery(1, users(&["c"]));
    let alone = memory.recall(&asked);
    let not_member = Report::Targets(vec![TargetReport::Done(Outcome::NotMember)].into());
    assert_eq!(alone.join(&mut std::iter::empty()), not_member);
}

#[test]
fn who_was_not_here_is_asked_again_and_nobody_else() {
    let mut memory = Memory::new(true);
    let all = users(&["a", "b", "c"]);
    memory.remember(&delivery(1, all.clone()), &Report::Targets(vec![OFFERED, NOT_OWNER, SLOW].into()));
    let asked = delivery(1, all.clone());
    let mut recall = memory.recall(&asked);
    let new = recall.take_new().unwrap();
    assert_eq!(new.to.addressed(), &all.addressed()[1..2]);
    let answered = Report::Targets(vec![SLOW].into());
    let whole = recall.join(&mut std::iter::once(answered));
    assert_eq!(whole, Report::Targets(vec![OFFERED, SLOW, SLOW].into()));
    memory.remember(&delivery(1, all.clone()), &whole);
    assert!(memory.recall(&delivery(1, all)).take_new().is_none());
}

#[test]
fn what_is_not_final_is_not_remembered() {
    let mut memory = Memory::new(true);
    memory.remember(&delivery(1, users(&["a"])), &Report::Targets(vec![NOT_OWNER].into()));
    assert!(!knows(&memory, 1));
    let direct = Delivery { entry: None, ..delivery(2, group()) };
    memory.remember(&direct, &Report::Count { offered: 1, slow: 0 });
    assert!(memory.messages.is_empty());
}

#[test]
fn what_will_not_come_again_is_forgotten() {
    let mut memory = Memory::new(true);
    for ms in 1..=10 {
        memory.remember(&delivery(ms, users(&["a", "b"])), &Report::Targets(vec![OFFERED, OFFERED].into()));
    }
    memory.forget_below(None);
    assert_eq!((memory.messages.len(), memory.users), (10, 20));
    memory.forget_below(Some(entry(7)));
    assert_eq!((knows(&memory, 6), knows(&memory, 7), memory.messages.len(), memory.users), (false, true, 4, 8));
    // An owner that took the lane with an older view of it brings nothing back.
    memory.forget_below(Some(entry(3)));
    assert_eq!(memory.messages.len(), 4);
}

#[test]
fn at_the_bound_of_messages_the_lowest_goes_and_is_counted() {
    let mut memory = Memory::new(true);
    let counts = Report::Count { offered: 1, slow: 0 };
    let most = MOST_MESSAGES as u64;
    let forgotten: u64 = (0..most + 5).map(|ms| memory.remember(&delivery(ms, group()), &counts)).sum();
    assert_eq!((forgotten, memory.messages.len()), (5, MOST_MESSAGES));
    assert_eq!((knows(&memory, 4), knows(&memory, 5), knows(&memory, most + 4)), (false, true, true));
}

#[test]
fn at_the_bound_of_users_the_lowest_go() {
    let mut memory = Memory::new(true);
    let names: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = Report::Targets(vec![OFFERED; names.len()].into());
    let forgotten: u64 = (0..22).map(|ms| memory.remember(&delivery(ms, users(&names)), &report)).sum();
    assert_eq!((forgotten, memory.users, knows(&memory, 1), knows(&memory, 2)), (2, MOST_USERS, false, true));
}

#[test]
fn another_message_under_the_same_entry_is_another_message() {
    let mut memory = Memory::new(true);
    let one = delivery(1, users(&["a", "b"]));
    memory.remember(&one, &Report::Targets(vec![OFFERED, OFFERED].into()));
    let others = [
        Message { payload: Payload::Raw("y".into()), ..Message::clone(&one.message) },
        Message { id: MessageId::mint(), ..Message::clone(&one.message) },
    ];
    for other in others {
        let other = Delivery { message: Arc::new(other), ..one.clone() };
        assert!(memory.recall(&other).take_new().is_some());
        memory.remember(&other, &Report::Targets(vec![OFFERED, NOT_OWNER].into()));
        assert_eq!((memory.messages.len(), memory.users), (1, 1));
        assert!(memory.recall(&one).take_new().is_some(), "the former one is forgotten");
    }
}
