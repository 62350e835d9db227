//! What the model consists of: the store, two workers, the sessions of one user, the client, and a record of what happened.
//!
//! Entries, terms, fences and epochs are small counters: a state is hashed and cloned a million times.

use std::sync::Arc;

use super::store::Store;
pub(super) use crate::set::{ENTRIES, Set};

/// Sessions at a time.
pub(super) const SESSIONS: usize = 3;

/// The whole system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) store: Store,
    /// What the store will have again if it loses its tail.
    pub(super) synced: Option<Arc<Store>>,
    pub(super) workers: [Worker; 2],
    pub(super) sessions: [Session; SESSIONS],
    /// A hint that was given up by its sender and is still on its way.
    pub(super) stray: Option<Hint>,
    pub(super) client: Client,
    pub(super) record: Record,
    pub(super) faults: Faults,
}

/// A worker with a round of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    /// 0: owns nothing.
    pub(super) term: u8,
    pub(super) round: Set,
    /// The store's run that the round was read from.
    pub(super) run: u8,
    /// Where each entry of the round is, once it was appended.
    pub(super) at: Option<(u64, [u64; ENTRIES])>,
    pub(super) looked: Looked,
}

/// What a worker knows of its round's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Looked {
    #[default]
    No,
    /// This fence owns the uid: it is to be told.
    Owner(u8),
    /// Nobody does, or the owner was told.
    Done,
}

/// A delivery: a message, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hint {
    pub(super) fence: u8,
    pub(super) entry: u8,
    pub(super) epoch: u64,
    pub(super) offset: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    #[default]
    Free,
    /// The upgrade was asked for.
    Arrived,
    Claimed,
    /// Only where the mailbox is opened before the claim.
    Opened,
    Active,
}

/// The server's side of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) phase: Phase,
    pub(super) fence: u8,
    /// What the client said that it has.
    pub(super) resumes: Option<(u64, u64)>,
    /// The store's run that it has spoken to.
    pub(super) run: u8,
    pub(super) epoch: u64,
    /// The cursor: the highest offset handed to the outbox, and the highest known of.
    pub(super) handed: u64,
    pub(super) known: u64,
    pub(super) resumed: u64,
    /// Frames on their way to the client.
    pub(super) pipe: Vec<Frame>,
    /// An acknowledgement on its way from the client: epoch, offset.
    pub(super) up: Option<(u64, u64)>,
    /// One on its way to the store: epoch, offset. It outlives the session.
    pub(super) acking: Option<(u8, u64, u64)>,
    /// The client is gone and the session does not know.
    pub(super) is_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    /// What comes next follows this offset.
    Welcome {
        epoch: u64,
        from: u64,
    },
    /// Everything begins anew.
    Reset {
        epoch: u64,
        from: u64,
    },
    Letter {
        offset: u64,
        entry: u8,
    },
}

/// The application: what it remembers, and its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) session: Option<usize>,
    pub(super) is_welcomed: bool,
    /// Epoch and offset of the last message it has dealt with.
    pub(super) position: Option<(u64, u64)>,
    /// The last it acknowledged on this connection.
    pub(super) acked: u64,
}

/// What happened, for the properties. No part of the protocol looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Record {
    /// Seen by the application.
    pub(super) got: Set,
    /// The same since it last was told that things may come again, or forgot what it has.
    pub(super) once: Set,
    /// The client acknowledged what it did not have: the loss is its own.
    pub(super) is_wild: bool,
    pub(super) broken: u8,
}

/// How many of each fault may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// Another worker takes the lane. The one before is dead, or frozen and thawed at any time.
    pub(super) takeovers: u8,
    /// The connection is lost, and the session notices at any later time.
    pub(super) drops: u8,
    /// A node dies.
    pub(super) deaths: u8,
    /// The application forgets its position.
    pub(super) forgets: u8,
    /// A hint is not answered in time, and arrives late.
    pub(super) strays: u8,
    /// The client acknowledges what it was not handed.
    pub(super) wild: u8,
    /// The store loses what was written since some moment.
    pub(super) tails: u8,
}
