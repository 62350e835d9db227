//! The way to other nodes: batches on one stream per node, and questions about sessions.

mod faults;
mod parts;
mod room;
mod stream;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use gim_proto::{Class, EntryId, Fence, Incarnation, MessageId, NodeId, Payload, SessionId, Uid};
use gim_proxy_sdk::ClientOptions;
use gim_proxy_sdk::delivery::{Addressed, Batch, Delivery, LaneOrigin, Message, Recipients};
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::members::{LiveNodes, Member};
use gim_proxy_sdk::peers::Peers;

use crate::support::fake::{FakeNode, Script};
use crate::support::line::Line;
use crate::support::{impatient, patient};

/// A node, and the way to it.
struct World {
    node: FakeNode,
    /// As whom it is in the view.
    name: NodeRef,
    live: LiveNodes,
    peers: Peers,
}

impl World {
    async fn of(line: Line, options: ClientOptions) -> Self {
        Self::with(Script { line: Arc::new(line), ..Script::default() }, options).await
    }

    async fn with(script: Script, options: ClientOptions) -> Self {
        let node = FakeNode::start(script).await;
        let name = name(node.script.incarnation);
        let live = LiveNodes::new();
        live.set([member(&name, &node.address())]);
        let peers = Peers::new(live.clone(), options);
        Self { node, name, live, peers }
    }

    fn line(&self) -> &Line {
        &self.node.script.line
    }

    /// Hands over batches one after the other, and does not wait for their answers.
    fn hand_over(&self, batches: impl IntoIterator<Item = Batch>) -> Vec<tokio::task::JoinHandle<Outcome>> {
        batches.into_iter().map(|batch| self.hand(batch)).collect()
    }

    fn hand(&self, batch: Batch) -> tokio::task::JoinHandle<Outcome> {
        let (peers, name) = (self.peers.clone(), self.name.clone());
        tokio::spawn(async move { peers.deliver(&name, &batch).await.map_err(|error| error.kind) })
    }
}

type Outcome = Result<Vec<gim_proxy_sdk::delivery::Report>, gim_proxy_sdk::peers::PeerErrorKind>;

fn name(incarnation: Incarnation) -> NodeRef {
    NodeRef { id: NodeId::parse("fake").unwrap(), incarnation }
}

fn member(node: &NodeRef, rpc: &str) -> Member {
    Member { rpc: Arc::from(rpc), ..Member::from(node.clone()) }
}

fn uid(name: &str) -> Uid {
    Uid::parse(name).unwrap()
}

fn session_of(name: &str) -> Addressed {
    Addressed { uid: uid(name), session: SessionId::mint(), fence: Fence(5) }
}

/// A message of so many bytes, with the number in its entry.
fn delivery(number: u64, bytes: usize, to: Recipients) -> Delivery {
    let message = Message {
        id: MessageId::of_entry(3, EntryId { ms: number, seq: 0 }),
        class: Class::Live,
        key: None,
        payload: Payload::Raw(vec![b'x'; bytes].into()),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    };
    Delivery { entry: Some(EntryId { ms: number, seq: 0 }), message: Arc::new(message), to }
}

fn of_lane(deliveries: Vec<Delivery>) -> Batch {
    let lane = LaneOrigin { lane: 3, term: 9, low_water: Some(EntryId { ms: 1, seq: 2 }) };
    Batch { lane: Some(lane), deliveries }
}

/// One small message to one user.
fn small(number: u64) -> Batch {
    of_lane(vec![delivery(number, 10, Recipients::Sessions(vec![session_of("42")].into()))])
}

/// The numbers of the messages of each batch that came.
fn numbers(line: &Line) -> Vec<Vec<u64>> {
    let of = |delivery: &gim_proto::rpc::Delivery| delivery.entry.expect("an entry").ms;
    line.seen().iter().map(|request| request.deliveries.iter().map(of).collect()).collect()
}

/// A connection that stands still is found out within this.
fn watchful(options: ClientOptions) -> ClientOptions {
    let soon = Duration::from_millis(100);
    ClientOptions { keep_alive: soon, keep_alive_timeout: 3 * soon, ..options }
}
