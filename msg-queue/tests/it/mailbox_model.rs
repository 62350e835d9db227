//! Every order of events in small cases of a durable message's way: append, hint, write, acknowledgement, settling, resume,
//! with a crash between any two of them.
//!
//! What is modelled: the store with the real [`gim_proxy_sdk::mailbox::state::Mailbox`] in it, two workers of which either
//! may be frozen at any step and go on after the other has taken the lane, the sessions of one user with their cursors, and
//! an application that keeps the position of the last message it dealt with, or forgets it. Each step that something can
//! come between is one action: a delivery may arrive late or twice, an acknowledgement may arrive when its session is
//! superseded, a connection may be gone long before its session notices, a node may die with all that is in its outboxes,
//! the store may come back without its tail. A worker that crashes is one that is frozen for ever. Each rule of the protocol
//! ([`protocol::Rule`]) is left out in turn: then the checker has to find what breaks, and shows how.
//!
//! What is abstracted, and why: there is one user and one lane: mailboxes do not know each other, and what is between lanes
//! is the business of the lane's own model. A round is all that is not settled. Bounds and times of the mailbox are not
//! reached: they are announced as gaps, by tests of their own. Ids are forgotten as early as is allowed. An answer that is
//! lost is a step taken again. Of a store that loses its tail, one rule is
//! assumed and not built, [`protocol::Rule::AskBeforeAppend`], and one is built for the settlement alone,
//! [`protocol::Rule::BeginAnewAfterRun`]. What breaks without them is what docs/semantics.md does not promise. There is one
//! store: mailboxes at another master than the lane, which may lose a tail of its own, are not modelled.

mod cases;
mod client;
mod machine;
mod properties;
mod protocol;
mod session;
mod state;
mod store;
mod worker;

use stateright::{Checker, HasDiscoveries, Model};

use self::cases::{BOTH, BREAKS, DEATH, DROPS, LATE, TAIL, TAIL_AWAY, TAKEOVERS, WILD};
use self::protocol::{Case, Protocol, Rule};

/// Goes through all that can happen. Nothing promised breaks, and nothing that has to happen is missing.
fn all_is_kept(case: Case) {
    let checker = Protocol::new(case, None).checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    let properties = checker.model().properties();
    for promise in properties {
        let steps = found.get(promise.name).map(|path| path.clone().into_actions());
        assert_eq!(steps, None, "broken: {}", promise.name);
    }
    for event in case.happens {
        assert!(checker.model().has_happened(*event), "never happens: {event:?}");
    }
    assert!(checker.is_done());
    let states = checker.unique_state_count();
    assert!(states >= case.states, "only {states} states");
}

#[test]
fn a_client_that_drops_and_comes_back_misses_nothing() {
    all_is_kept(DROPS);
}

#[test]
fn a_lane_that_moves_repeats_nothing() {
    all_is_kept(TAKEOVERS);
}

#[test]
fn the_lane_and_the_client_move_at_once() {
    all_is_kept(BOTH);
}

#[test]
fn a_node_dies_with_what_is_in_its_outboxes() {
    all_is_kept(DEATH);
}

#[test]
fn an_acknowledgement_of_what_was_not_handed_out_counts_for_nothing() {
    all_is_kept(WILD);
}

#[test]
fn a_hint_that_comes_late_and_twice_says_nothing_new() {
    all_is_kept(LATE);
}

#[test]
fn a_lost_tail_is_announced() {
    all_is_kept(TAIL);
}

#[test]
fn a_tail_lost_while_the_client_was_away_is_announced_when_it_comes() {
    all_is_kept(TAIL_AWAY);
}

#[test]
fn without_any_one_rule_something_promised_breaks() {
    for (rule, case, promise) in BREAKS {
        let found = HasDiscoveries::AnyOf([*promise].into());
        let model = Protocol::new(*case, Some(*rule));
        let checker = model.checker().finish_when(found).threads(2).spawn_bfs().join();
        let path = checker.discovery(promise).map(|path| path.into_actions());
        println!("without {rule:?}: {promise}: {path:?}");
        assert!(path.is_some(), "without {rule:?} still kept: {promise}");
    }
}

#[test]
fn every_rule_is_left_out_once() {
    for rule in Rule::ALL {
        assert!(BREAKS.iter().any(|(left_out, ..)| *left_out == rule), "{rule:?} may be superfluous");
    }
}
