//! What waits for one socket, and what goes first when it is too much.
//!
//! Owns the order of frames and the choice among them. Never touches a socket.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::BytesMut;

use super::total::Charge;
use super::{Keep, Offer, OutboxBounds, Part};

/// What waits for one socket, in order.
#[derive(Debug)]
pub(super) struct Waiting {
    frames: VecDeque<Queued>,
    bytes: usize,
    /// Bytes of the first frame that the kernel has already.
    written: usize,
    next: u64,
    latest: HashMap<Arc<str>, u64>,
    /// Frames dropped since somebody asked.
    pub(super) dropped: u64,
    /// Whether somebody was asked to drain this.
    pub(super) has_drainer: bool,
    /// Of the frames and bytes, those of class `durable`.
    durable: (usize, usize),
    charge: Charge,
}

#[derive(Debug)]
struct Queued {
    number: u64,
    part: Part,
}

impl Waiting {
    pub(super) fn new(bounds: &OutboxBounds) -> Box<Self> {
        Box::new(Self {
            frames: VecDeque::new(),
            bytes: 0,
            written: 0,
            next: 0,
            latest: HashMap::new(),
            dropped: 0,
            has_drainer: false,
            durable: (0, 0),
            charge: Charge::new(&bounds.total),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Taken, or dropped on arrival as the last of them was, or the session has to end.
    pub(super) fn push_all(&mut self, parts: &[Part], bounds: &OutboxBounds) -> Offer {
        let mut offer = Offer::Taken;
        for part in parts {
            offer = self.push_bounded(part, bounds);
            if offer == Offer::Overflow {
                break;
            }
        }
        offer
    }

    /// Takes a value that may be dropped, but not end the session.
    pub(super) fn push_value(&mut self, part: &Part, bounds: &OutboxBounds) -> Offer {
        self.make_way(part);
        if !self.has_room(part, bounds.total.allow(bounds.bytes), bounds.frames) {
            return Offer::Dropped;
        }
        self.push(part.clone());
        Offer::Taken
    }

    fn push_bounded(&mut self, part: &Part, bounds: &OutboxBounds) -> Offer {
        if matches!(part.keep, Keep::Durable) {
            self.push(part.clone());
            return Offer::Taken;
        }
        self.make_way(part);
        let bytes = bounds.total.allow(bounds.bytes);
        if bytes < bounds.bytes && !self.has_room(part, bytes, bounds.frames) {
            bounds.total.note_reached();
        }
        while !self.has_room(part, bytes, bounds.frames) {
            if bounds.close_when_full {
                return Offer::Overflow;
            }
            if self.drop_oldest() {
                continue;
            }
            if matches!(part.keep, Keep::Live) {
                self.dropped += 1;
                return Offer::Dropped;
            }
            if !self.has_room(part, bytes * 2, bounds.frames * 2) {
                return Offer::Overflow;
            }
            break;
        }
        self.push(part.clone());
        Offer::Taken
    }

    /// An older value of the same key goes.
    fn make_way(&mut self, part: &Part) {
        if let Keep::Latest(key) = &part.keep
            && let Some(number) = self.latest.get(key).copied()
        {
            self.remove(number);
        }
    }

    /// A lone frame always has room: it may be larger than the bound. Durable ones do not count.
    fn has_room(&self, part: &Part, bytes: usize, frames: usize) -> bool {
        let (durable_frames, durable_bytes) = self.durable;
        let (waiting_frames, waiting_bytes) = (self.frames.len() - durable_frames, self.bytes - durable_bytes);
        waiting_frames == 0 || (waiting_frames < frames && waiting_bytes + part.len() <= bytes)
    }

    pub(super) fn push(&mut self, part: Part) {
        self.next += 1;
        let number = self.next;
        self.count(&part);
        if let Keep::Latest(key) = &part.keep {
            self.latest.insert(Arc::clone(key), number);
        }
        self.frames.push_back(Queued { number, part });
    }

    pub(super) fn push_front(&mut self, part: Part) {
        self.count(&part);
        // Never looked up by number: the head of the handshake is neither dropped nor replaced.
        self.frames.push_front(Queued { number: 0, part });
    }

    /// Drops the oldest `live` frame that the kernel has nothing of.
    fn drop_oldest(&mut self) -> bool {
        let first = usize::from(self.written > 0);
        let found = (first..self.frames.len())
            .find(|index| self.frames.get(*index).is_some_and(|queued| matches!(queued.part.keep, Keep::Live)));
        let Some(queued) = found.and_then(|index| self.frames.remove(index)) else {
            return false;
        };
        self.discount(&queued.part);
        self.dropped += 1;
        true
    }

    /// Removes a `latest` frame that a newer one replaces, unless part of it is written.
    fn remove(&mut self, number: u64) {
        let Ok(index) = self.frames.binary_search_by_key(&number, |queued| queued.number) else {
            return;
        };
        if index == 0 && self.written > 0 {
            return;
        }
        if let Some(queued) = self.frames.remove(index) {
            self.discount(&queued.part);
        }
    }

    pub(super) fn give_up(&mut self) {
        let keep_first = self.written > 0;
        for (index, queued) in std::mem::take(&mut self.frames).into_iter().enumerate() {
            if (index == 0 && keep_first) || matches!(queued.part.keep, Keep::Always) {
                self.frames.push_back(queued);
            } else {
                self.discount(&queued.part);
            }
        }
        self.latest.clear();
    }

    pub(super) fn advance(&mut self, sent: usize) {
        self.written += sent;
        while let Some(first) = self.frames.front()
            && self.written >= first.part.len()
            && let Some(queued) = self.frames.pop_front()
        {
            self.written -= queued.part.len();
            self.discount(&queued.part);
            if let Keep::Latest(key) = &queued.part.keep
                && self.latest.get(key) == Some(&queued.number)
            {
                self.latest.remove(key);
            }
        }
    }

    fn count(&mut self, part: &Part) {
        self.bytes += part.len();
        if matches!(part.keep, Keep::Durable) {
            self.durable.0 += 1;
            self.durable.1 += part.len();
        }
        self.charge.set(self.bytes);
    }

    fn discount(&mut self, part: &Part) {
        self.bytes -= part.len();
        if matches!(part.keep, Keep::Durable) {
            self.durable.0 -= 1;
            self.durable.1 -= part.len();
        }
        self.charge.set(self.bytes);
    }

    pub(super) fn slices(&self) -> Vec<io::IoSlice<'_>> {
        // Linux takes at most 1,024 slices in one call.
        const MOST: usize = 256;
        let mut skip = self.written;
        let pieces = self.frames.iter().take(MOST).flat_map(|queued| [&queued.part.head, &queued.part.bytes]);
        let rest = pieces.map(|piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            piece.get(skipped..).unwrap_or_default()
        });
        rest.filter(|rest| !rest.is_empty()).map(io::IoSlice::new).collect()
    }

    pub(super) fn joined(&self) -> BytesMut {
        let mut joined = BytesMut::with_capacity(self.bytes);
        for queued in &self.frames {
            joined.extend_from_slice(&queued.part.head);
            joined.extend_from_slice(&queued.part.bytes);
        }
        joined
    }
}
