//! The way of batches and questions to a node, as workers and other nodes have it.

use std::sync::Arc;

use gim_proto::rpc::node_client::NodeClient;
use gim_proto::rpc::{self, HelloRequest};
use gim_proto::{Fence, Incarnation, NodeId, SessionId, Uid};
use gim_proxy_sdk::ClientOptions;
use gim_proxy_sdk::delivery::{Addressed, Batch, Delivery, LaneOrigin, Report};
use gim_proxy_sdk::directory::{NodeRef, Owner};
use gim_proxy_sdk::members::{LiveNodes, Member};
use gim_proxy_sdk::peers::{PeerErrorKind, Peers, Stop};

use super::DEADLINE;
use super::client::Client;
use super::node::TestNode;

/// The way to a node, as another process has it.
pub(crate) struct Way {
    pub(crate) node: NodeRef,
    peers: Peers,
}

impl Way {
    pub(crate) async fn to(node: &TestNode) -> Self {
        let hello = hello(node).await;
        let name = NodeRef {
            id: NodeId::parse(&hello.node).unwrap(),
            incarnation: Incarnation::parse(&hello.incarnation).unwrap(),
        };
        let live = LiveNodes::new();
        live.set([Member { rpc: Arc::from(node.rpc.to_string()), ..Member::from(name.clone()) }]);
        let options = ClientOptions { deadline: DEADLINE, ..ClientOptions::between_processes(None) };
        Self { node: name, peers: Peers::new(live, options) }
    }

    pub(crate) async fn deliver(&self, batch: Batch) -> Result<Vec<Report>, PeerErrorKind> {
        self.peers.deliver(&self.node, &batch).await.map_err(|error| error.kind)
    }

    pub(crate) async fn stop(&self, who: &Addressed, stop: Stop) -> bool {
        let owner = Owner { node: self.node.clone(), session: who.session, fence: who.fence };
        self.peers.stop(&who.uid, &owner, stop, DEADLINE).await.unwrap()
    }
}

pub(crate) async fn hello(node: &TestNode) -> rpc::HelloResponse {
    let mut rpc = NodeClient::connect(format!("http://{}", node.rpc)).await.unwrap();
    rpc.hello(HelloRequest { min_version: 1, max_version: 1 }).await.unwrap().into_inner()
}

pub(crate) fn addressed(uid: &str, client: &Client) -> Addressed {
    let session = SessionId::parse(client.session()).unwrap();
    Addressed { uid: Uid::parse(uid).unwrap(), session, fence: Fence(client.fence()) }
}

pub(crate) fn of_lane(lane: u16, term: u64, deliveries: Vec<Delivery>) -> Batch {
    Batch { lane: Some(LaneOrigin { lane, term, low_water: None }), deliveries }
}
