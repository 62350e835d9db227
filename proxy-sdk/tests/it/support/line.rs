//! The stream of batches of a node that answers as it was told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, BoxStream, StreamExt};
use gim_proto::rpc::{self, DeliverRequest, DeliverResponse, DeliverVerdict, DeliveryReport, TargetOutcome, delivery};
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::{Request, Status, Streaming};

use super::within;

type Answer = dyn Fn(&DeliverRequest) -> Result<DeliverResponse, Status> + Send + Sync;

/// What the node does with batches, and which came.
pub(crate) struct Line {
    /// Each answer takes a permit for good. Batches are read all the same.
    pub(crate) gate: Arc<Semaphore>,
    /// Answers go in reverse, so many at a time.
    pub(crate) reversed: usize,
    /// What a batch is answered with. An error ends its stream.
    pub(crate) answer: Arc<Answer>,
    pub(crate) seen: Mutex<Vec<DeliverRequest>>,
    /// Metadata of each stream that was opened.
    pub(crate) opened: Mutex<Vec<HashMap<String, String>>>,
    pub(crate) came: watch::Sender<usize>,
    /// Streams that stand.
    pub(crate) open: Arc<watch::Sender<usize>>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            reversed: 1,
            answer: Arc::new(|request| Ok(offered(request))),
            seen: Mutex::default(),
            opened: Mutex::default(),
            came: watch::Sender::new(0),
            open: Arc::default(),
        }
    }
}

impl Line {
    /// Reads batches and answers none.
    pub(crate) fn silent() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), ..Self::default() }
    }

    pub(crate) fn answering(
        answer: impl Fn(&DeliverRequest) -> Result<DeliverResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Arc::new(answer), ..Self::default() }
    }

    /// The batches so far, in the order they came.
    pub(crate) fn seen(&self) -> Vec<DeliverRequest> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many batches have come.
    pub(crate) async fn came(&self, count: usize) {
        let mut came = self.came.subscribe();
        within("the batches", came.wait_for(|came| *came >= count)).await.expect("the line stays");
    }

    /// Waits until so many streams stand.
    pub(crate) async fn standing(&self, count: usize) {
        let mut open = self.open.subscribe();
        within("the streams", open.wait_for(|open| *open == count)).await.expect("the line stays");
    }

    pub(super) fn serve(
        &self,
        line: impl AsRef<Self> + Send + 'static,
        request: Request<Streaming<DeliverRequest>>,
    ) -> BoxStream<'static, Result<DeliverResponse, Status>> {
        let metadata = request.metadata().iter().filter_map(|pair| match pair {
            tonic::metadata::KeyAndValueRef::Ascii(key, value) => {
                Some((key.to_string(), value.to_str().ok()?.to_owned()))
            }
            tonic::metadata::KeyAndValueRef::Binary(..) => None,
        });
        self.opened.lock().unwrap().push(metadata.collect());
        let (answers, mut answered) = mpsc::channel(1_024);
        let standing = Standing::new(&self.open);
        tokio::spawn(async move {
            let _standing = standing;
            read(line.as_ref(), request.into_inner(), answers).await;
        });
        stream::poll_fn(move |context| answered.poll_recv(context)).boxed()
    }
}

async fn read(
    line: &Line,
    mut requests: Streaming<DeliverRequest>,
    answers: mpsc::Sender<Result<DeliverResponse, Status>>,
) {
    let mut held = Vec::new();
    while let Ok(Some(request)) = requests.message().await {
        held.push((line.answer)(&request));
        line.seen.lock().unwrap().push(request);
        line.came.send_modify(|came| *came += 1);
        if held.len() >= line.reversed {
            let (gate, answers) = (Arc::clone(&line.gate), answers.clone());
            let batch = std::mem::take(&mut held);
            tokio::spawn(async move {
                for answer in batch.into_iter().rev() {
                    gate.acquire().await.expect("the gate stays").forget();
                    let _ = answers.send(answer).await;
                }
            });
        }
    }
}

/// Counts a stream as long as it lives.
struct Standing(Arc<watch::Sender<usize>>);

impl Standing {
    fn new(open: &Arc<watch::Sender<usize>>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(Arc::clone(open))
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The answer of a node that offered everything.
pub(crate) fn offered(request: &DeliverRequest) -> DeliverResponse {
    reporting(request, |_| TargetOutcome::Offered)
}

/// The answer of a node that says this of each user.
pub(crate) fn reporting(request: &DeliverRequest, outcome: impl Fn(&str) -> TargetOutcome) -> DeliverResponse {
    let reports = request.deliveries.iter().map(|delivery| match delivery.to.as_ref().expect("recipients") {
        delivery::To::Sessions(all) => targets(all.sessions.iter(), &outcome),
        delivery::To::Member(member) => targets(member.to.iter(), &outcome),
        delivery::To::Groups(_) | delivery::To::All(_) => {
            DeliveryReport { offered: 7, slow: 1, ..DeliveryReport::default() }
        }
    });
    let (number, reports) = (request.number, reports.collect());
    DeliverResponse { number, verdict: DeliverVerdict::Done.into(), reports, ..DeliverResponse::default() }
}

/// The answer of a node that delivered nothing.
pub(crate) fn verdict(request: &DeliverRequest, verdict: DeliverVerdict) -> DeliverResponse {
    DeliverResponse { number: request.number, verdict: verdict.into(), ..DeliverResponse::default() }
}

fn targets<'a>(
    to: impl Iterator<Item = &'a rpc::Addressed>,
    outcome: &impl Fn(&str) -> TargetOutcome,
) -> DeliveryReport {
    let targets = to.map(|to| outcome(&to.uid).into()).collect();
    DeliveryReport { targets, ..DeliveryReport::default() }
}
