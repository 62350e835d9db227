//! `gim.v1.Node`: what SDKs and the `gim` command ask of a node.

use std::sync::Arc;

use gim_proto::rpc::{self, node_server};
use gim_proto::{Entry, Fields, Payload, Tgid, Uid};
use gim_proxy_sdk::{Body, LocalProxy, Outcome, RunProxy, Sent};
use tonic::{Request, Response, Status};

use super::status;
use crate::core::Core;

/// Entries in one call.
const MOST_ENTRIES: usize = 1_000;

pub(super) struct NodeService {
    core: Arc<Core>,
}

impl NodeService {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl node_server::Node for NodeService {
    async fn hello(&self, request: Request<rpc::HelloRequest>) -> Result<Response<rpc::HelloResponse>, Status> {
        let range = request.into_inner();
        if !(range.min_version..=range.max_version).contains(&super::VERSION) {
            return Err(Status::failed_precondition(format!("this node speaks version {} only", super::VERSION)));
        }
        Ok(Response::new(rpc::HelloResponse {
            version: super::VERSION,
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

    async fn join(&self, request: Request<rpc::JoinRequest>) -> Result<Response<rpc::JoinResponse>, Status> {
        let rpc::JoinRequest { uid, tgid, here } = request.into_inner();
        let (proxy, uid, tgid) = (self.core.proxy(), parse_uid(&uid)?, parse_tgid(&tgid)?);
        let joined = match here {
            true => proxy.join_local_group(&uid, &tgid).await,
            false => proxy.join_group(&uid, &tgid).await,
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

    type DeliverStream = futures_util::stream::Empty<Result<rpc::DeliverResponse, Status>>;

    async fn deliver(
        &self,
        _request: Request<tonic::Streaming<rpc::DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        Err(Status::unimplemented("batches"))
    }

    async fn stop_session(
        &self,
        _request: Request<rpc::StopSessionRequest>,
    ) -> Result<Response<rpc::StopSessionResponse>, Status> {
        Err(Status::unimplemented("sessions"))
    }
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
    };
    Ok(Response::new(rpc::SendResponse { outcome: outcome.into(), sessions: sent.sessions, id: sent.id.to_string() }))
}
