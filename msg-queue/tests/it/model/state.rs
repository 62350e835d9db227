//! What the model consists of: one lane in Redis, three incarnations of workers, one node, and a record of what happened.
//!
//! Everything is small and `Copy`: a state is hashed and cloned a million times. Entries are numbered in the order they
//! are accepted, terms and times are small counters, a connection is the number of its slot.

use super::lane::{How, Lane};
pub(super) use crate::set::{ENTRIES, Set};

/// Incarnations. The third begins after one of the others has crashed.
pub(super) const WORKERS: usize = 3;
/// Reading connections at a time.
pub(super) const READERS: usize = 5;

/// The whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) redis: Redis,
    pub(super) workers: [Worker; WORKERS],
    /// The highest term the node has seen.
    pub(super) node_term: u8,
    pub(super) record: Record,
    pub(super) faults: Faults,
}

/// One lane in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Redis {
    pub(super) appended: u8,
    pub(super) stream: Set,
    /// Read and not acknowledged. One consumer, whoever reads.
    pub(super) pending: Set,
    /// The consumer group, if there is one: the first entry it has not delivered.
    pub(super) group: Option<u8>,
    pub(super) later: [Option<Aside>; ENTRIES],
    pub(super) lease: Lease,
    pub(super) readers: [Reader; READERS],
    pub(super) clock: u8,
}

/// An entry in `later`: band R, or band T once it is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Aside {
    pub(super) due: u8,
    pub(super) attempts: u8,
    pub(super) handed_out: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub(super) owner: Option<u8>,
    pub(super) term: u8,
    pub(super) reader: Option<u8>,
}

/// A connection that reads, as the server sees it, and the one request that is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reader {
    pub(super) line: Line,
    pub(super) wire: Wire,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Line {
    /// The slot is in nobody's use.
    #[default]
    Free,
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Wire {
    #[default]
    Quiet,
    /// Sent and not executed, or blocked. `known`: what the worker held when it asked.
    Asked { what: Ask, known: Set },
    /// Executed; the answer is on its way.
    Answered { what: Ask, known: Set, got: Set },
}

/// What XREADGROUP is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    /// Pending entries, from one on.
    Pending { from: u8 },
    /// `>`
    Fresh,
}

/// How far an incarnation is with its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    #[default]
    Unborn,
    Crashed,
    /// Owns nothing.
    Idle,
    /// Has the lease; the reader before it has to be ended.
    Kill,
    /// Has to name its own reader.
    Register,
    /// Has to take back what was handed out from `later`.
    Recall,
    /// Reads what was put aside before it took the lane.
    Aside,
    /// Reads what is pending.
    Drain,
    /// Reads what is fresh or due.
    Read,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) phase: Phase,
    pub(super) term: u8,
    /// The reader to be ended.
    pub(super) previous: Option<u8>,
    pub(super) reader: Option<u8>,
    pub(super) lane: Lane,
    /// It remembers nothing of the lane: all that was put aside has to be read first.
    pub(super) anew: bool,
    /// Came up from `later` while it was held.
    pub(super) again: Set,
    /// The one settlement on its way.
    pub(super) settling: Option<Request>,
    /// The one batch on its way.
    pub(super) batch: Option<Batch>,
}

/// A settle script on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) term: u8,
    pub(super) how: [Option<How>; ENTRIES],
    /// The script has run, and whether it was refused.
    pub(super) answer: Option<Answer>,
    /// Whoever sent it still waits for the answer.
    pub(super) awaited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Done,
    Refused,
}

/// A batch on its way to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    pub(super) term: u8,
    pub(super) entries: Set,
    /// Whoever sent it still waits for the answer.
    pub(super) awaited: bool,
}

/// What happened, for the properties. No part of the protocol looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) delivered: Set,
    pub(super) acked: Set,
    pub(super) dead: Set,
    /// Tried for the last time. The dead letter may not have been written.
    pub(super) given_up: Set,
    /// Gone with Redis' data before they were settled.
    pub(super) wiped: Set,
    /// Also what Redis' clock shows, of which a term is made: it rises whatever Redis forgets.
    pub(super) highest_term: u8,
    pub(super) broken: u8,
}

impl Record {
    pub(super) fn settled(self) -> Set {
        self.acked.and(self.dead)
    }
}

/// How many of each fault may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    pub(super) crashes: u8,
    /// The lease of a living owner expires: it is frozen, or cut off.
    pub(super) expiries: u8,
    /// The node cannot be reached for a target.
    pub(super) failures: u8,
    /// The node has answered and the answer is lost.
    pub(super) lost_answers: u8,
    /// A settle script has run and its answer is lost.
    pub(super) lost_settles: u8,
    /// A hand-out from `later` has run and its answer is lost.
    pub(super) lost_hand_outs: u8,
    /// The worker sees its reading connection break; the server may not.
    pub(super) breaks: u8,
    /// Redis loses everything.
    pub(super) wipes: u8,
}
