//! One session: the server-side state of one authenticated connection.
//!
//! Owns the session's identity, its phases and its socket. [`outbox`] is the only way to the socket, [`reader`] the only
//! way from it, and the task that runs the reader drives the session from login to end. An idle session holds no
//! buffer, no channel and no timer of its own.

mod close;
mod durable;
mod groups;
mod handle;
mod heartbeat;
pub(crate) mod inbound;
pub(crate) mod outbox;
mod reader;
mod requests;
mod tell;
mod values;

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use gim_proto::frame::{Dialect, GapReason, Notice};
use gim_proto::websocket::{self, Opcode};
use gim_proto::{Fence, SessionId, Tgid, Uid};
use gim_proxy_sdk::mailbox::Opened;
use rustix::net::SendFlags;
use tokio::net::TcpStream;

pub use self::close::{CloseReason, Closer};
pub(crate) use self::durable::{AckAnswer, Hint, Letter};
pub use self::handle::JoinError;
pub(crate) use self::heartbeat::sweep as heartbeat;
pub(crate) use self::reader::run;
pub(crate) use self::values::Values;

use self::durable::Stand;
use self::groups::Membership;
use self::outbox::{Drained, Keep, Offer, Outbox, Part};
use self::requests::Rates;
use crate::core::Core;
use crate::deflate::Deflate;
use crate::embed::Attributes;
use crate::listener::Permit;

/// A cheap handle of one session. Clones are the same session; one that has ended accepts nothing and says so.
#[derive(Clone)]
pub struct Session(pub(crate) Arc<Inner>);

/// What a session is. Reached through [`Session`] alone. It is rarely in the processor's cache, and its order is that of who
/// looks at it: a delivery to a user at the first three lines of memory, one to a member of a group at the second alone.
#[repr(C)]
pub(crate) struct Inner {
    // With the two counters of its handles before it, the first line.
    pub(crate) uid: Uid,
    /// 0 until the claim is granted.
    fence: AtomicU64,

    // The second.
    outbox: Outbox,
    /// Index in the tables of fan-out; reused after the session is gone.
    pub(crate) slot: u32,
    pub(crate) encoding: Encoding,
    /// Another session of this node has the uid by now.
    superseded: AtomicBool,
    socket: TcpStream,

    // The third.
    pub(crate) id: SessionId,
    core: Arc<Core>,
    /// When bytes last came in, in milliseconds of the node's clock.
    seen_ms: AtomicU64,
    pinged_ms: AtomicU64,
    taken_down: AtomicBool,
    /// Application code works for the client, and nothing is read meanwhile.
    attending: AtomicBool,
    /// The client says that it acknowledges, also on `/acc`.
    acks: bool,

    /// Address and port, in less than a `SocketAddr` takes.
    peer: (IpAddr, u16),
    groups: Mutex<Membership>,
    durable: Mutex<Stand>,
    rates: Rates,
    /// Wakes the reader when the session is closed by somebody else.
    reader: AtomicWaker,
    aside: Mutex<Aside>,
}

/// What is hardly ever looked at.
struct Aside {
    ending: Option<Box<CloseReason>>,
    attributes: Option<Box<Attributes>>,
    /// The connection's place, given back when its task ends: a handle may live longer.
    permit: Option<Permit>,
}

/// How frames to one connection are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) dialect: Dialect,
    /// Text frames, as the client asked with `msg_code=1`.
    pub(crate) text: bool,
    /// What is shared may be compressed, and what the client sends may be too: both agreed on permessage-deflate.
    pub(crate) deflate: bool,
}

impl Encoding {
    /// How many there are, for tables.
    pub(crate) const COUNT: usize = 8;

    pub(crate) fn index(self) -> u8 {
        let is_ws = matches!(self.dialect, Dialect::Ws);
        u8::from(self.text) + 2 * u8::from(is_ws) + 4 * u8::from(self.deflate)
    }

    pub(crate) const fn opcode(self) -> Opcode {
        if self.text { Opcode::Text } else { Opcode::Binary }
    }
}

/// What the handshake learned about the connection that becomes a session.
pub(crate) struct Opening {
    pub(crate) uid: Uid,
    pub(crate) encoding: Encoding,
    pub(crate) peer: SocketAddr,
    pub(crate) socket: TcpStream,
    pub(crate) attributes: Option<Box<Attributes>>,
    pub(crate) permit: Permit,
    /// `ack=1` in the handshake.
    pub(crate) acks: bool,
}

impl Session {
    /// Makes a session in phase claiming: it holds what is offered until [`Session::activate`].
    pub(crate) fn claiming(core: Arc<Core>, opening: Opening) -> Self {
        let now = core.clock.elapsed_ms();
        Self(Arc::new(Inner {
            uid: opening.uid,
            id: SessionId::mint(),
            slot: core.hub.slots.take(),
            fence: AtomicU64::new(0),
            encoding: opening.encoding,
            peer: (opening.peer.ip(), opening.peer.port()),
            socket: opening.socket,
            outbox: Outbox::held(),
            groups: Mutex::default(),
            durable: Mutex::default(),
            acks: opening.acks,
            seen_ms: AtomicU64::new(now),
            pinged_ms: AtomicU64::new(now),
            rates: Rates::default(),
            taken_down: AtomicBool::new(false),
            attending: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            aside: Mutex::new(Aside { ending: None, attributes: opening.attributes, permit: Some(opening.permit) }),
            core,
        }))
    }

    pub(crate) fn own(&self, fence: Fence) {
        self.0.fence.store(fence.0, Ordering::Release);
    }

    /// Whether the uid was ever this session's.
    pub(crate) fn is_owner(&self) -> bool {
        self.fence().0 > 0
    }

    /// Takes note that another session of this node has the uid by now.
    pub(crate) fn supersede(&self) {
        self.0.superseded.store(true, Ordering::Release);
    }

    /// Whether the uid is this session's, as far as this node knows.
    pub(crate) fn owns_now(&self) -> bool {
        self.is_owner() && !self.0.superseded.load(Ordering::Acquire)
    }

    /// Has what a delivery to a user looks at come into the processor's cache, while others do: one field of each line.
    pub(crate) fn touch(&self) {
        let Inner { fence, socket, id, .. } = &*self.0;
        black_box((fence.load(Ordering::Relaxed), socket.as_raw_fd(), *id));
    }

    /// The same of a delivery to a member of a group.
    pub(crate) fn touch_member(&self) {
        black_box(self.0.socket.as_raw_fd());
    }

    /// Ends a session that was never answered. Returns its socket, for the answer why.
    pub(crate) fn refuse_login(&self) -> &TcpStream {
        self.0.outbox.shut();
        &self.0.socket
    }

    /// Answers the handshake with `head`, greets, and lets what waited follow, and then what the mailbox has. `opened`: the
    /// mailbox, if the uid is this session's.
    pub(crate) fn activate(&self, mut head: Vec<u8>, groups: Vec<Tgid>, opened: Option<&Opened>) {
        if let Some(opened) = opened.filter(|_| self.0.encoding.dialect == Dialect::Ws) {
            self.greet(&mut head, groups, opened);
        }
        let offer = self.0.outbox.open(&self.0.core.settings.outbox, head, |bytes| self.0.send(bytes));
        self.follow_up(offer);
        if let Some(opened) = opened {
            self.begin_durable(opened);
        }
    }

    fn greet(&self, head: &mut Vec<u8>, groups: Vec<Tgid>, opened: &Opened) {
        let core = &self.0.core;
        let mut text = Vec::with_capacity(256);
        let welcome = Notice::Welcome {
            node: core.node().id.clone(),
            session: self.0.id,
            fence: self.fence(),
            epoch: opened.epoch,
            offset: opened.last,
            ping_ms: core.settings.ping_ms,
            groups,
        };
        gim_proto::frame::notice(&mut text, &welcome);
        websocket::write_header(head, self.0.encoding.opcode(), text.len());
        head.extend_from_slice(&text);
        if opened.is_reset
            && let Some(gap) = self.gap(opened.acked + 1, opened.last, GapReason::Reset, Some(opened.epoch))
        {
            websocket::write_header(head, self.0.encoding.opcode(), gap.len());
            head.extend_from_slice(&gap);
        }
    }

    /// Offers frames of messages. `joined` is the concatenation of `parts`, which are made when something has to wait. `core`
    /// is the session's own, from whoever has it at hand: asked for it, the session would be one more line of memory.
    pub(crate) fn offer<P: AsRef<[Part]>>(&self, core: &Core, joined: &[u8], parts: impl Fn() -> P) -> Offer {
        let bounds = &core.settings.outbox;
        let (offer, dropped) = self.0.outbox.offer(bounds, joined, parts, |bytes| self.0.send(bytes));
        if dropped > 0 {
            core.metrics.slow_dropped(&self.0.uid, dropped);
        }
        self.follow_up(offer);
        offer
    }

    /// Offers one frame that may not be dropped: a reply, a notice, a control frame.
    pub(crate) fn reply(&self, opcode: Opcode, payload: &[u8]) -> Offer {
        let bytes = websocket::frame(opcode, payload);
        self.offer(&self.0.core, &bytes, || [Part::new(bytes.clone(), Keep::Always)])
    }

    /// Offers one frame that may be dropped when the client is slow.
    pub(crate) fn offer_live(&self, bytes: Bytes) -> Offer {
        self.offer(&self.0.core, &bytes, || [Part::new(bytes.clone(), Keep::Live)])
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    /// What compresses for this session, if it agreed.
    pub(crate) fn deflate(&self) -> &Deflate {
        &self.0.core.metrics.deflate
    }

    fn follow_up(&self, offer: Offer) {
        match offer {
            Offer::Waiting => {
                // On the node's runtime: an application may send from a thread that has none.
                self.0.core.runtime.spawn(drain(self.clone()));
            }
            Offer::Overflow => {
                self.close_slow();
            }
            Offer::Closed => self.0.reader.wake(),
            Offer::Taken | Offer::Dropped => {}
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.0.outbox.is_closing()
    }

    pub(crate) fn has_nothing_waiting(&self) -> bool {
        self.0.outbox.is_idle()
    }

    pub(crate) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Inner {
    fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, bytes: &[u8]) -> std::io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(rustix::net::send(self.socket.as_fd(), bytes, flags)?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.hub.slots.give_back(self.slot);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("uid", &self.0.uid)
            .field("id", &self.0.id)
            .field("fence", &self.fence())
            .finish_non_exhaustive()
    }
}

/// Writes what waits in a session's outbox until nothing does. At most one runs per session.
async fn drain(session: Session) {
    let inner = &session.0;
    inner.core.metrics.draining.increment(1.0);
    while let Some(drained) = drain_once(&session).await {
        if let Drained::Empty { closing } = drained {
            session.flushed();
            if closing {
                inner.reader.wake();
            }
            break;
        }
    }
    inner.core.metrics.draining.decrement(1.0);
}

/// Waits until the socket takes something and writes it. `None`: the session is over.
async fn drain_once(session: &Session) -> Option<Drained> {
    let inner = &session.0;
    let writable = tokio::time::timeout(inner.core.settings.write_progress, inner.socket.writable()).await;
    let drained = match writable {
        Ok(Ok(())) => inner.outbox.drain(|slices| inner.socket.try_write_vectored(slices)),
        Ok(Err(error)) => Err(error),
        // Linux calls a socket writable when a good part of its buffer is free. A slow client that reads has less.
        Err(_) => match inner.outbox.drain(|slices| inner.send(slices.first().map_or(&[], |first| first))) {
            Ok(Drained::Blocked) => {
                session.give_up();
                return None;
            }
            drained => drained,
        },
    };
    if drained.is_err() {
        inner.reader.wake();
    }
    drained.ok()
}
