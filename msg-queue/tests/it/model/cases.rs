//! The cases: few entries, few faults, everything that can happen with them. And what goes wrong in which of them when one
//! rule is left out.

use super::properties::{AGAIN, EFFECT, ENDS, LOST, OLD_DELIVERS, OLD_SETTLES, ORDER, OUTCOME, TERMS, TRIMMED};
use super::properties::{DIED, LATE_BATCH, LATE_READ, LATE_SETTLEMENT, PUT_ASIDE, TWO_OWNERS};
use super::protocol::{Case, Rule};
use super::state::Faults;

const NO_FAULTS: Faults = Faults {
    crashes: 0,
    expiries: 0,
    failures: 0,
    lost_answers: 0,
    lost_settles: 0,
    lost_hand_outs: 0,
    breaks: 0,
    wipes: 0,
};

const PLAIN: Case = Case {
    targets: &[0, 0],
    preloaded: 1,
    page: 1,
    attempts: 2,
    long_waits: false,
    faults: NO_FAULTS,
    states: 1,
    happens: &[],
};

/// A frozen owner loses the lane; two targets.
pub(super) const TAKEOVER: Case = Case {
    targets: &[0, 1, 0],
    page: 2,
    faults: Faults { expiries: 1, ..NO_FAULTS },
    states: 30_000,
    happens: &[LATE_BATCH, LATE_SETTLEMENT, LATE_READ, TWO_OWNERS],
    ..PLAIN
};

/// The lane moves twice, back to who had it first or on to a third.
pub(super) const TWICE: Case = Case {
    preloaded: 2,
    page: 2,
    faults: Faults { expiries: 2, ..NO_FAULTS },
    states: 30_000,
    happens: &[LATE_BATCH, LATE_SETTLEMENT, LATE_READ, TWO_OWNERS],
    ..PLAIN
};

/// Workers crash at any step; one begins anew.
pub(super) const RESTART: Case = Case {
    faults: Faults { crashes: 2, ..NO_FAULTS },
    states: 20_000,
    happens: &[LATE_BATCH, LATE_SETTLEMENT, LATE_READ],
    ..PLAIN
};

/// A message is put aside, one comes behind it or after it, and the lane moves.
pub(super) const ASIDE: Case = Case {
    long_waits: true,
    faults: Faults { expiries: 1, failures: 1, ..NO_FAULTS },
    states: 50_000,
    happens: &[PUT_ASIDE, LATE_BATCH, LATE_SETTLEMENT, LATE_READ, TWO_OWNERS],
    ..PLAIN
};

/// One target's message is put aside, the other's is not, and its owner crashes.
pub(super) const ASIDE_OF_TWO: Case = Case {
    targets: &[0, 1, 0],
    preloaded: 2,
    page: 2,
    long_waits: true,
    faults: Faults { crashes: 1, failures: 1, ..NO_FAULTS },
    states: 40_000,
    happens: &[PUT_ASIDE, LATE_BATCH, LATE_SETTLEMENT, LATE_READ],
    ..PLAIN
};

/// Two messages are put aside a second time, and their owner crashes in the middle of it.
pub(super) const ASIDE_AGAIN: Case = Case {
    preloaded: 2,
    attempts: 3,
    long_waits: true,
    faults: Faults { crashes: 1, failures: 2, ..NO_FAULTS },
    states: 60_000,
    happens: &[PUT_ASIDE, LATE_BATCH, LATE_SETTLEMENT, LATE_READ],
    ..PLAIN
};

/// A message is tried for the last time.
pub(super) const DEAD: Case = Case {
    preloaded: 2,
    page: 2,
    long_waits: true,
    faults: Faults { expiries: 1, failures: 2, ..NO_FAULTS },
    states: 25_000,
    happens: &[PUT_ASIDE, DIED, LATE_BATCH, LATE_SETTLEMENT, LATE_READ, TWO_OWNERS],
    ..PLAIN
};

/// One owner, and every answer may be lost.
pub(super) const LOST_ANSWERS: Case = Case {
    preloaded: 2,
    page: 2,
    attempts: 3,
    long_waits: true,
    faults: Faults { failures: 1, lost_answers: 1, lost_settles: 1, lost_hand_outs: 1, breaks: 1, ..NO_FAULTS },
    states: 15_000,
    happens: &[PUT_ASIDE, LATE_READ],
    ..PLAIN
};

/// The same across a takeover, without a message put aside.
pub(super) const LOST_TWICE: Case = Case {
    preloaded: 2,
    page: 2,
    faults: Faults { expiries: 1, lost_answers: 1, lost_settles: 1, breaks: 1, ..NO_FAULTS },
    states: 35_000,
    happens: &[LATE_BATCH, LATE_SETTLEMENT, LATE_READ, TWO_OWNERS],
    ..PLAIN
};

/// Redis loses everything, also while a lane moves.
pub(super) const WIPED: Case = Case {
    page: 2,
    faults: Faults { wipes: 1, crashes: 1, ..NO_FAULTS },
    states: 60_000,
    happens: &[LATE_BATCH, LATE_SETTLEMENT, TWO_OWNERS],
    ..PLAIN
};

/// The same with messages put aside.
pub(super) const WIPED_ASIDE: Case = Case {
    long_waits: true,
    faults: Faults { wipes: 1, failures: 1, ..NO_FAULTS },
    states: 10_000,
    happens: &[PUT_ASIDE],
    ..PLAIN
};

/// What breaks where without a rule.
pub(super) const BREAKS: [(Rule, Case, &str); 27] = [
    (Rule::TermOutlivesLease, TAKEOVER, TERMS),
    (Rule::TermOutlivesLease, TAKEOVER, ORDER),
    (Rule::SettleComparesTerm, TAKEOVER, OLD_SETTLES),
    (Rule::SettleComparesTerm, TAKEOVER, AGAIN),
    (Rule::ReadComparesTerm, TAKEOVER, ORDER),
    (Rule::NodeComparesTerm, TAKEOVER, OLD_DELIVERS),
    (Rule::NodeComparesTerm, TAKEOVER, AGAIN),
    (Rule::KillPrevious, TAKEOVER, ORDER),
    (Rule::KillPrevious, TAKEOVER, ENDS),
    (Rule::ReaderOutlivesLease, TAKEOVER, ORDER),
    (Rule::Register, TAKEOVER, ORDER),
    (Rule::KillBeforeRegister, RESTART, ORDER),
    (Rule::KillOnReconnect, LOST_ANSWERS, ENDS),
    (Rule::GroupFromStart, WIPED, LOST),
    (Rule::RecallBeforeDrain, ASIDE, ORDER),
    (Rule::RecallByEntry, ASIDE_AGAIN, ORDER),
    (Rule::DrainBeforeFresh, TAKEOVER, ORDER),
    (Rule::SkipHeld, LOST_ANSWERS, AGAIN),
    (Rule::SkipHeld, LOST_ANSWERS, ORDER),
    (Rule::PassOverHeld, LOST_ANSWERS, EFFECT),
    (Rule::TakeBack, LOST_ANSWERS, ENDS),
    (Rule::NotePassedOver, LOST_ANSWERS, ENDS),
    (Rule::TakeAlong, ASIDE, ORDER),
    (Rule::Follow, ASIDE, ORDER),
    (Rule::DeliverBeforeSettle, TAKEOVER, OUTCOME),
    (Rule::TrimKeepsPending, TAKEOVER, TRIMMED),
    (Rule::TrimKeepsPending, TAKEOVER, LOST),
];
