//! One node, as this process reaches it.
//!
//! Owns the deadline of a batch and what its failure comes to. What travels is the courier's.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gim_proto::rpc::{self, DeliverRequest, DeliverResponse, DeliverVerdict};
use gim_proto::{Class, Uid};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::{Instant, timeout_at};

use super::courier::{Courier, Gauges, Parcel, Turn};
use super::wire::{self, Part};
use super::{PeerError, PeerErrorKind, PeerStats, Stop};
use crate::client::{ClientOptions, NodeClient, VERSIONS, never_reached};
use crate::delivery::{Batch, Report, TargetReport};
use crate::directory::{NodeRef, Owner};
use crate::members::{LiveNodes, Member};
use crate::{Error, ErrorKind};

/// See the module.
pub(super) struct Peer {
    node: NodeRef,
    address: Arc<str>,
    client: NodeClient,
    live: LiveNodes,
    gauges: Arc<Gauges>,
    /// What the node speaks. One run of it never learns more. Asked for when it matters first.
    version: OnceCell<u32>,
    /// Begun with the first batch.
    courier: OnceLock<tokio::sync::mpsc::Sender<Parcel>>,
}

impl Peer {
    pub(super) fn new(member: &Member, live: &LiveNodes, options: &ClientOptions) -> Result<Self, Error> {
        Ok(Self {
            node: member.node.clone(),
            address: Arc::clone(&member.rpc),
            client: NodeClient::lazy(&member.rpc, options.clone())?,
            live: live.clone(),
            gauges: Arc::default(),
            version: OnceCell::new(),
            courier: OnceLock::new(),
        })
    }

    /// Whether this is still the way to the node at this address. A courier that has ended never begins again.
    pub(super) fn serves(&self, address: &Arc<str>) -> bool {
        self.address == *address && !self.courier.get().is_some_and(tokio::sync::mpsc::Sender::is_closed)
    }

    pub(super) const fn client(&self) -> &NodeClient {
        &self.client
    }

    pub(super) fn stats(&self) -> PeerStats {
        self.gauges.stats(self.node.clone())
    }

    pub(super) async fn stop(&self, uid: &Uid, owner: &Owner, stop: Stop, most: Duration) -> Result<bool, PeerError> {
        let mode = match stop {
            Stop::Ask => rpc::StopMode::Ask,
            Stop::Replaced => rpc::StopMode::Replaced,
            Stop::AlreadyConnected => rpc::StopMode::AlreadyConnected,
        };
        let (uid, session) = (uid.to_string(), owner.session.to_string());
        let session = rpc::Addressed { uid, session, fence: owner.fence.0, epoch: 0, offset: 0 };
        let request = rpc::StopSessionRequest { session: Some(session), mode: mode.into() };
        self.client.stop_session(request, most).await.map_err(|error| PeerError {
            kind: match error.kind {
                ErrorKind::Full => PeerErrorKind::Full,
                _ if never_reached(&error) => PeerErrorKind::Unreachable,
                _ => PeerErrorKind::Unknown,
            },
            source: Some(error.into()),
        })
    }

    pub(super) async fn deliver(&self, batch: &Batch) -> Result<Vec<Report>, PeerError> {
        let end = Instant::now() + self.client.options().deadline;
        let mut reports = Vec::with_capacity(batch.deliveries.len());
        let mut refused = HashSet::new();
        let mut rest = batch.deliveries.as_slice();
        let version = self.version_for(batch, end).await?;
        while !rest.is_empty() {
            let part = Part::of(rest, version, &refused);
            let (these, others) = rest.split_at(part.covers());
            let (request, part) = part.request(self.node.incarnation, batch.lane.as_ref());
            let answer = match request {
                Some(request) => self.exchange(request, end).await.map_err(|error| part_failed(error, &reports))?,
                None => DeliverResponse { verdict: DeliverVerdict::Done.into(), ..DeliverResponse::default() },
            };
            let answered = part.reports(answer).map_err(|error| part_failed(error, &reports))?;
            if !others.is_empty() {
                note_refused(these, &answered, &mut refused);
            }
            reports.extend(answered);
            rest = others;
        }
        Ok(reports)
    }

    /// Tells the version to write the batch in. Only what is not in the first one asks for more than that.
    async fn version_for(&self, batch: &Batch, end: Instant) -> Result<u32, PeerError> {
        if !batch.deliveries.iter().any(|delivery| delivery.message.class == Class::Durable) {
            return Ok(*VERSIONS.start());
        }
        let hello = self.version.get_or_try_init(async || {
            let hello = self.client.hello().await?;
            match hello.node == self.node {
                true => Ok(hello.version),
                false => Err(Error::new(ErrorKind::Unavailable, "another run of a node answers at its address")),
            }
        });
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| PeerError {
            kind: PeerErrorKind::Unreachable,
            source: Some(source),
        };
        match timeout_at(end, hello).await {
            Ok(version) => version.copied().map_err(|error: Error| unreachable(error.into())),
            Err(elapsed) => Err(unreachable(elapsed.into())),
        }
    }

    async fn exchange(&self, request: DeliverRequest, end: Instant) -> Result<DeliverResponse, PeerError> {
        let turn = Turn::new(request);
        let (answer, answered) = oneshot::channel();
        let parcel = Parcel { turn: turn.share(), answer };
        match timeout_at(end, self.courier().send(parcel)).await {
            Ok(Ok(())) => {}
            Ok(Err(_ended)) => return Err(PeerErrorKind::Unreachable.into()),
            Err(_) => return Err(self.why_not_its_turn().into()),
        }
        match timeout_at(end, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            // Dropped by the courier: with its stream, or without there ever having been one.
            Ok(Err(_)) if turn.give_up() => Err(PeerErrorKind::Unreachable.into()),
            Ok(Err(_)) => Err(PeerErrorKind::Unknown.into()),
            Err(_) if turn.give_up() => Err(self.why_not_its_turn().into()),
            Err(elapsed) => Err(PeerError { kind: PeerErrorKind::Unknown, source: Some(elapsed.into()) }),
        }
    }

    fn why_not_its_turn(&self) -> PeerErrorKind {
        if self.gauges.is_connected() { PeerErrorKind::Full } else { PeerErrorKind::Unreachable }
    }

    fn courier(&self) -> &tokio::sync::mpsc::Sender<Parcel> {
        self.courier.get_or_init(|| {
            Courier::begin(self.node.clone(), self.client.clone(), self.live.clone(), Arc::clone(&self.gauges))
        })
    }
}

/// What the failure of a part is for the whole batch.
fn part_failed(error: PeerError, before: &[Report]) -> PeerError {
    match error.kind {
        PeerErrorKind::Unreachable | PeerErrorKind::Full if !before.is_empty() => {
            PeerError { kind: PeerErrorKind::Unknown, ..error }
        }
        _ => error,
    }
}

/// Remembers whom the node does not hold: later messages of the batch must not overtake the one that is routed again.
fn note_refused(these: &[crate::delivery::Delivery], reports: &[Report], refused: &mut HashSet<Uid>) {
    for (delivery, report) in these.iter().zip(reports) {
        let Report::Targets(targets) = report else { continue };
        let not_owned = delivery.to.addressed().iter().zip(targets);
        refused.extend(not_owned.filter(|(_, it)| **it == TargetReport::NotOwner).map(|(to, _)| to.uid.clone()));
    }
}

impl From<wire::Unreadable> for PeerError {
    fn from(unreadable: wire::Unreadable) -> Self {
        Self { kind: PeerErrorKind::Unknown, source: Some(unreadable.into()) }
    }
}
