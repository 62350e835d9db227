//! A node that remembers what it was asked and answers as it was told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures_util::stream::BoxStream;
use gim_proto::rpc::{self, node_server, queue_server};
use gim_proto::{EntryId, Incarnation};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::line::Line;
use super::within;

/// What the node does, and what it was asked.
pub(crate) struct Script {
    /// The version it says it speaks.
    pub(crate) version: u32,
    /// Its name.
    pub(crate) name: &'static str,
    /// What it tells of the nodes.
    pub(crate) sysinfo: String,
    /// Its run.
    pub(crate) incarnation: Incarnation,
    /// Every call but the handshake fails with this.
    pub(crate) failure: Option<Status>,
    /// Every call but the handshake takes one permit for good.
    pub(crate) gate: Semaphore,
    /// What a direct send comes to.
    pub(crate) outcome: rpc::SendOutcome,
    /// How many dead letters there are.
    pub(crate) dead: u64,
    /// What it does with batches.
    pub(crate) line: Arc<Line>,
    /// What it says about sessions.
    pub(crate) held: bool,
    /// What it was asked, in order.
    pub(crate) requests: Mutex<Vec<String>>,
    /// What each of them showed.
    pub(crate) shown: Mutex<Vec<Option<String>>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            version: 1,
            name: "fake",
            sysinfo: r#"{"nodeNum":1}"#.to_owned(),
            incarnation: Incarnation::mint(),
            failure: None,
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            outcome: rpc::SendOutcome::Offered,
            dead: 0,
            line: Arc::default(),
            held: true,
            requests: Mutex::default(),
            shown: Mutex::default(),
        }
    }
}

impl Script {
    /// The requests so far, handshakes too.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The `authorization` of each request.
    pub(crate) fn tokens(&self) -> Vec<Option<String>> {
        self.shown.lock().unwrap().clone()
    }

    /// The requests so far but the handshakes.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen().into_iter().filter(|request| !request.starts_with("HelloRequest")).collect()
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.seen().iter().filter(|request| request.starts_with("HelloRequest")).count()
    }

    fn remember<T: std::fmt::Debug>(&self, request: &Request<T>) {
        assert!(request.metadata().contains_key("grpc-timeout"), "a call without a deadline: {request:?}");
        self.requests.lock().unwrap().push(format!("{:?}", request.get_ref()));
        let shown = request.metadata().get("authorization").map(|shown| shown.to_str().unwrap().to_owned());
        self.shown.lock().unwrap().push(shown);
    }

    async fn answer<Q: std::fmt::Debug, A>(&self, request: &Request<Q>, answer: A) -> Result<Response<A>, Status> {
        self.remember(request);
        self.gate.acquire().await.expect("the gate stays").forget();
        self.failure.clone().map_or(Ok(Response::new(answer)), Err)
    }
}

/// A running node. It goes when dropped.
pub(crate) struct FakeNode {
    pub(crate) script: Arc<Script>,
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl FakeNode {
    pub(crate) async fn start(script: Script) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, script: Script) -> Self {
        let listener = TcpListener::bind(addr).await.expect("the address is free");
        let addr = listener.local_addr().expect("it is bound");
        let script = Arc::new(script);
        let (stop, stopped) = oneshot::channel();
        let server = Server::builder()
            .add_service(node_server::NodeServer::from_arc(Arc::clone(&script)))
            .add_service(queue_server::QueueServer::from_arc(Arc::clone(&script)))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), async { stopped.await.unwrap_or(()) });
        let served = tokio::spawn(async { server.await.expect("it serves") });
        Self { script, addr, stop, served }
    }

    pub(crate) fn address(&self) -> String {
        self.addr.to_string()
    }

    /// Ends the node as a restart does. Afterwards its address is free.
    pub(crate) async fn stop(self) -> SocketAddr {
        self.stop.send(()).expect("it serves");
        within("the node to stop", self.served).await.expect("it does not panic");
        self.addr
    }
}

#[tonic::async_trait]
impl node_server::Node for Script {
    async fn hello(&self, request: Request<rpc::HelloRequest>) -> Result<Response<rpc::HelloResponse>, Status> {
        self.remember(&request);
        let node = self.name.to_owned();
        Ok(Response::new(rpc::HelloResponse { version: self.version, node, incarnation: self.incarnation.to_string() }))
    }

    async fn enqueue(&self, request: Request<rpc::EnqueueRequest>) -> Result<Response<rpc::EnqueueResponse>, Status> {
        let ids = (0..request.get_ref().entries.len()).map(|number| format!("0-{number}-0")).collect();
        self.answer(&request, rpc::EnqueueResponse { ids }).await
    }

    async fn send_to_user(
        &self,
        request: Request<rpc::SendToUserRequest>,
    ) -> Result<Response<rpc::SendResponse>, Status> {
        let outcome = self.outcome.into();
        self.answer(&request, rpc::SendResponse { outcome, sessions: 1, id: "m-1".to_owned() }).await
    }

    async fn send_to_group(
        &self,
        request: Request<rpc::SendToGroupRequest>,
    ) -> Result<Response<rpc::SendResponse>, Status> {
        let outcome = self.outcome.into();
        self.answer(&request, rpc::SendResponse { outcome, sessions: 7, id: "m-2".to_owned() }).await
    }

    async fn stop(&self, request: Request<rpc::StopRequest>) -> Result<Response<rpc::StopResponse>, Status> {
        self.answer(&request, rpc::StopResponse { stopped: true }).await
    }

    async fn join(&self, request: Request<rpc::JoinRequest>) -> Result<Response<rpc::JoinResponse>, Status> {
        self.answer(&request, rpc::JoinResponse { online: true }).await
    }

    async fn lookup(&self, request: Request<rpc::LookupRequest>) -> Result<Response<rpc::LookupResponse>, Status> {
        let user = |uid: &String| match uid.as_str() {
            "42" => rpc::UserState { online: true, node: "n1".to_owned(), fence: 7 },
            _ => rpc::UserState::default(),
        };
        let users = request.get_ref().uids.iter().map(user).collect();
        self.answer(&request, rpc::LookupResponse { users }).await
    }

    async fn leave(&self, request: Request<rpc::LeaveRequest>) -> Result<Response<rpc::LeaveResponse>, Status> {
        self.answer(&request, rpc::LeaveResponse { online: false }).await
    }

    async fn sysinfo(&self, request: Request<rpc::SysinfoRequest>) -> Result<Response<rpc::SysinfoResponse>, Status> {
        self.answer(&request, rpc::SysinfoResponse { json: self.sysinfo.clone() }).await
    }

    async fn drain(&self, request: Request<rpc::DrainRequest>) -> Result<Response<rpc::DrainResponse>, Status> {
        self.answer(&request, rpc::DrainResponse { clean: 5, forced: 2 }).await
    }

    type DeliverStream = BoxStream<'static, Result<rpc::DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<tonic::Streaming<rpc::DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(Response::new(self.line.serve(Arc::clone(&self.line), request))),
        }
    }

    async fn stop_session(
        &self,
        request: Request<rpc::StopSessionRequest>,
    ) -> Result<Response<rpc::StopSessionResponse>, Status> {
        self.answer(&request, rpc::StopSessionResponse { held: self.held }).await
    }
}

#[tonic::async_trait]
impl queue_server::Queue for Script {
    async fn stats(
        &self,
        request: Request<rpc::QueueStatsRequest>,
    ) -> Result<Response<rpc::QueueStatsResponse>, Status> {
        let lane = rpc::LaneStats { lane: 3, lag: 1, pending: 2, later: 4, dead: 5, oldest_pending_ms: 6, settled: 7 };
        self.answer(&request, rpc::QueueStatsResponse { lanes: vec![lane] }).await
    }

    /// Letters `0-0`, `1-0`, ... of the size that an entry may have.
    async fn list_dead(
        &self,
        request: Request<rpc::ListDeadRequest>,
    ) -> Result<Response<rpc::ListDeadResponse>, Status> {
        let asked = request.get_ref();
        let first = if asked.after.is_empty() { 0 } else { EntryId::parse(&asked.after).unwrap().ms + 1 };
        let letters = (first..self.dead).take(asked.limit as usize).map(|ms| rpc::DeadLetter {
            id: format!("{ms}-0"),
            fields: vec![rpc::Field { name: "raw".to_owned(), value: vec![0; gim_proto::MAX_ENTRY_BYTES].into() }],
        });
        let letters = letters.collect();
        self.answer(&request, rpc::ListDeadResponse { letters, total: self.dead }).await
    }

    async fn redrive_dead(
        &self,
        request: Request<rpc::SelectDeadRequest>,
    ) -> Result<Response<rpc::CountResponse>, Status> {
        self.answer(&request, rpc::CountResponse { count: 11 }).await
    }

    async fn purge_dead(
        &self,
        request: Request<rpc::SelectDeadRequest>,
    ) -> Result<Response<rpc::CountResponse>, Status> {
        self.answer(&request, rpc::CountResponse { count: 12 }).await
    }

    async fn cancel(&self, request: Request<rpc::CancelRequest>) -> Result<Response<rpc::CancelResponse>, Status> {
        self.answer(&request, rpc::CancelResponse { outcome: rpc::CancelOutcome::TooLate.into() }).await
    }
}
