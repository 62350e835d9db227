//! A stream of batches: read, decoded, handed to the intake, answered.
//!
//! Owns the order within one stream: batches of a lane one after the other, direct sends likewise, lanes side by side. At
//! its bound a stream is not read any more, which its sender feels. A batch that has begun goes on when its stream breaks:
//! done again half-way, it would come twice.

mod decode;
mod encode;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use gim_proto::rpc::{DeliverRequest, DeliverResponse};
use prost::Message as _;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use self::decode::Decoded;
pub(super) use self::decode::addressed;
use crate::intake::Intake;

/// Batches of one stream that are not answered; more are not read. Above the number of lanes, so that lanes that wait for
/// the lease's proof do not hold up direct sends.
const MOST_BATCHES: usize = 256;
/// Their bytes. The batch that goes beyond is the last one read.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What batches under way get when the node stops.
const LAST_BATCHES: Duration = Duration::from_millis(500);

pub(super) type Answers = mpsc::Receiver<Result<DeliverResponse, Status>>;
type Place = OwnedPermit<Result<DeliverResponse, Status>>;

/// What is worked on in order: a lane, or (`None`) direct sends.
type Order = Option<u16>;

/// Answers a stream until it ends or the node stops.
pub(super) fn answer(intake: Arc<Intake>, requests: Streaming<DeliverRequest>, stop: CancellationToken) -> Answers {
    let (answers, receiver) = mpsc::channel(MOST_BATCHES);
    let line =
        Line { intake, answers, bytes: 0, waiting: HashMap::new(), begun: JoinSet::new(), orders: HashMap::new() };
    tokio::spawn(line.run(requests, stop));
    receiver
}

/// See the module.
struct Line {
    intake: Arc<Intake>,
    answers: mpsc::Sender<Result<DeliverResponse, Status>>,
    /// Of batches begun and waiting.
    bytes: usize,
    /// Behind one that has begun. An order without one has no entry.
    waiting: HashMap<Order, VecDeque<Job>>,
    begun: JoinSet<()>,
    orders: HashMap<Id, (Order, usize)>,
}

/// A batch and the place of its answer.
struct Job {
    number: u64,
    decoded: Decoded,
    bytes: usize,
    place: Place,
}

/// Why a stream is read no more.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its client has gone, or broke the contract of streams.
    Gone,
    /// The node stops.
    Stop,
}

impl Line {
    async fn run(mut self, mut requests: Streaming<DeliverRequest>, stop: CancellationToken) {
        let end = self.work(&mut requests, &stop).await;
        self.waiting.clear();
        if end == End::Stop {
            // Whoever waits for an answer gets it, if it is about to come.
            let all = async { while self.begun.join_next().await.is_some() {} };
            let _late = timeout(LAST_BATCHES, all).await;
        }
        self.begun.detach_all();
    }

    async fn work(&mut self, requests: &mut Streaming<DeliverRequest>, stop: &CancellationToken) -> End {
        let mut place: Option<Place> = None;
        loop {
            let reads = self.bytes < MOST_BYTES;
            tokio::select! {
                () = stop.cancelled() => return End::Stop,
                () = self.answers.closed() => return End::Gone,
                Some(done) = self.begun.join_next_with_id() => if self.done(done).is_err() { return End::Gone },
                free = self.answers.clone().reserve_owned(), if place.is_none() => match free {
                    Ok(free) => place = Some(free),
                    Err(_) => return End::Gone,
                },
                request = requests.message(), if reads && place.is_some() => match (request, place.take()) {
                    (Ok(Some(request)), Some(place)) => self.take(request, place),
                    _ => return End::Gone,
                },
            }
        }
    }

    fn take(&mut self, request: DeliverRequest, place: Place) {
        let (number, bytes) = (request.number, request.encoded_len());
        match decode::batch(request) {
            Ok(decoded) => {
                self.bytes += bytes;
                let order = decoded.batch.lane.map(|origin| origin.lane);
                let job = Job { number, decoded, bytes, place };
                match self.waiting.get_mut(&order) {
                    Some(behind) => behind.push_back(job),
                    None => {
                        self.waiting.insert(order, VecDeque::new());
                        self.begin(order, job);
                    }
                }
            }
            Err(malformed) => {
                self.intake.malformed();
                place.send(Ok(encode::malformed(number, &malformed)));
            }
        }
    }

    fn begin(&mut self, order: Order, job: Job) {
        let intake = Arc::clone(&self.intake);
        let bytes = job.bytes;
        let task = self.begun.spawn(async move {
            let Job { number, decoded, place, .. } = job;
            let answer = intake.deliver(&decoded.run, &decoded.batch).await;
            place.send(Ok(encode::answer(number, answer)));
        });
        self.orders.insert(task.id(), (order, bytes));
    }

    /// Begins what waited behind a batch. A batch that panicked has no answer, and its sender learns that from the end of
    /// the stream.
    fn done(&mut self, done: Result<(Id, ()), JoinError>) -> Result<(), JoinError> {
        let (id, ()) = done?;
        let Some((order, bytes)) = self.orders.remove(&id) else { return Ok(()) };
        self.bytes -= bytes;
        match self.waiting.get_mut(&order).and_then(VecDeque::pop_front) {
            Some(next) => self.begin(order, next),
            None => {
                self.waiting.remove(&order);
            }
        }
        Ok(())
    }
}
