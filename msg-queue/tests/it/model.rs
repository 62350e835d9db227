//! Every order of events in small cases of a lane's ownership: lease, term, takeover, reading, delivering, settling.
//!
//! What is modelled: Redis as the scripts and commands see it (stream, group, pending entries, `later`, lease, reading
//! connections), two workers and the one that begins after a crash, and a node. Each step that something can come between
//! is one action: a request to read may be executed long after it was sent, by a connection whose worker is dead, unless
//! that connection was ended; a batch or a settlement may arrive after its sender has lost the lane; an answer may be
//! lost. Frozen is who is not scheduled. Everything that can happen is tried, for few entries and few faults
//! ([`cases`]), and each rule of the protocol ([`protocol::Rule`]) is left out in turn: then the checker has to find
//! what breaks.
//!
//! What is abstracted, and why: time is a counter that steps when something waits for it (timers decide only when a step
//! happens, and every when is tried). Redis' own clock never steps back. A message has one target, and there is one node: several legs are the
//! business of the lane's own tests, and so the lane is a miniature ([`lane`]) but for the real `settle::decide`. A new
//! owner counts no attempt, so that no message dies of takeovers. A lost reply to an acquisition or a registration is a
//! worker that crashes there.
//!
//! What order means here: no entry is delivered *for the first time* before an earlier one of its target. Any may come
//! again, until it is acknowledged. Excepted is what its owner gave up: should the owner die before the dead letter is
//! written, the next one tries it once more, behind others.

mod cases;
mod lane;
mod machine;
mod properties;
mod protocol;
mod reading;
mod redis;
mod settling;
mod state;
mod worker;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use self::cases::{
    ASIDE, ASIDE_AGAIN, ASIDE_OF_TWO, BREAKS, DEAD, LOST_ANSWERS, LOST_TWICE, RESTART, TAKEOVER, TWICE, WIPED,
    WIPED_ASIDE,
};
use self::protocol::{Case, Protocol, Rule};

/// Goes through all that can happen. Nothing promised breaks, and nothing that has to happen is missing.
fn all_is_kept(case: Case) {
    let checker = Protocol { case, without: None }.checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    let properties = checker.model().properties();
    for promise in properties.iter().filter(|property| property.expectation == Expectation::Always) {
        let steps = found.get(promise.name).map(|path| path.clone().into_actions());
        assert_eq!(steps, None, "broken: {}", promise.name);
    }
    for event in case.happens {
        assert!(found.contains_key(event), "never happens: {event}");
    }
    assert!(checker.is_done());
    let states = checker.unique_state_count();
    assert!(states >= case.states, "only {states} states");
}

#[test]
fn a_frozen_owner_loses_the_lane_and_nothing_else() {
    all_is_kept(TAKEOVER);
}

#[test]
fn a_lane_moves_twice() {
    all_is_kept(TWICE);
}

#[test]
fn workers_crash_at_any_step_and_begin_anew() {
    all_is_kept(RESTART);
}

#[test]
fn what_was_put_aside_keeps_its_place_across_a_takeover() {
    all_is_kept(ASIDE);
}

#[test]
fn a_target_put_aside_leaves_the_other_alone() {
    all_is_kept(ASIDE_OF_TWO);
}

#[test]
fn what_is_put_aside_again_keeps_its_place_across_a_crash() {
    all_is_kept(ASIDE_AGAIN);
}

#[test]
fn a_dead_letter_is_the_end_of_its_message_only() {
    all_is_kept(DEAD);
}

#[test]
fn one_owner_survives_the_loss_of_any_answer() {
    all_is_kept(LOST_ANSWERS);
}

#[test]
fn answers_are_lost_while_the_lane_moves() {
    all_is_kept(LOST_TWICE);
}

#[test]
fn redis_loses_everything_while_the_lane_moves() {
    all_is_kept(WIPED);
}

#[test]
fn redis_loses_what_was_put_aside() {
    all_is_kept(WIPED_ASIDE);
}

#[test]
fn without_any_one_rule_something_promised_breaks() {
    for (rule, case, promise) in BREAKS {
        let found = HasDiscoveries::AnyOf([promise].into());
        let model = Protocol { case, without: Some(rule) };
        let checker = model.checker().finish_when(found).threads(2).spawn_bfs().join();
        assert!(checker.discovery(promise).is_some(), "without {rule:?} still kept: {promise}");
    }
}

#[test]
fn every_rule_is_left_out_once() {
    for rule in Rule::ALL {
        assert!(BREAKS.iter().any(|(left_out, ..)| *left_out == rule), "{rule:?} may be superfluous");
    }
}
