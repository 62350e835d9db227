//! The one task that reads and writes.
//!
//! Owns the connection while it stands, the calls that were sent over it, and the pauses between attempts to make it anew.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::{Call, Shared};
use crate::store::wire::{Reply, Wire};
use crate::store::{StoreError, StoreErrorKind};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// How long a server that is no master is left in peace: one that stays none must not be asked in a circle.
const DEMOTED: Duration = Duration::from_secs(1);
/// Memory kept for what goes out next, in bytes.
const KEPT: usize = 256 << 10;

/// Why a connection is used no more.
enum End {
    Broken(StoreError),
    /// The server answers nothing any more.
    Silent,
    Demoted,
    Closed,
}

/// What there is to do.
enum Step {
    Send,
    Tick,
    End(End),
}

/// One connection, and what is under way over it.
struct Driver<'a> {
    shared: &'a Shared,
    sent: VecDeque<Call>,
    /// When somebody has to be told that it is too late.
    tick: Pin<Box<Sleep>>,
    /// None: nobody waits.
    armed: Option<Instant>,
    renewal: Option<Instant>,
    /// Others that are ready have had their turn to add theirs.
    has_yielded: bool,
}

/// `made`: a connection that stands already.
pub(super) async fn drive(shared: Arc<Shared>, made: Option<Wire>) {
    let mut made = made;
    loop {
        let mut wire = match made.take() {
            Some(wire) => wire,
            None => match shared.reconnect().await {
                Some(wire) => wire,
                None => return,
            },
        };
        match serve(&shared, &mut wire).await {
            End::Closed => return,
            End::Broken(error) => tracing::warn!(%error, "the connection to redis broke; trying again"),
            End::Silent => tracing::warn!("redis does not answer; trying another connection"),
            End::Demoted => tracing::warn!("redis is no master any more; looking for the one that is"),
        }
    }
}

async fn serve(shared: &Shared, wire: &mut Wire) -> End {
    let tick = Box::pin(sleep(Duration::ZERO));
    let sent = VecDeque::new();
    let mut driver = Driver { shared, sent, tick, armed: None, renewal: None, has_yielded: false };
    shared.demoted.store(false, Ordering::Release);
    shared.begin();
    let mut out = Vec::new();
    let end = loop {
        let step = poll_fn(|context| driver.poll(wire, context)).await;
        let end = match step {
            Step::Send => driver.send(wire, &mut out).await,
            Step::Tick => driver.tick(),
            Step::End(end) => Some(end),
        };
        if let Some(end) = end {
            break end;
        }
    };
    shared.shut();
    driver.sent.drain(..).for_each(|call| {
        shared.under_way.fetch_sub(1, Ordering::Relaxed);
        call.caller.fail(StoreError::unanswered);
    });
    end
}

impl Driver<'_> {
    fn poll(&mut self, wire: &mut Wire, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            match pin!(wire.receive()).poll(context) {
                Poll::Ready(Ok(reply)) => {
                    if !self.answer(&reply) {
                        let error = StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None };
                        return Poll::Ready(Step::End(End::Broken(error)));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Step::End(End::Broken(error))),
                Poll::Pending => break,
            }
        }
        self.shared.driver.register(context.waker());
        if self.shared.news.load(Ordering::Acquire) {
            if !std::mem::replace(&mut self.has_yielded, true) {
                // Whoever is ready to run may have something to send as well: one write for all.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.has_yielded = false;
            self.shared.news.store(false, Ordering::Release);
            return Poll::Ready(Step::Send);
        }
        if self.armed.is_some() && self.tick.as_mut().poll(context).is_ready() {
            return Poll::Ready(Step::Tick);
        }
        if self.sent.is_empty() && self.shared.closing.load(Ordering::Acquire) {
            return Poll::Ready(Step::End(End::Closed));
        }
        Poll::Pending
    }

    /// False: nobody has asked for it.
    fn answer(&mut self, reply: &Reply) -> bool {
        let Some(Call { caller, due }) = self.sent.pop_front() else { return false };
        match caller.take(reply) {
            Some(caller) => self.sent.push_front(Call { caller, due }),
            None => {
                self.shared.under_way.fetch_sub(1, Ordering::Relaxed);
            }
        }
        true
    }

    /// Takes up what waits, and sends it. While a server takes nothing, what is too late is told so all the same.
    async fn send(&mut self, wire: &mut Wire, out: &mut Vec<u8>) -> Option<End> {
        out.clear();
        {
            let mut queue = self.shared.queue();
            std::mem::swap(out, &mut queue.out);
            let soonest = queue.calls.iter().map(|call| call.due).min();
            self.sent.extend(queue.calls.drain(..));
            drop(queue);
            self.arm(soonest);
        }
        if self.shared.demoted.load(Ordering::Acquire) && self.renewal.is_none() {
            self.renewal = Some(Instant::now() + DEMOTED);
            self.arm(self.renewal);
        }
        if !out.is_empty() {
            let mut sending = pin!(wire.send(out));
            loop {
                tokio::select! {
                    biased;
                    sent = &mut sending => match sent {
                        Ok(()) => break,
                        Err(error) => return Some(End::Broken(error)),
                    },
                    () = &mut self.tick, if self.armed.is_some() => if let Some(end) = self.tick() {
                        return Some(end);
                    },
                }
            }
        }
        if out.capacity() > KEPT {
            *out = Vec::new();
        }
        None
    }

    /// Gives up what is too late. What is not answered long after that will not be any more.
    fn tick(&mut self) -> Option<End> {
        self.armed = None;
        let now = Instant::now();
        if self.renewal.is_some_and(|at| at <= now) {
            return Some(End::Demoted);
        }
        let patience = self.shared.store.options().deadline();
        for call in self.sent.iter_mut().filter(|call| call.due <= now) {
            if !call.caller.give_up() {
                return Some(End::Silent);
            }
            call.due = now + patience;
        }
        self.arm(self.sent.iter().map(|call| call.due).chain(self.renewal).min());
        None
    }

    fn arm(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.tick.as_mut().reset(at);
            self.armed = Some(at);
        }
    }
}

impl Shared {
    pub(super) async fn connect(&self) -> Result<Wire, StoreError> {
        match &self.to {
            // Outside a cluster one server holds all keys.
            super::End::Master => self.store.wire("").await,
            super::End::Server(server) => self.store.wire_at(server).await,
        }
    }

    /// None: it was closed meanwhile.
    async fn reconnect(&self) -> Option<Wire> {
        let mut pause = FIRST_PAUSE;
        loop {
            let trying = async {
                sleep(pause).await;
                self.connect().await
            };
            tokio::select! {
                biased;
                () = self.closed() => return None,
                tried = trying => match tried {
                    Ok(wire) => return Some(wire),
                    Err(error) => tracing::warn!(%error, pause_ms = pause.as_millis(), "redis is not reached; trying again"),
                },
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn closed(&self) {
        poll_fn(|context| {
            self.driver.register(context.waker());
            if self.closing.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
