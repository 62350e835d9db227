//! The cases: few messages, few faults, everything that can happen with them. And what goes wrong in which of them when one
//! rule is left out.

use super::properties::Event::*;
use super::properties::{APPEND_FIRST, KEPT, LOST, ORDER, TWICE, WITHIN};
use super::protocol::{Case, Rule};
use super::state::Faults;

const NO_FAULTS: Faults = Faults { takeovers: 0, drops: 0, deaths: 0, forgets: 0, strays: 0, wild: 0, tails: 0 };

const PLAIN: Case = Case { entries: 2, page: 1, faults: NO_FAULTS, states: 1, happens: &[] };

/// The client goes and comes back, with its position and without.
pub(super) const DROPS: Case = Case {
    faults: Faults { drops: 1, forgets: 1, ..NO_FAULTS },
    states: 15_000,
    happens: &[WrittenAtOnce, Replayed, LateAck],
    ..PLAIN
};

/// The lane moves twice, back to who had it first, who may have been frozen all the time.
pub(super) const TAKEOVERS: Case = Case {
    faults: Faults { takeovers: 2, ..NO_FAULTS },
    states: 7_000,
    happens: &[WrittenAtOnce, Replayed, Redelivered, LateAppend],
    ..PLAIN
};

/// The lane moves, and the client too.
pub(super) const BOTH: Case = Case {
    entries: 1,
    faults: Faults { takeovers: 2, drops: 1, forgets: 1, ..NO_FAULTS },
    states: 5_000,
    happens: &[WrittenAtOnce, Replayed, Redelivered, LateAppend, LateAck],
    ..PLAIN
};

/// A node dies. Three messages come in pages of two.
pub(super) const DEATH: Case = Case {
    entries: 3,
    page: 2,
    faults: Faults { deaths: 1, ..NO_FAULTS },
    states: 5_000,
    happens: &[WrittenAtOnce, Replayed],
};

/// Hints come late, and twice.
pub(super) const LATE: Case = Case {
    faults: Faults { deaths: 1, strays: 1, ..NO_FAULTS },
    states: 5_000,
    happens: &[WrittenAtOnce, Replayed, OldHint],
    ..PLAIN
};

/// The client acknowledges what it does not have.
pub(super) const WILD: Case =
    Case { faults: Faults { wild: 1, ..NO_FAULTS }, states: 900, happens: &[AckRefused], ..PLAIN };

/// The store loses its tail.
pub(super) const TAIL: Case = Case {
    faults: Faults { tails: 1, ..NO_FAULTS },
    states: 5_000,
    happens: &[Reset, WrittenAtOnce, Replayed],
    ..PLAIN
};

/// The same while the client is away.
pub(super) const TAIL_AWAY: Case = Case {
    entries: 1,
    faults: Faults { tails: 1, drops: 1, ..NO_FAULTS },
    states: 2_000,
    happens: &[Reset, WrittenAtOnce, Replayed],
    ..PLAIN
};

/// What breaks where without a rule.
pub(super) const BREAKS: &[(Rule, Case, &str)] = &[
    (Rule::RememberIds, TAKEOVERS, TWICE),
    (Rule::AppendAsOwner, TAKEOVERS, TWICE),
    (Rule::AppendBeforeSettle, TAKEOVERS, APPEND_FIRST),
    (Rule::AppendBeforeSettle, TAKEOVERS, KEPT),
    (Rule::AppendBeforeLookUp, DROPS, LOST),
    (Rule::ClaimBeforeOpen, DROPS, LOST),
    (Rule::HintAtCursor, DROPS, ORDER),
    (Rule::HintAtCursor, LATE, TWICE),
    (Rule::AckWithinCursor, WILD, WITHIN),
    (Rule::AckComparesFence, DROPS, ORDER),
    (Rule::EpochRises, TAIL, LOST),
    (Rule::AskAfterRun, TAIL, LOST),
    (Rule::BeginAnewAfterRun, TAIL, KEPT),
    (Rule::AckNamesEpoch, TAIL, KEPT),
    (Rule::AskBeforeAppend, TAIL, LOST),
];
