//! What one round of deliveries has in the mailboxes of sessions here.
//!
//! Owns the list of hints of a round. However many are for one session, it gets them in one call. Empty, and without
//! memory, in rounds without durable messages.

use std::sync::Arc;

use gim_proto::frame::MsgType;
use gim_proxy_sdk::delivery::Message;
use gim_proxy_sdk::lease::{Guard, Unproven};
use gim_proxy_sdk::mailbox::Position;

use crate::session::{Hint, Letter, Session};

/// How many sessions are told before other tasks of this thread get their turn.
const SESSIONS_PER_TURN: usize = 256;

/// Of each delivery of a batch, the sessions whose mailboxes this node has put it into, and where. Empty: of none.
pub(crate) type Fans = Vec<Vec<(Session, Position)>>;

/// See the module.
#[derive(Default)]
pub(super) struct Hints {
    letters: Vec<Letter>,
    entries: Vec<Entry>,
    taken: Vec<bool>,
    bytes: usize,
}

struct Entry {
    session: Session,
    hint: Hint,
    index: usize,
}

impl Hints {
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the letters added in this round, each counted once.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add_letter(&mut self, message: &Arc<Message>, kind: MsgType) -> u32 {
        let letter = Letter::new(message, kind);
        self.bytes += letter.len() + 128;
        self.letters.push(letter);
        // A batch is bounded far below 2^32 letters.
        u32::try_from(self.letters.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds a session's hint of a letter. Returns where its answer will be.
    pub(super) fn add(&mut self, session: &Session, at: Position, letter: u32) -> usize {
        let index = self.entries.len();
        self.entries.push(Entry { session: session.clone(), hint: Hint::new(at, letter), index });
        index
    }

    /// Tells every session its hints, in order, as long as the guard lets it.
    pub(super) async fn tell(&mut self, guard: Option<&Guard>) -> Result<(), Unproven> {
        self.taken = vec![false; self.entries.len()];
        if self.letters.len() > 1 {
            // Stable: the hints of one session stay in their order.
            self.entries.sort_by_key(|entry| entry.session.0.slot);
        }
        let mut hints = Vec::new();
        let Self { entries, letters, taken, .. } = self;
        for (number, of_one) in entries.chunk_by(|one, other| one.session.same_as(&other.session)).enumerate() {
            if let Some(guard) = guard.filter(|guard| !guard.is_proven()) {
                guard.wait().await?;
            }
            hints.clear();
            hints.extend(of_one.iter().map(|entry| entry.hint));
            let is_taken = of_one.first().is_some_and(|first| first.session.hint(&hints, letters));
            for entry in of_one {
                taken[entry.index] = is_taken;
            }
            if number % SESSIONS_PER_TURN == SESSIONS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Whether the session of an answer knows of the letter.
    pub(super) fn is_taken(&self, index: usize) -> bool {
        self.taken.get(index).copied().unwrap_or_default()
    }
}
