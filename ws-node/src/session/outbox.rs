//! The one way to a client's socket: every byte a session sends goes through its outbox, in order.
//!
//! Owns what waits for the socket and the decision what to give up when too much does. While nothing waits it holds no
//! memory beyond its lock, and a frame goes to the kernel in the caller's own write call. It never waits for a client:
//! when the socket would block, the rest stays here and [`Offer::Waiting`] asks the caller to start the one drainer.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// What may happen to a frame that has to wait.
#[derive(Clone, Debug)]
pub(crate) enum Keep {
    /// Replies, notices and control frames: never dropped.
    Always,
    /// The oldest go first when the outbox is full.
    Live,
    /// A newer one with the same key takes its place.
    Latest(Arc<str>),
}

/// One frame on its way, its bytes shared with other recipients.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The whole WebSocket frame.
    pub(crate) bytes: Bytes,
    /// What may happen to it.
    pub(crate) keep: Keep,
}

/// Bounds of one outbox, and what happens there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxBounds {
    /// Most bytes that wait. What may not be dropped may take twice that.
    pub(crate) bytes: usize,
    /// Most frames that wait. What may not be dropped may take twice that.
    pub(crate) frames: usize,
    /// Whether a full outbox ends the session instead of dropping its oldest frames.
    pub(crate) close_when_full: bool,
}

/// What an offer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// The kernel has it, or it stands behind frames a drainer is already writing.
    Taken,
    /// It waits, and nobody drains this outbox yet: the caller starts the drainer.
    Waiting,
    /// There is no room, and nothing older that could make some: it was dropped. Of several, the last was.
    Dropped,
    /// The outbox is over its bound and the session has to end.
    Overflow,
    /// The session accepts nothing any more. If its connection broke just now, its reader has to be woken.
    Closed,
}

/// Where a session's life stands, as far as its outbox cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// The handshake is not answered: everything waits.
    Held,
    Open,
    /// A close frame is the last thing in here.
    Closing,
    Shut,
}

#[derive(Debug)]
struct State {
    gate: Gate,
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Queued>,
    bytes: usize,
    /// Bytes of the first frame that the kernel has already.
    written: usize,
    next: u64,
    latest: HashMap<Arc<str>, u64>,
    dropped: u64,
    /// Whether somebody was asked to drain this.
    has_drainer: bool,
}

#[derive(Debug)]
struct Queued {
    number: u64,
    part: Part,
}

/// What one call to [`Outbox::drain`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nothing waits any more; the drainer ends. `closing`: the close frame is out.
    Empty { closing: bool },
    /// The kernel took something; there is more.
    Progress,
    /// The socket would block.
    Blocked,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox(Mutex<State>);

impl Outbox {
    pub(crate) const fn held() -> Self {
        Self(Mutex::new(State { gate: Gate::Held, waiting: None }))
    }

    /// Offers frames that one write call may carry: `joined` is the concatenation of `parts`.
    ///
    /// Returns the outcome and how many older frames were dropped for it.
    pub(crate) fn offer(
        &self,
        bounds: OutboxBounds,
        joined: &[u8],
        parts: &[Part],
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> (Offer, u64) {
        let mut state = self.lock();
        match state.gate {
            Gate::Closing | Gate::Shut => return (Offer::Closed, 0),
            Gate::Held => return state.wait_for_handshake(bounds, parts),
            Gate::Open => {}
        }
        if let Some(waiting) = &mut state.waiting {
            let offer = waiting.push_all(parts, bounds);
            return (offer, std::mem::take(&mut waiting.dropped));
        }
        match send(joined) {
            Ok(sent) if sent == joined.len() => (Offer::Taken, 0),
            Ok(sent) => state.keep_rest(bounds, parts, sent),
            Err(error) if would_block(&error) => state.keep_rest(bounds, parts, 0),
            Err(_) => (state.broken(), 0),
        }
    }

    /// Answers the handshake: `head` and then all that waited for it go out first.
    pub(crate) fn open(&self, head: Vec<u8>, send: impl FnOnce(&[u8]) -> io::Result<usize>) -> Offer {
        let mut state = self.lock();
        let closing = match state.gate {
            Gate::Held => {
                state.gate = Gate::Open;
                false
            }
            Gate::Closing => true,
            Gate::Open | Gate::Shut => return Offer::Closed,
        };
        let mut waiting = state.waiting.take().unwrap_or_default();
        waiting.push_front(Part { bytes: Bytes::from(head), keep: Keep::Always });
        let joined = waiting.joined();
        let sent = match send(&joined) {
            Ok(sent) => sent,
            Err(error) if would_block(&error) => 0,
            Err(_) => return state.broken(),
        };
        waiting.advance(sent);
        if waiting.frames.is_empty() {
            return if closing { Offer::Closed } else { Offer::Taken };
        }
        waiting.has_drainer = true;
        state.waiting = Some(waiting);
        Offer::Waiting
    }

    /// Makes `last` the last frames of this session. `give_up`: what may be dropped is dropped first.
    ///
    /// Returns `None` when a close frame was there before.
    pub(crate) fn close(
        &self,
        last: &[Part],
        give_up: bool,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Option<Offer> {
        let mut state = self.lock();
        let held = match state.gate {
            Gate::Closing | Gate::Shut => return None,
            Gate::Held => true,
            Gate::Open => false,
        };
        state.gate = Gate::Closing;
        if let Some(waiting) = &mut state.waiting {
            if give_up {
                waiting.give_up();
            }
            for part in last {
                waiting.push(part.clone());
            }
            // An outbox that overflowed at its first rest has no drainer yet.
            let drained = held || std::mem::replace(&mut waiting.has_drainer, true);
            return Some(if drained { Offer::Taken } else { Offer::Waiting });
        }
        let mut waiting = Box::<Waiting>::default();
        for part in last {
            waiting.push(part.clone());
        }
        if !held {
            match send(&waiting.joined()) {
                Ok(sent) => waiting.advance(sent),
                Err(error) if would_block(&error) => {}
                Err(_) => return Some(state.broken()),
            }
            if waiting.frames.is_empty() {
                return Some(Offer::Taken);
            }
        }
        waiting.has_drainer = !held;
        state.waiting = Some(waiting);
        Some(if held { Offer::Taken } else { Offer::Waiting })
    }

    /// Accepts nothing any more and forgets what waits. Returns how many frames that were.
    pub(crate) fn shut(&self) -> usize {
        let mut state = self.lock();
        state.gate = Gate::Shut;
        state.waiting.take().map_or(0, |waiting| waiting.frames.len())
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The socket's, other than that it would block.
    pub(crate) fn drain(&self, send: impl FnOnce(&[io::IoSlice<'_>]) -> io::Result<usize>) -> io::Result<Drained> {
        let mut state = self.lock();
        let closing = matches!(state.gate, Gate::Closing | Gate::Shut);
        let Some(waiting) = &mut state.waiting else {
            return Ok(Drained::Empty { closing });
        };
        let sent = match send(&waiting.slices()) {
            Ok(sent) => sent,
            Err(error) if would_block(&error) => return Ok(Drained::Blocked),
            Err(error) => {
                state.broken();
                return Err(error);
            }
        };
        waiting.advance(sent);
        if waiting.frames.is_empty() {
            state.waiting = None;
            return Ok(Drained::Empty { closing });
        }
        Ok(Drained::Progress)
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.lock().gate, Gate::Closing | Gate::Shut)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.lock().waiting.is_none()
    }

    /// The lock covers one non-blocking write: what two tasks send to one socket must not interleave.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The connection is gone: nothing will be written any more.
    fn broken(&mut self) -> Offer {
        self.gate = Gate::Shut;
        self.waiting = None;
        Offer::Closed
    }

    fn wait_for_handshake(&mut self, bounds: OutboxBounds, parts: &[Part]) -> (Offer, u64) {
        let waiting = self.waiting.get_or_insert_default();
        let offer = waiting.push_all(parts, bounds);
        (offer, std::mem::take(&mut waiting.dropped))
    }

    fn keep_rest(&mut self, bounds: OutboxBounds, parts: &[Part], mut sent: usize) -> (Offer, u64) {
        let mut waiting = Box::<Waiting>::default();
        let mut rest = parts;
        while let Some((first, others)) = rest.split_first()
            && sent >= first.bytes.len()
        {
            sent -= first.bytes.len();
            rest = others;
        }
        if let Some((first, others)) = rest.split_first() {
            waiting.push(first.clone());
            waiting.advance(sent);
            rest = others;
        }
        let fits = waiting.push_all(rest, bounds) != Offer::Overflow;
        let dropped = std::mem::take(&mut waiting.dropped);
        waiting.has_drainer = fits;
        self.waiting = Some(waiting);
        (if fits { Offer::Waiting } else { Offer::Overflow }, dropped)
    }
}

impl Waiting {
    /// Taken, or dropped on arrival as the last of them was, or the session has to end.
    fn push_all(&mut self, parts: &[Part], bounds: OutboxBounds) -> Offer {
        let mut offer = Offer::Taken;
        for part in parts {
            offer = self.push_bounded(part, bounds);
            if offer == Offer::Overflow {
                break;
            }
        }
        offer
    }

    fn push_bounded(&mut self, part: &Part, bounds: OutboxBounds) -> Offer {
        if let Keep::Latest(key) = &part.keep
            && let Some(number) = self.latest.get(key).copied()
        {
            self.remove(number);
        }
        while !self.has_room(part, bounds.bytes, bounds.frames) {
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
            if !self.has_room(part, bounds.bytes * 2, bounds.frames * 2) {
                return Offer::Overflow;
            }
            break;
        }
        self.push(part.clone());
        Offer::Taken
    }

    /// A lone frame always has room: it may be larger than the bound.
    fn has_room(&self, part: &Part, bytes: usize, frames: usize) -> bool {
        self.frames.is_empty() || (self.frames.len() < frames && self.bytes + part.bytes.len() <= bytes)
    }

    fn push(&mut self, part: Part) {
        self.next += 1;
        let number = self.next;
        self.bytes += part.bytes.len();
        if let Keep::Latest(key) = &part.keep {
            self.latest.insert(Arc::clone(key), number);
        }
        self.frames.push_back(Queued { number, part });
    }

    fn push_front(&mut self, part: Part) {
        self.bytes += part.bytes.len();
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
        self.bytes -= queued.part.bytes.len();
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
            self.bytes -= queued.part.bytes.len();
        }
    }

    fn give_up(&mut self) {
        let keep_first = self.written > 0;
        let mut index = 0;
        self.frames.retain(|queued| {
            let keep = (index == 0 && keep_first) || matches!(queued.part.keep, Keep::Always);
            index += 1;
            keep
        });
        self.bytes = self.frames.iter().map(|queued| queued.part.bytes.len()).sum();
        self.latest.clear();
    }

    fn advance(&mut self, sent: usize) {
        self.written += sent;
        while let Some(first) = self.frames.front()
            && self.written >= first.part.bytes.len()
        {
            let length = first.part.bytes.len();
            self.written -= length;
            self.bytes -= length;
            if let Some(queued) = self.frames.pop_front()
                && let Keep::Latest(key) = &queued.part.keep
                && self.latest.get(key) == Some(&queued.number)
            {
                self.latest.remove(key);
            }
        }
    }

    fn slices(&self) -> Vec<io::IoSlice<'_>> {
        // Linux takes at most 1,024 slices in one call.
        const MOST: usize = 256;
        let mut skip = self.written;
        self.frames
            .iter()
            .take(MOST)
            .map(|queued| {
                let bytes = queued.part.bytes.get(skip..).unwrap_or_default();
                skip = 0;
                io::IoSlice::new(bytes)
            })
            .collect()
    }

    fn joined(&self) -> BytesMut {
        let mut joined = BytesMut::with_capacity(self.bytes);
        for queued in &self.frames {
            joined.extend_from_slice(&queued.part.bytes);
        }
        joined
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
