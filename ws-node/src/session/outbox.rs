//! The one way to a client's socket: every byte a session sends goes through its outbox, in order.
//!
//! Owns what waits for the socket and the decision what to give up when too much does. While nothing waits it holds no
//! memory beyond its lock, and a frame goes to the kernel in the caller's own write call. It never waits for a client:
//! when the socket would block, the rest stays here and [`Offer::Waiting`] asks the caller to start the one drainer.

#[cfg(feature = "measure")]
pub(crate) mod measure;
mod notes;
mod total;
mod waiting;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use self::notes::Notes;
pub(crate) use self::total::{FAIR, OutboxTotal};
use self::waiting::Waiting;

/// What may happen to a frame that has to wait.
#[derive(Clone, Debug)]
pub(crate) enum Keep {
    /// Replies, notices and control frames: never dropped.
    Always,
    /// The oldest go first when the outbox is full.
    Live,
    /// A newer one with the same key takes its place.
    Latest(Arc<str>),
    /// Never dropped, and outside the bounds of the rest: there is never more of it than one page of a mailbox.
    Durable,
}

/// One frame on its way, its bytes shared with other recipients.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The beginning of the frame, where that is this connection's own.
    pub(crate) head: Bytes,
    /// The rest of the WebSocket frame, as a rule all of it.
    pub(crate) bytes: Bytes,
    /// What may happen to it.
    pub(crate) keep: Keep,
}

impl Part {
    pub(crate) const fn new(bytes: Bytes, keep: Keep) -> Self {
        Self { head: Bytes::new(), bytes, keep }
    }

    fn len(&self) -> usize {
        self.head.len() + self.bytes.len()
    }
}

/// Bounds of one outbox, and what happens there.
#[derive(Clone, Debug)]
pub(crate) struct OutboxBounds {
    /// Most bytes that wait. What may not be dropped may take twice that.
    pub(crate) bytes: usize,
    /// Most frames that wait. What may not be dropped may take twice that.
    pub(crate) frames: usize,
    /// Whether a full outbox ends the session instead of dropping its oldest frames.
    pub(crate) close_when_full: bool,
    /// What waits in all outboxes of the node together.
    pub(crate) total: Arc<OutboxTotal>,
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

/// As small as it can be: it shares a line of memory with the socket.
#[derive(Debug)]
struct State {
    gate: Gate,
    /// What few outboxes have, and those for a while.
    beside: Option<Box<Beside>>,
}

/// Frames that wait, and notes.
#[derive(Debug, Default)]
struct Beside {
    waiting: Option<Box<Waiting>>,
    /// Keys of class `latest` offered while somebody reads older values of them.
    notes: Option<Notes>,
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
        Self(Mutex::new(State { gate: Gate::Held, beside: None }))
    }

    /// Offers frames that one write call may carry: `joined` is the concatenation of `parts`, which are made only when
    /// something has to wait.
    ///
    /// Returns the outcome and how many older frames were dropped for it.
    pub(crate) fn offer<P: AsRef<[Part]>>(
        &self,
        bounds: &OutboxBounds,
        joined: &[u8],
        parts: impl Fn() -> P,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> (Offer, u64) {
        let mut state = self.lock();
        if let Some(notes) = state.notes_mut() {
            notes.note(parts().as_ref());
        }
        match state.gate {
            Gate::Closing | Gate::Shut => return (Offer::Closed, 0),
            Gate::Held => return state.wait_for_handshake(bounds, parts().as_ref()),
            Gate::Open => {}
        }
        if let Some(waiting) = state.waiting_mut() {
            let offer = waiting.push_all(parts().as_ref(), bounds);
            return (offer, std::mem::take(&mut waiting.dropped));
        }
        match send(joined) {
            Ok(sent) if sent == joined.len() => (Offer::Taken, 0),
            Ok(sent) => state.keep_rest(bounds, parts().as_ref(), sent),
            Err(error) if would_block(&error) => state.keep_rest(bounds, parts().as_ref(), 0),
            Err(_) => (state.broken(), 0),
        }
    }

    /// Offers durable frames. `parts` are made only when something has to wait.
    pub(crate) fn offer_durable(
        &self,
        bounds: &OutboxBounds,
        joined: &[u8],
        parts: impl FnOnce() -> Vec<Part>,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Offer {
        let mut state = self.lock();
        match state.gate {
            Gate::Closing | Gate::Shut => return Offer::Closed,
            Gate::Held => return state.wait_for_handshake(bounds, &parts()).0,
            Gate::Open => {}
        }
        if let Some(waiting) = state.waiting_mut() {
            return waiting.push_all(&parts(), bounds);
        }
        match send(joined) {
            Ok(sent) if sent == joined.len() => Offer::Taken,
            Ok(sent) => state.keep_rest(bounds, &parts(), sent).0,
            Err(error) if would_block(&error) => state.keep_rest(bounds, &parts(), 0).0,
            Err(_) => state.broken(),
        }
    }

    /// Offers a value that was read, not delivered: unless a newer one of its key was offered since [`Outbox::begin_notes`].
    /// What has no room is dropped.
    pub(crate) fn offer_value(
        &self,
        bounds: &OutboxBounds,
        part: &Part,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Offer {
        let mut state = self.lock();
        if state.notes_mut().is_some_and(|notes| !notes.is_first(part)) {
            return Offer::Taken;
        }
        match state.gate {
            Gate::Closing | Gate::Shut => return Offer::Closed,
            Gate::Held => return state.waiting(bounds).push_value(part, bounds),
            Gate::Open => {}
        }
        if let Some(waiting) = state.waiting_mut() {
            return waiting.push_value(part, bounds);
        }
        match send(&part.bytes) {
            Ok(sent) if sent == part.bytes.len() => Offer::Taken,
            Ok(sent) => state.keep_rest(bounds, std::slice::from_ref(part), sent).0,
            Err(error) if would_block(&error) => state.keep_rest(bounds, std::slice::from_ref(part), 0).0,
            Err(_) => state.broken(),
        }
    }

    /// Takes note of the keys that are offered, until [`Outbox::end_notes`].
    pub(crate) fn begin_notes(&self) {
        self.lock().beside.get_or_insert_default().notes.get_or_insert_default().begin();
    }

    /// Ends what [`Outbox::begin_notes`] began.
    pub(crate) fn end_notes(&self) {
        let mut state = self.lock();
        if state.notes_mut().is_some_and(Notes::end) {
            if let Some(beside) = &mut state.beside {
                beside.notes = None;
            }
            state.tidy();
        }
    }

    /// Answers the handshake: `head` and then all that waited for it go out first.
    pub(crate) fn open(
        &self,
        bounds: &OutboxBounds,
        head: Vec<u8>,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Offer {
        let mut state = self.lock();
        let closing = match state.gate {
            Gate::Held => {
                state.gate = Gate::Open;
                false
            }
            Gate::Closing => true,
            Gate::Open | Gate::Shut => return Offer::Closed,
        };
        let (sent, mut waiting) = if let Some(mut waiting) = state.take_waiting() {
            waiting.push_front(Part::new(Bytes::from(head), Keep::Always));
            (send(&waiting.joined()), waiting)
        } else {
            // As a rule nothing waits, and the socket takes it.
            let sent = send(&head);
            if sent.as_ref().is_ok_and(|sent| *sent == head.len()) {
                return if closing { Offer::Closed } else { Offer::Taken };
            }
            let mut waiting = Waiting::new(bounds);
            waiting.push_front(Part::new(Bytes::from(head), Keep::Always));
            (sent, waiting)
        };
        match sent {
            Ok(sent) => waiting.advance(sent),
            Err(error) if would_block(&error) => {}
            Err(_) => return state.broken(),
        }
        if waiting.is_empty() {
            return if closing { Offer::Closed } else { Offer::Taken };
        }
        waiting.has_drainer = true;
        state.keep(waiting);
        Offer::Waiting
    }

    /// Makes `last` the last frames of this session. `give_up`: what may be dropped is dropped first.
    ///
    /// Returns `None` when a close frame was there before.
    pub(crate) fn close(
        &self,
        bounds: &OutboxBounds,
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
        if let Some(waiting) = state.waiting_mut() {
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
        let mut waiting = Waiting::new(bounds);
        for part in last {
            waiting.push(part.clone());
        }
        if !held {
            match send(&waiting.joined()) {
                Ok(sent) => waiting.advance(sent),
                Err(error) if would_block(&error) => {}
                Err(_) => return Some(state.broken()),
            }
            if waiting.is_empty() {
                return Some(Offer::Taken);
            }
        }
        waiting.has_drainer = !held;
        state.keep(waiting);
        Some(if held { Offer::Taken } else { Offer::Waiting })
    }

    /// Accepts nothing any more and forgets what waits. Returns how many frames that were.
    pub(crate) fn shut(&self) -> usize {
        let mut state = self.lock();
        state.gate = Gate::Shut;
        state.take_waiting().map_or(0, |waiting| waiting.len())
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The socket's, other than that it would block.
    pub(crate) fn drain(&self, send: impl FnOnce(&[io::IoSlice<'_>]) -> io::Result<usize>) -> io::Result<Drained> {
        let mut state = self.lock();
        let closing = matches!(state.gate, Gate::Closing | Gate::Shut);
        let Some(waiting) = state.waiting_mut() else {
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
        if waiting.is_empty() {
            drop(state.take_waiting());
            return Ok(Drained::Empty { closing });
        }
        Ok(Drained::Progress)
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.lock().gate, Gate::Closing | Gate::Shut)
    }

    /// Whether nothing waits and the session takes frames.
    pub(crate) fn takes_at_once(&self) -> bool {
        let state = self.lock();
        state.gate == Gate::Open && !state.is_anything_waiting()
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.lock().is_anything_waiting()
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
        drop(self.take_waiting());
        Offer::Closed
    }

    fn wait_for_handshake(&mut self, bounds: &OutboxBounds, parts: &[Part]) -> (Offer, u64) {
        let waiting = self.waiting(bounds);
        let offer = waiting.push_all(parts, bounds);
        (offer, std::mem::take(&mut waiting.dropped))
    }

    fn waiting(&mut self, bounds: &OutboxBounds) -> &mut Waiting {
        self.beside.get_or_insert_default().waiting.get_or_insert_with(|| Waiting::new(bounds))
    }

    fn waiting_mut(&mut self) -> Option<&mut Waiting> {
        self.beside.as_mut()?.waiting.as_deref_mut()
    }

    fn is_anything_waiting(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.waiting.is_some())
    }

    fn take_waiting(&mut self) -> Option<Box<Waiting>> {
        let waiting = self.beside.as_mut()?.waiting.take();
        self.tidy();
        waiting
    }

    fn keep(&mut self, waiting: Box<Waiting>) {
        self.beside.get_or_insert_default().waiting = Some(waiting);
    }

    fn notes_mut(&mut self) -> Option<&mut Notes> {
        self.beside.as_mut()?.notes.as_mut()
    }

    /// Gives back the memory of what is beside, if it is nothing.
    fn tidy(&mut self) {
        if self.beside.as_ref().is_some_and(|beside| beside.waiting.is_none() && beside.notes.is_none()) {
            self.beside = None;
        }
    }

    fn keep_rest(&mut self, bounds: &OutboxBounds, parts: &[Part], mut sent: usize) -> (Offer, u64) {
        let mut waiting = Waiting::new(bounds);
        let mut rest = parts;
        while let Some((first, others)) = rest.split_first()
            && sent >= first.len()
        {
            sent -= first.len();
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
        self.keep(waiting);
        (if fits { Offer::Waiting } else { Offer::Overflow }, dropped)
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
