//! `gim.v1.Ledger`: what operators ask about single messages and users.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gim_proto::rpc::{self, ledger_server};
use gim_proto::{EntryId, Fence, MessageId, Uid};
use gim_proxy_sdk::ledger::{Hop, Log, Noted};
use tonic::{Request, Response, Status};

use super::status;
use crate::core::Core;
use crate::follow::Happening;

/// Entries in one answer.
const MOST_ENTRIES: usize = 1_000;

pub(super) struct LedgerService {
    core: Arc<Core>,
}

impl LedgerService {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl ledger_server::Ledger for LedgerService {
    async fn journey(&self, request: Request<rpc::JourneyRequest>) -> Result<Response<rpc::JourneyResponse>, Status> {
        let id = MessageId::parse(&request.into_inner().id).map_err(status::of_name)?;
        let hops = self.core.ledger.journey(&id).await.map_err(|error| status::of_ledger(&error))?;
        Ok(Response::new(rpc::JourneyResponse { hops: hops.into_iter().map(hop).collect() }))
    }

    async fn read_log(&self, request: Request<rpc::ReadLogRequest>) -> Result<Response<rpc::ReadLogResponse>, Status> {
        let request = request.into_inner();
        let log = match request.log() {
            rpc::LedgerLog::Receipts => Log::Receipts,
            rpc::LedgerLog::Presence => Log::Presence,
            rpc::LedgerLog::Unspecified => return Err(Status::invalid_argument("log is missing or unknown")),
        };
        let wrong = |_| Status::invalid_argument("an entry id has the form `ms-seq`");
        let after = (!request.after.is_empty()).then(|| EntryId::parse(&request.after)).transpose().map_err(wrong)?;
        let limit = usize::try_from(request.limit).unwrap_or(MOST_ENTRIES).clamp(1, MOST_ENTRIES);
        let found = self.core.ledger.read(log, after, limit).await.map_err(|error| status::of_ledger(&error))?;
        Ok(Response::new(rpc::ReadLogResponse { entries: found.into_iter().map(entry).collect() }))
    }

    type FollowStream = BoxStream<'static, Result<rpc::FollowEvent, Status>>;

    async fn follow(&self, request: Request<rpc::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let uid = Uid::parse(&request.into_inner().uid).map_err(status::of_name)?;
        let following = self.core.followers.follow(uid.clone());
        let following = following.ok_or_else(|| Status::resource_exhausted("too many follow users already"))?;
        // Whoever follows knows from then on that nothing is missed.
        let held = self.core.hub.users.active(&uid);
        let here = if held.is_some() { "the user is connected here" } else { "the user is not connected here" };
        let fence = held.map_or(Fence(0), |session| session.fence());
        let first = Happening::new("following", fence, format!("{here}, node {}", self.core.node().id));
        let events = stream::unfold(following, |mut following| async move {
            let happening = following.next().await?;
            Some((happening, following))
        });
        Ok(Response::new(stream::iter([first]).chain(events).map(|happening| Ok(event(happening))).boxed()))
    }
}

fn hop(hop: Hop) -> rpc::JourneyHop {
    let text = |text: Option<Box<str>>| text.map(String::from).unwrap_or_default();
    rpc::JourneyHop {
        hop: hop.hop.into(),
        target: text(hop.target),
        detail: text(hop.detail),
        node: hop.node.into(),
        at_us: hop.at_us,
    }
}

fn entry(noted: Noted) -> rpc::LogEntry {
    let field =
        |(name, value): (Box<str>, Box<str>)| rpc::Field { name: name.into(), value: String::from(value).into() };
    rpc::LogEntry { id: noted.id.to_string(), fields: noted.fields.into_iter().map(field).collect() }
}

fn event(happening: Happening) -> rpc::FollowEvent {
    rpc::FollowEvent {
        at_us: happening.at_us,
        event: happening.event.to_owned(),
        fence: happening.fence,
        id: happening.id.map(|id| id.to_string()).unwrap_or_default(),
        detail: happening.detail,
    }
}
