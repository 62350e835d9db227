//! The stream of batches to one node, and what travels on it.
//!
//! Owns the connection's life: opened for the first batch, again for the first one after it broke, after a pause when the
//! node could not be reached. One task, so that batches go in the order they were handed over. A batch that a stream took
//! with it is never sent again here: dropping its answer says so.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use gim_proto::rpc::{DeliverRequest, DeliverResponse};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tonic::Streaming;

use super::PeerStats;
use super::pause::Pause;
use crate::client::{ClientOptions, NodeClient};
use crate::directory::NodeRef;
use crate::members::LiveNodes;
use crate::{Error, ErrorKind};

/// Batches that wait for their turn; more wait with who hands them over.
const MOST_WAITING: usize = 64;
/// How often the courier looks whether its node still lives.
const LOOK: Duration = Duration::from_secs(1);

/// A batch and where its answer goes.
pub(super) struct Parcel {
    pub(super) turn: Turn,
    pub(super) answer: oneshot::Sender<DeliverResponse>,
}

/// A batch that waits for its turn. Whoever takes it first decides: the courier to send it, its owner that it never was.
/// Dropped by its owner it is gone too.
pub(super) struct Turn {
    request: Arc<Mutex<Option<DeliverRequest>>>,
    is_owner: bool,
}

impl Turn {
    pub(super) fn new(request: DeliverRequest) -> Self {
        Self { request: Arc::new(Mutex::new(Some(request))), is_owner: true }
    }

    /// For the courier.
    pub(super) fn share(&self) -> Self {
        Self { request: Arc::clone(&self.request), is_owner: false }
    }

    /// True: it was not sent, and will not be.
    pub(super) fn give_up(&self) -> bool {
        self.take().is_some()
    }

    fn take(&self) -> Option<DeliverRequest> {
        self.lock().take()
    }

    /// Bytes on the wire. None: its owner has given it up.
    fn bytes(&self) -> Option<usize> {
        self.lock().as_ref().map(DeliverRequest::encoded_len)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<DeliverRequest>> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_owner {
            self.take();
        }
    }
}

/// What is told about a courier.
#[derive(Default)]
pub(super) struct Gauges {
    connected: AtomicBool,
    batches: AtomicUsize,
    bytes: AtomicUsize,
    opened: AtomicU64,
}

impl Gauges {
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    pub(super) fn stats(&self, node: NodeRef) -> PeerStats {
        PeerStats {
            node,
            is_connected: self.is_connected(),
            batches: self.batches.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            reconnects: self.opened.load(Ordering::Relaxed).saturating_sub(1),
        }
    }

    fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.connected.store(true, Ordering::Release);
    }

    fn closed(&self) {
        self.connected.store(false, Ordering::Release);
        self.under_way(0, 0);
    }

    fn under_way(&self, batches: usize, bytes: usize) {
        self.batches.store(batches, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// See the module.
pub(super) struct Courier {
    node: NodeRef,
    client: NodeClient,
    live: LiveNodes,
    gauges: Arc<Gauges>,
    inbox: mpsc::Receiver<Parcel>,
    looks: Interval,
    pause: Pause,
}

/// A stream that stands.
struct Line {
    requests: mpsc::Sender<DeliverRequest>,
    answers: Streaming<DeliverResponse>,
    unanswered: HashMap<u64, (oneshot::Sender<DeliverResponse>, usize)>,
    bytes: usize,
    last: u64,
}

/// Why a courier has nothing more to do.
struct Over;

impl Courier {
    /// Begins the task. It ends when the node is gone from the view, or with the last handle.
    pub(super) fn begin(
        node: NodeRef,
        client: NodeClient,
        live: LiveNodes,
        gauges: Arc<Gauges>,
    ) -> mpsc::Sender<Parcel> {
        let (handle, inbox) = mpsc::channel(MOST_WAITING);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let courier = Self { node, client, live, gauges, inbox, looks, pause: Pause::default() };
        tokio::spawn(courier.run());
        handle
    }

    async fn run(mut self) {
        while let Ok(first) = self.next().await {
            let ended = match self.open().await {
                Ok(line) => {
                    self.pause.reset();
                    self.gauges.opened();
                    let ended = self.work(line, first).await;
                    self.gauges.closed();
                    ended
                }
                Err(error) => {
                    tracing::warn!(node = %self.node.id, error = %error, "the node cannot be reached");
                    drop(first);
                    self.turn_away().await
                }
            };
            if ended.is_err() {
                break;
            }
        }
    }

    /// Waits for a batch.
    async fn next(&mut self) -> Result<Parcel, Over> {
        loop {
            tokio::select! {
                parcel = self.inbox.recv() => return parcel.ok_or(Over),
                _ = self.looks.tick() => self.look()?,
            }
        }
    }

    fn look(&self) -> Result<(), Over> {
        if self.live.is_live(&self.node.incarnation) { Ok(()) } else { Err(Over) }
    }

    async fn open(&self) -> Result<Line, Error> {
        let hello = self.client.hello().await?;
        if hello.node != self.node {
            return Err(Error::new(ErrorKind::Unavailable, "another run of a node answers at its address"));
        }
        // Each batch on its way counts as so many bytes at least, so the channel always has room.
        let most = self.client.options().in_flight.div_ceil(ClientOptions::SMALLEST) + 1;
        let (requests, mut outgoing) = mpsc::channel(most);
        let outgoing = stream::poll_fn(move |context| outgoing.poll_recv(context));
        let answers = self.client.batches(hello.version, outgoing).await?;
        Ok(Line { requests, answers, unanswered: HashMap::new(), bytes: 0, last: 0 })
    }

    /// Sends and hears until the stream breaks.
    async fn work(&mut self, mut line: Line, first: Parcel) -> Result<(), Over> {
        let most = self.client.options().in_flight;
        let mut waiting = Some(first);
        loop {
            if let Some(parcel) = waiting.take() {
                match line.send(parcel, most) {
                    ControlFlow::Continue(parcel) => waiting = parcel,
                    ControlFlow::Break(()) => return Ok(()),
                }
                self.gauges.under_way(line.unanswered.len(), line.bytes);
            }
            tokio::select! {
                parcel = self.inbox.recv(), if waiting.is_none() => waiting = Some(parcel.ok_or(Over)?),
                answer = line.answers.message() => match answer {
                    Ok(Some(answer)) => line.hear(answer),
                    ended => {
                        let error = ended.err().map(|status| status.to_string()).unwrap_or_default();
                        let unanswered = line.unanswered.len();
                        tracing::warn!(node = %self.node.id, unanswered, error, "the stream of batches ended");
                        return Ok(());
                    }
                },
                _ = self.looks.tick() => self.look()?,
            }
            self.gauges.under_way(line.unanswered.len(), line.bytes);
        }
    }

    /// Leaves the node alone for a while. Who comes meanwhile need not wait to learn it.
    async fn turn_away(&mut self) -> Result<(), Over> {
        let end = Instant::now() + self.pause.next();
        loop {
            tokio::select! {
                () = sleep_until(end) => return Ok(()),
                parcel = self.inbox.recv() => drop(parcel.ok_or(Over)?),
                _ = self.looks.tick() => self.look()?,
            }
        }
    }
}

impl Line {
    /// Sends a batch if there is room for it, or gives it back. A batch above all room goes alone.
    fn send(&mut self, parcel: Parcel, most: usize) -> ControlFlow<(), Option<Parcel>> {
        let Some(bytes) = parcel.turn.bytes().map(|bytes| bytes.max(ClientOptions::SMALLEST)) else {
            return ControlFlow::Continue(None);
        };
        if self.bytes > 0 && self.bytes + bytes > most {
            return ControlFlow::Continue(Some(parcel));
        }
        let Ok(place) = self.requests.try_reserve() else { return ControlFlow::Break(()) };
        let Some(request) = parcel.turn.take() else { return ControlFlow::Continue(None) };
        self.last += 1;
        place.send(DeliverRequest { number: self.last, ..request });
        self.unanswered.insert(self.last, (parcel.answer, bytes));
        self.bytes += bytes;
        ControlFlow::Continue(None)
    }

    fn hear(&mut self, answer: DeliverResponse) {
        // An answer to nothing is of no use to anybody.
        if let Some((waiting, bytes)) = self.unanswered.remove(&answer.number) {
            self.bytes -= bytes;
            // Who asked may have gone.
            let _ = waiting.send(answer);
        }
    }
}
