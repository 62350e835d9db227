//! The task of a session: reads until the connection ends, then takes it down.
//!
//! Owns the read half and the order of a session's life. It reads with a buffer of its worker thread, so that a session
//! that waits holds none, and handles one message at a time.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use gim_proto::codes::CloseCode;
use gim_proto::websocket::Opcode;
use rustix::net::{RecvFlags, Shutdown};
use tokio::io::Interest;

use super::inbound::{Event, Inbound, InboundBounds};
use super::{CloseReason, Closer, Session};

/// What one read call may return. As long as the largest frame a default configuration takes.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// The task of a session, from its activation to its end. While the client is silent it is two pointers: a task of tokio
/// is a multiple of 128 bytes, and with one of up to 16 it is one.
pub(crate) struct Run {
    session: Session,
    phase: Option<Box<Phase>>,
}

/// What a session has beside itself, when it has something.
enum Phase {
    /// A frame or a message has come in part.
    Began(Inbound),
    /// Something is being done, for the client or for its end. Comes to what is left of the reading, or the end of all.
    Works(Work),
}

type Work = Pin<Box<dyn Future<Output = Option<Inbound>> + Send>>;

/// Runs a session from its activation to its end. `leftover`: what came behind the request head.
pub(crate) fn run(session: Session, leftover: Vec<u8>) -> Run {
    let phase = if leftover.is_empty() && !session.0.core.handlers.takes_connects() {
        // As a rule: there is nothing to do before the client says something.
        session.heard();
        None
    } else {
        Some(Box::new(Phase::Works(Box::pin(begin(session.clone(), leftover)))))
    };
    Run { session, phase }
}

impl Future for Run {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(Phase::Works(work)) = self.phase.as_deref_mut() {
                let Some(inbound) = ready!(work.as_mut().poll(context)) else { return Poll::Ready(()) };
                self.phase = (!inbound.is_empty()).then(|| Box::new(Phase::Began(inbound)));
            }
            let readiness = ready!(poll_readable_or_closed(&self.session, context));
            self.phase = self.next_phase(&readiness).map(Box::new);
        }
    }
}

impl Run {
    /// Reads what is there. None: it was nothing to act upon, and no part of anything.
    fn next_phase(&mut self, readiness: &Ready) -> Option<Phase> {
        let began = self.phase.take().map(|phase| *phase);
        let mut inbound = if let Some(Phase::Began(inbound)) = began { inbound } else { Inbound::default() };
        let session = &self.session;
        let next = match readiness {
            Ready::Closed => Err(None),
            // A bug here must not leave behind a session that nobody reads.
            Ready::Readable => catch_unwind(AssertUnwindSafe(|| session.read_event(&mut inbound)))
                .unwrap_or_else(|_| Err(session.failed())),
        };
        let work: Work = match next {
            Ok(None) => return (!inbound.is_empty()).then_some(Phase::Began(inbound)),
            Ok(Some(event)) => Box::pin(work(session.clone(), inbound, Some(event))),
            Err(ended) => {
                let session = session.clone();
                Box::pin(async {
                    depart(session, ended).await;
                    None
                })
            }
        };
        Some(Phase::Works(work))
    }
}

async fn begin(session: Session, leftover: Vec<u8>) -> Option<Inbound> {
    if session.is_owner() {
        attend(&session, Box::pin(session.0.core.handlers.connected(&session))).await;
    }
    let mut inbound = Inbound::with_leftover(leftover);
    let event = inbound.next_kept(session.inbound_bounds());
    work(session, inbound, event).await
}

/// Handles an event and those behind it that are there. Returns what is left, unless the session has ended.
async fn work(session: Session, mut inbound: Inbound, event: Option<Event>) -> Option<Inbound> {
    let served = AssertUnwindSafe(serve(&session, &mut inbound, event)).catch_unwind().await;
    let ended = match served.unwrap_or_else(|_| Err(session.failed())) {
        Ok(()) => return Some(inbound),
        Err(ended) => ended,
    };
    drop(inbound);
    // Boxed: it is long, and a future like this one is made for every message.
    Box::pin(depart(session, ended)).await;
    None
}

/// Handles events until there are no more. As an error: that the session has ended, and how, if the client or its network
/// ended it.
async fn serve(session: &Session, inbound: &mut Inbound, mut event: Option<Event>) -> Result<(), Option<CloseReason>> {
    while let Some(taken) = event {
        match taken {
            Event::Message(frame) => attend(session, pin!(session.handle(frame))).await,
            Event::Ping(payload) => {
                session.reply(Opcode::Pong, &payload);
            }
            Event::Close(close) => return Err(Some(session.closed_by_client(close))),
            Event::Violation(code, what) => {
                session.close(code, what);
            }
        }
        if session.is_closing() {
            return Err(None);
        }
        // Many small frames in one read are many writes: others on this thread get their turn.
        tokio::task::coop::consume_budget().await;
        event = inbound.next_kept(session.inbound_bounds());
    }
    Ok(())
}

fn lost(reason: &str) -> CloseReason {
    CloseReason { code: 1006, reason: reason.to_owned(), by: Closer::Client }
}

enum Ready {
    Readable,
    Closed,
}

enum Read<T> {
    Bytes(T),
    Nothing,
    End,
}

/// Runs application code. A session that is closed meanwhile is taken down at once; the code goes on to its end.
async fn attend(session: &Session, mut code: impl Future<Output = ()> + Unpin) {
    session.0.attending.store(true, Ordering::Relaxed);
    tokio::select! {
        biased;
        () = &mut code => {}
        () = closed(session) => {
            let farewell = async {
                session.take_down().await;
                linger(session, session.0.core.settings.close_timeout).await;
            };
            Box::pin(futures_util::future::join(code, farewell)).await;
        }
    }
    session.heard();
    session.0.attending.store(false, Ordering::Relaxed);
}

async fn closed(session: &Session) {
    poll_fn(|context| {
        session.0.reader.register(context.waker());
        if session.is_closing() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn poll_readable_or_closed(session: &Session, context: &mut Context<'_>) -> Poll<Ready> {
    session.0.reader.register(context.waker());
    if session.is_closing() {
        return Poll::Ready(Ready::Closed);
    }
    // An error shows again at the read.
    session.0.socket.poll_read_ready(context).map(|_| Ready::Readable)
}

impl Session {
    /// Takes the session out of everything that routes to it, once.
    pub(crate) async fn take_down(&self) {
        if self.0.taken_down.swap(true, Ordering::AcqRel) || !self.is_owner() {
            return;
        }
        self.0.core.hub.users.remove(self);
        self.leave_all_groups().await;
        self.0.core.release(self).await;
    }

    /// Reads once and takes the next event out of what has come. As an error: that the client is gone.
    fn read_event(&self, inbound: &mut Inbound) -> Result<Option<Event>, Option<CloseReason>> {
        match self.read(|bytes| inbound.read(bytes, self.inbound_bounds())) {
            Ok(Read::Bytes(next)) => Ok(next),
            Ok(Read::Nothing) => Ok(None),
            Ok(Read::End) => Err(Some(lost("the connection ended without a close frame"))),
            Err(_) => Err(Some(lost("the connection broke"))),
        }
    }

    fn inbound_bounds(&self) -> InboundBounds {
        InboundBounds { deflate: self.0.encoding.deflate, ..self.0.core.settings.inbound }
    }

    /// Ends a session whose task panicked.
    fn failed(&self) -> Option<CloseReason> {
        tracing::error!(uid = %self.uid(), "the session's task panicked");
        self.close(CloseCode::GoingAway, "the node failed");
        None
    }

    /// Reads what is there, once, into the buffer of this worker thread and hands it on.
    fn read<T>(&self, take: impl FnOnce(&mut [u8]) -> T) -> io::Result<Read<T>> {
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let mut got = None;
            let outcome = self.0.socket.try_io(Interest::READABLE, || {
                let (read, _) = rustix::net::recv(self.0.socket.as_fd(), &mut scratch[..], RecvFlags::DONTWAIT)?;
                got = Some(read);
                if read > 0 && read < SCRATCH {
                    // The socket is empty: saying so clears the readiness and saves a second call.
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            match (got, outcome) {
                (Some(0), _) => Ok(Read::End),
                (Some(read), _) => {
                    self.heard();
                    self.0.core.metrics.bytes_in.increment(read as u64);
                    Ok(Read::Bytes(take(scratch.get_mut(..read).unwrap_or_default())))
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
                (None, Err(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(Read::Nothing),
                (None, Err(error)) => Err(error),
                (None, Ok(())) => Ok(Read::Nothing),
            }
        })
    }

    /// Takes note of a sign of life.
    fn heard(&self) {
        self.0.seen_ms.store(self.0.core.clock.elapsed_ms(), Ordering::Relaxed);
    }

    /// Ends the connection, whoever still holds a handle of it.
    fn cut(&self) {
        self.0.outbox.shut();
        let _gone = rustix::net::shutdown(self.0.socket.as_fd(), Shutdown::Both);
    }

    fn closed_by_client(&self, close: Option<(u16, String)>) -> CloseReason {
        self.answer_close(close.as_ref().map(|(code, _)| *code));
        let (code, reason) = close.unwrap_or((1005, String::new()));
        CloseReason { code, reason, by: Closer::Client }
    }
}

/// Takes a session down: out of the hub, its groups and the directory, then the callback, then the socket.
async fn depart(session: Session, ended: Option<CloseReason>) {
    let core = &session.0.core;
    let by_peer = ended.is_some();
    if let Some(why) = ended {
        session.remember_end(why);
    }
    if !session.is_closing() {
        session.0.outbox.shut();
    }
    let why = session.ended_by().unwrap_or_else(|| lost("the session ended"));
    if session.is_owner() {
        session.take_down().await;
        core.metrics.closed(&session, &why);
        session.tell_close(&why);
        core.handlers.disconnected(&session, why.clone()).await;
    }
    if by_peer && why.code == 1006 {
        session.cut();
    } else {
        linger(&session, core.settings.close_timeout).await;
    }
    let permit = session.0.aside().permit.take();
    drop(permit);
}

/// Lets the close frame reach the client: data that the kernel still holds unread when a socket is closed would have it
/// reset the connection instead.
async fn linger(session: &Session, limit: Duration) {
    let farewell = async {
        flushed(session).await;
        let _gone = rustix::net::shutdown(session.0.socket.as_fd(), Shutdown::Write);
        while session.0.socket.readable().await.is_ok() {
            match session.read(|_| ()) {
                Ok(Read::Bytes(()) | Read::Nothing) => {}
                Ok(Read::End) | Err(_) => break,
            }
        }
    };
    if tokio::time::timeout(limit, farewell).await.is_err() {
        session.0.core.metrics.close_timeouts.increment(1);
    }
    session.cut();
}

/// Waits until nothing waits in the outbox; its drainer wakes this task then.
async fn flushed(session: &Session) {
    poll_fn(|context| {
        session.0.reader.register(context.waker());
        if session.has_nothing_waiting() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both live as long as the session: every byte counts once per connection.
    #[test]
    fn an_idle_session_costs_a_small_future_and_a_small_state() {
        assert_eq!(size_of::<Run>(), 16, "with the tracker's word the task of tokio is 128 bytes, with more it is 256");
        // With the two counters of its handles 384, which is a size class of allocators; the next is 448. The uid is inside.
        let state = size_of::<super::super::Inner>();
        assert!(state <= 368, "the state takes {state} bytes");
    }

    /// Lines of the processor's cache, where the allocator begins with one, as jemalloc does for this size.
    #[test]
    fn a_delivery_to_a_user_looks_at_three_lines_of_memory_and_one_to_a_member_at_one() {
        use std::mem::offset_of;

        use super::super::Inner;

        // Before the state stand the two counters of its handles.
        let line = |offset: usize| (offset + 2 * size_of::<usize>()) / 64;
        let user = [offset_of!(Inner, uid), offset_of!(Inner, fence)].map(line);
        // A socket has a word more where debug assertions are on, for those of mio: no delivery is fast there anyway.
        let end_of_socket = offset_of!(Inner, socket) + size_of::<tokio::net::TcpStream>() - 1;
        let end_of_socket = end_of_socket - if cfg!(debug_assertions) { size_of::<usize>() } else { 0 };
        let member = [offset_of!(Inner, outbox), offset_of!(Inner, encoding), end_of_socket].map(line);
        let rest = [offset_of!(Inner, id), offset_of!(Inner, core)].map(line);
        assert_eq!((user, member, rest), ([0; 2], [1; 3], [2; 2]));
    }
}
