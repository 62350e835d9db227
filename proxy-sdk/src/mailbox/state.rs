//! One mailbox as a value: what each step does to it, without a store or a clock.
//!
//! Owns the rules. The mailboxes of mode `local` are made of it; those in Redis do the same in scripts, and are compared
//! with it.

mod blank;
mod wanted;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use gim_proto::frame::MsgType;
use gim_proto::{EntryId, Fence, MessageId, Payload};

pub use self::blank::Blank;
use super::page::Draft;
use super::{Acked, Arrival, MailboxBounds, Opened, Page, PageBounds, Position};
use crate::delivery::{LaneOrigin, Message};

/// Ids remembered before those below the low water are looked for; about 50 B each, 70 B in Redis, of every mailbox that ever
/// held so many.
pub(super) const FEW_IDS: usize = 4;

/// See the module.
#[derive(Clone, Debug)]
pub struct Mailbox {
    epoch: u64,
    last: u64,
    acked: u64,
    letters: VecDeque<Letter>,
    bytes: usize,
    /// The highest offset that went because of a bound.
    trimmed: u64,
    /// Every message remembered, and its offset.
    ids: HashMap<Known, u64>,
    /// So many ids are looked through next.
    look_at: usize,
    /// The highest offset of which receipts are wanted.
    wanted: u64,
    /// Of such messages, those that the append of another one has trimmed: as long as that one is remembered.
    trims: BTreeMap<Known, Vec<MessageId>>,
    /// So many of them are not named, and nobody was told so yet.
    unnamed: u64,
    /// The highest ownership that opened it.
    fence: Fence,
    /// Messages remembered and forgotten, in that order, and not told of yet.
    untold: Vec<Told>,
}

/// Where a mailbox stands, without what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its generation.
    pub epoch: u64,
    /// The last offset stored.
    pub last: u64,
    /// The last offset acknowledged.
    pub acked: u64,
    /// The highest offset that went because of a bound.
    pub trimmed: u64,
}

/// A message of a mailbox.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its number.
    pub offset: u64,
    /// How clients see it.
    pub kind: MsgType,
    /// What.
    pub message: Arc<Message>,
    /// When it was stored, Unix milliseconds.
    pub at_ms: u64,
}

/// By what a message is known: an id alone names several, of other lanes or sent again after long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Known {
    /// Its id.
    pub id: MessageId,
    /// The lane it came from.
    pub lane: u16,
    /// Its entry there.
    pub entry: EntryId,
}

/// What became of the memory of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is remembered with this offset.
    Remembered(Known, u64),
    /// It is not any more.
    Forgotten(Known),
}

impl Letter {
    fn bytes(&self) -> usize {
        let (Payload::Json(bytes) | Payload::Raw(bytes)) = &self.message.payload;
        bytes.len()
    }

    /// Tells whether its time is over.
    #[must_use]
    pub fn is_over(&self, now_ms: u64, bounds: &MailboxBounds) -> bool {
        let age_ms = u64::try_from(bounds.age.as_millis()).unwrap_or(u64::MAX);
        self.message.expires_ms.is_some_and(|at| at <= now_ms) || self.at_ms.saturating_add(age_ms) <= now_ms
    }
}

impl Mailbox {
    /// Makes an empty mailbox of an epoch.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            last: 0,
            acked: 0,
            letters: VecDeque::new(),
            bytes: 0,
            trimmed: 0,
            ids: HashMap::new(),
            look_at: FEW_IDS,
            wanted: 0,
            trims: BTreeMap::new(),
            unnamed: 0,
            fence: Fence::default(),
            untold: Vec::new(),
        }
    }

    /// Makes a mailbox as it was: letters in the order of their offsets, and the messages remembered, each
    /// with its offset.
    #[must_use]
    pub fn restored(standing: Standing, letters: VecDeque<Letter>, ids: HashMap<Known, u64>) -> Self {
        let Standing { epoch, last, acked, trimmed } = standing;
        let bytes = letters.iter().map(Letter::bytes).sum();
        let look_at = (ids.len() * 2).max(FEW_IDS);
        let wanted = letters.iter().rfind(|letter| letter.message.receipt).map_or(0, |letter| letter.offset);
        Self { last, acked, letters, bytes, trimmed, ids, look_at, wanted, ..Self::new(epoch) }
    }

    /// Tells where it stands.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing { epoch: self.epoch, last: self.last, acked: self.acked, trimmed: self.trimmed }
    }

    /// Tells the offset of a message that is remembered.
    #[must_use]
    pub fn offset_of(&self, known: &Known) -> Option<u64> {
        self.ids.get(known).copied()
    }

    /// Names the messages remembered, and their offsets.
    pub fn ids(&self) -> impl Iterator<Item = (&Known, u64)> {
        self.ids.iter().map(|(known, offset)| (known, *offset))
    }

    /// Names what was remembered and forgotten since it was asked last, in order.
    pub fn take_untold(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.untold)
    }

    /// Lets the oldest messages go whose time is over, up to one of which receipts are wanted.
    pub fn expire(&mut self, now_ms: u64, bounds: &MailboxBounds) {
        while self.letters.front().is_some_and(|letter| letter.is_over(now_ms, bounds) && !letter.message.receipt) {
            self.pop();
        }
    }

    /// Tells the generation.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Counts bytes of payloads that are not acknowledged.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Shows what is not acknowledged.
    pub fn letters(&self) -> impl DoubleEndedIterator<Item = &Letter> + ExactSizeIterator {
        self.letters.iter()
    }

    /// Appends a message, once.
    pub fn append(
        &mut self,
        lane: &LaneOrigin,
        entry: EntryId,
        message: &Arc<Message>,
        kind: MsgType,
        now_ms: u64,
        bounds: &MailboxBounds,
    ) -> Position {
        let known = Known { id: message.id.clone(), lane: lane.lane, entry };
        if let Some(offset) = self.offset_of(&known) {
            return self.at(offset);
        }
        self.forget_ids(lane);
        self.last += 1;
        let letter = Letter { offset: self.last, kind, message: Arc::clone(message), at_ms: now_ms };
        self.bytes += letter.bytes();
        self.letters.push_back(letter);
        self.untold.push(Told::Remembered(known.clone(), self.last));
        self.ids.insert(known.clone(), self.last);
        if message.receipt {
            self.wanted = self.last;
        }
        self.trim(&known, bounds);
        self.at(self.last)
    }

    /// Opens it for a session. One that was superseded is told how it stands, and changes nothing. `now_us`: microseconds
    /// since 1970.
    pub fn open(&mut self, fence: Fence, arrival: Arrival, now_us: u64) -> Opened {
        let seen = match arrival {
            Arrival::Anew => None,
            Arrival::Resumes(seen) | Arrival::Survives(seen) => Some(seen),
        };
        let is_reset = seen.is_some_and(|seen| seen.epoch != self.epoch || seen.offset > self.last);
        if fence >= self.fence {
            self.fence = fence;
            self.arrive(arrival, is_reset, now_us);
        }
        Opened { epoch: self.epoch, last: self.last, acked: self.acked, is_reset }
    }

    fn arrive(&mut self, arrival: Arrival, is_reset: bool, now_us: u64) {
        match arrival {
            Arrival::Resumes(seen) | Arrival::Survives(seen) if is_reset && seen.epoch == self.epoch => {
                tracing::debug!(
                    epoch = self.epoch,
                    last = self.last,
                    seen = seen.offset,
                    "a mailbox has lost messages"
                );
                self.epoch = now_us.max(self.epoch + 1);
            }
            Arrival::Resumes(seen) if !is_reset && !self.wants_upto(seen.offset) => self.ack_upto(seen.offset),
            Arrival::Anew | Arrival::Resumes(_) | Arrival::Survives(_) => {}
        }
    }

    /// Reads what follows an offset.
    #[must_use]
    pub fn read(&self, after: u64, page: PageBounds, now_ms: u64, bounds: &MailboxBounds) -> Page {
        let after = after.max(self.acked);
        let mut draft = Draft::new(self.epoch, self.last, self.trimmed, after);
        let (mut messages, mut bytes) = (0, 0);
        let first = self.letters.partition_point(|letter| letter.offset <= after);
        for letter in self.letters.range(first..) {
            if messages > 0 && (messages >= page.messages || bytes + letter.bytes() > page.bytes) {
                return draft.broken_off();
            }
            if letter.is_over(now_ms, bounds) {
                draft.over(letter.offset, letter.message.receipt.then(|| letter.message.id.clone()));
                continue;
            }
            messages += 1;
            bytes += letter.bytes();
            draft.letter(letter.offset, letter.kind, Arc::clone(&letter.message));
        }
        draft.finish()
    }

    /// Acknowledges everything up to a position.
    pub fn ack(&mut self, fence: Fence, upto: Position) -> Acked {
        if fence < self.fence {
            return Acked::Superseded;
        }
        if upto.epoch != self.epoch || upto.offset > self.last {
            return Acked::Unknown;
        }
        self.ack_upto(upto.offset);
        Acked::Done
    }

    /// Takes a message out that is not acknowledged: of several with the id the last.
    pub fn cancel(&mut self, id: &MessageId) -> Option<Letter> {
        let at = self.letters.iter().rposition(|letter| letter.message.id == *id)?;
        let letter = self.letters.remove(at)?;
        self.bytes -= letter.bytes();
        Some(letter)
    }

    fn at(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    fn ack_upto(&mut self, offset: u64) {
        self.acked = self.acked.max(offset);
        while self.letters.front().is_some_and(|letter| letter.offset <= self.acked) {
            self.pop();
        }
        if self.letters.is_empty() {
            // Most mailboxes are empty most of the time.
            self.letters.shrink_to_fit();
        }
    }

    fn trim(&mut self, by: &Known, bounds: &MailboxBounds) {
        let mut wanted = Vec::new();
        while self.letters.len() > bounds.messages || (self.bytes > bounds.bytes && self.letters.len() > 1) {
            let Some(letter) = self.pop() else { break };
            self.trimmed = letter.offset;
            wanted.extend(letter.message.receipt.then(|| letter.message.id.clone()));
        }
        self.note_trimmed(by, wanted);
    }

    fn pop(&mut self) -> Option<Letter> {
        let letter = self.letters.pop_front()?;
        self.bytes -= letter.bytes();
        Some(letter)
    }

    /// Looked through when there are twice as many as were left.
    fn forget_ids(&mut self, lane: &LaneOrigin) {
        if self.ids.len() + self.trims.len() >= self.look_at {
            self.forget(lane);
        }
    }

    /// Forgets the ids of a lane below its low water: such an entry does not come again.
    pub fn forget(&mut self, lane: &LaneOrigin) {
        let Some(low_water) = lane.low_water else { return };
        let is_over = |known: &Known| known.lane == lane.lane && known.entry < low_water;
        let gone = self.ids.extract_if(|known, _| is_over(known));
        self.untold.extend(gone.map(|(known, _)| Told::Forgotten(known)));
        self.trims.retain(|known, _| !is_over(known));
        self.look_at = ((self.ids.len() + self.trims.len()) * 2).max(FEW_IDS);
    }
}

#[cfg(test)]
mod tests;
