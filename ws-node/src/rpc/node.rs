//! `gim.v1.Node`: what SDKs and the `gim` command ask of a node.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gim_proto::codes::CloseCode;
use gim_proto::rpc::{self, node_server};
use gim_proto::{Entry, Fields, Payload, Tgid, Uid};
use gim_proxy_sdk::directory::{Freshness, Owner};
use gim_proxy_sdk::{Body, LocalProxy, Outcome, RunProxy, Sent};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{VERSIONS, deliver, status};
use crate::core::Core;
use crate::http::MOST_USERS;
use crate::intake::Intake;

/// Entries in one call.
const MOST_ENTRIES: usize = 1_000;

pub(super) struct NodeService {
    core: Arc<Core>,
    intake: Arc<Intake>,
    stop: CancellationToken,
}

impl NodeService {
    pub(super) const fn new(core: Arc<Core>, intake: Arc<Intake>, stop: CancellationToken) -> Self {
        Self { core, intake, stop }
    }
}

#[tonic::async_trait]
impl node_server::Node for NodeService {
    async fn hello(&self, request: Request<rpc::HelloRequest>) -> Result<Response<rpc::HelloResponse>, Status> {
        let range = request.into_inner();
        // The highest that both speak.
        let version = range.max_version.min(*VERSIONS.end());
        if version < range.min_version || !VERSIONS.contains(&version) {
            return Err(status::other_version());
        }
        Ok(Response::new(rpc::HelloResponse {
            version,
            node: self.core.node().id.to_string(),
            incarnation: self.core.node().incarnation.to_string(),
        }))
    }

    async fn enqueue(&self, request: Request<rpc::EnqueueRequest>) -> Result<Response<rpc::EnqueueResponse>, Status> {
        let entries = request.into_inner().entries;
        if entries.is_empty() || entries.len() > MOST_ENTRIES {
            return Err(Status::invalid_argument(format!("send 1 to {MOST_ENTRIES} entries at once")));
        }
        let entries = entries.into_iter().map(Fields::from).collect();
        let ids = self.core.enqueue(entries).await.map_err(|error| status::of_queue(&error))?;
        Ok(Response::new(rpc::EnqueueResponse { ids: ids.iter().map(ToString::to_string).collect() }))
    }

    async fn send_to_user(
        &self,
        request: Request<rpc::SendToUserRequest>,
    ) -> Result<Response<rpc::SendResponse>, Status> {
        let request = request.into_inner();
        let uid = parse_uid(&request.uid)?;
        let tgid = if request.tgid.is_empty() { None } else { Some(parse_tgid(&request.tgid)?) };
        let sent = self.core.proxy().to_user(&uid, tgid.as_ref(), body(request.body)?).await;
        sent_response(sent)
    }

    async fn send_to_group(
        &self,
        request: Request<rpc::SendToGroupRequest>,
    ) -> Result<Response<rpc::SendResponse>, Status> {
        let request = request.into_inner();
        let tgid = parse_tgid(&request.tgid)?;
        let except = if request.except_uid.is_empty() { None } else { Some(parse_uid(&request.except_uid)?) };
        let sent = self.core.proxy().to_group(&tgid, body(request.body)?, except.as_ref()).await;
        sent_response(sent)
    }

    async fn stop(&self, request: Request<rpc::StopRequest>) -> Result<Response<rpc::StopResponse>, Status> {
        let rpc::StopRequest { uid, reason, here } = request.into_inner();
        let (proxy, uid) = (self.core.proxy(), parse_uid(&uid)?);
        let stopped = match here {
            true => proxy.stop_local_user_client(&uid, &reason).await,
            false => proxy.stop_user_client(&uid, &reason).await,
        };
        Ok(Response::new(rpc::StopResponse { stopped: stopped.map_err(|error| status::of_error(&error))? }))
    }

    async fn lookup(&self, request: Request<rpc::LookupRequest>) -> Result<Response<rpc::LookupResponse>, Status> {
        let uids = request.into_inner().uids;
        if uids.len() > MOST_USERS {
            return Err(Status::invalid_argument(format!("uids: ask for at most {MOST_USERS} at once")));
        }
        let uids = uids.iter().map(|uid| parse_uid(uid)).collect::<Result<Vec<Uid>, Status>>()?;
        let owners = self.core.directory.lookup(&uids, Freshness::Current).await;
        let owners = owners.map_err(|error| status::of_error(&error.into()))?;
        let users = owners.into_iter().map(user_state).collect();
        Ok(Response::new(rpc::LookupResponse { users }))
    }

    async fn join(&self, request: Request<rpc::JoinRequest>) -> Result<Response<rpc::JoinResponse>, Status> {
        let rpc::JoinRequest { uid, tgid, here, durable } = request.into_inner();
        let (proxy, uid, tgid) = (self.core.proxy(), parse_uid(&uid)?, parse_tgid(&tgid)?);
        let joined = match (here, durable) {
            (true, false) => proxy.join_local_group(&uid, &tgid).await,
            (true, true) => proxy.join_local_group_durably(&uid, &tgid).await,
            (false, false) => proxy.join_group(&uid, &tgid).await,
            (false, true) => proxy.join_group_durably(&uid, &tgid).await,
        };
        Ok(Response::new(rpc::JoinResponse { online: joined.map_err(|error| status::of_error(&error))? }))
    }

    async fn leave(&self, request: Request<rpc::LeaveRequest>) -> Result<Response<rpc::LeaveResponse>, Status> {
        let rpc::LeaveRequest { uid, tgid, here } = request.into_inner();
        let (proxy, uid, tgid) = (self.core.proxy(), parse_uid(&uid)?, parse_tgid(&tgid)?);
        let left = match here {
            true => proxy.leave_local_group(&uid, &tgid).await,
            false => proxy.leave_group(&uid, &tgid).await,
        };
        Ok(Response::new(rpc::LeaveResponse { online: left.map_err(|error| status::of_error(&error))? }))
    }

    async fn sysinfo(&self, request: Request<rpc::SysinfoRequest>) -> Result<Response<rpc::SysinfoResponse>, Status> {
        let sysinfo = match request.into_inner().alone {
            true => crate::http::sysinfo_alone(&self.core).await,
            false => crate::http::sysinfo(&self.core).await,
        };
        Ok(Response::new(rpc::SysinfoResponse { json: sysinfo.to_string() }))
    }

    async fn drain(&self, _request: Request<rpc::DrainRequest>) -> Result<Response<rpc::DrainResponse>, Status> {
        // Begun, it goes on, whether the caller waits or not.
        let core = Arc::clone(&self.core);
        let drained = tokio::spawn(async move { crate::shutdown::drain_alone(&core).await }).await;
        let (clean, forced) = drained.map_err(|_| Status::internal("the drain failed"))?;
        Ok(Response::new(rpc::DrainResponse { clean, forced }))
    }

    type DeliverStream = BoxStream<'static, Result<rpc::DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<tonic::Streaming<rpc::DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let version = request.metadata().get(rpc::VERSION_KEY).and_then(|version| version.to_str().ok());
        let version = version.and_then(|version| version.parse().ok());
        if !version.is_some_and(|version: u32| VERSIONS.contains(&version)) {
            return Err(status::other_version());
        }
        let mut answers = deliver::answer(Arc::clone(&self.intake), request.into_inner(), self.stop.clone());
        Ok(Response::new(stream::poll_fn(move |context| answers.poll_recv(context)).boxed()))
    }

    async fn stop_session(
        &self,
        request: Request<rpc::StopSessionRequest>,
    ) -> Result<Response<rpc::StopSessionResponse>, Status> {
        let request = request.into_inner();
        let mode = request.mode();
        let named = request.session.ok_or_else(|| Status::invalid_argument("session is missing"))?;
        let named = deliver::addressed(named).map_err(|malformed| Status::invalid_argument(malformed.to_string()))?;
        let held = self.core.hub.addressed(&named).filter(|session| !session.is_closing());
        let held = match mode {
            rpc::StopMode::Unspecified => return Err(Status::invalid_argument("mode is missing or unknown")),
            rpc::StopMode::Ask => held.is_some(),
            rpc::StopMode::Replaced => {
                held.is_some_and(|session| session.close(CloseCode::Replaced, "replaced by a newer connection"))
            }
            rpc::StopMode::AlreadyConnected => {
                held.is_some_and(|session| session.close(CloseCode::AlreadyConnected, "connected from elsewhere"))
            }
        };
        Ok(Response::new(rpc::StopSessionResponse { held }))
    }
}

fn user_state(owner: Option<Owner>) -> rpc::UserState {
    owner.map_or_else(rpc::UserState::default, |Owner { node, fence, .. }| rpc::UserState {
        online: true,
        node: node.id.to_string(),
        fence: fence.0,
    })
}

fn parse_uid(uid: &str) -> Result<Uid, Status> {
    Uid::parse(uid).map_err(status::of_name)
}

fn parse_tgid(tgid: &str) -> Result<Tgid, Status> {
    Tgid::parse(tgid).map_err(status::of_name)
}

/// Reads a body by the rules of a queue entry's `data` and `raw`, so that both roads accept the same.
fn body(body: Option<rpc::Body>) -> Result<Body, Status> {
    let (name, value) = match body.and_then(|body| body.body) {
        Some(rpc::body::Body::Raw(bytes)) => ("raw", bytes),
        Some(rpc::body::Body::Response(json)) => ("data", json),
        None => return Err(Status::invalid_argument("body is missing")),
    };
    let fields = [("all", bytes::Bytes::from_static(b"1")), (name, value)].into_iter().collect();
    match Entry::decode(&fields) {
        Ok(entry) => Ok(match entry.payload {
            Payload::Json(json) => Body::Response(json),
            Payload::Raw(bytes) => Body::Raw(bytes),
        }),
        Err(malformed) => Err(Status::invalid_argument(format!("body: {}", malformed.detail))),
    }
}

fn sent_response(sent: Result<Sent, gim_proxy_sdk::Error>) -> Result<Response<rpc::SendResponse>, Status> {
    let sent = sent.map_err(|error| status::of_error(&error))?;
    let outcome = match sent.outcome {
        Outcome::Offered => rpc::SendOutcome::Offered,
        // Neither of the last two is an outcome of a direct send.
        Outcome::Offline | Outcome::Expired | Outcome::Duplicate => rpc::SendOutcome::Offline,
        Outcome::NotMember => rpc::SendOutcome::NotMember,
        Outcome::Slow => rpc::SendOutcome::Slow,
        // Direct sends are never durable.
        Outcome::Stored => rpc::SendOutcome::Offered,
    };
    Ok(Response::new(rpc::SendResponse { outcome: outcome.into(), sessions: sent.sessions, id: sent.id.to_string() }))
}
