//! A node of its own for each test, on free ports of 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gim_proto::NodeId;
use gim_ws_node::config::{Config, LocalSection};
use gim_ws_node::{Frame, Handled, Node, NodeBuilder, Session};
use serde_json::json;

use super::client::Client;
use super::{eventually, http, mode};

/// The name every node under test has.
pub(crate) const NAME: &str = "node-under-test";

/// A running node and where it listens.
#[derive(Clone)]
pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) rpc: SocketAddr,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(tune: impl FnOnce(&mut Config)) -> Self {
        Self::build(tune, |builder| builder).await
    }

    pub(crate) async fn build(tune: impl FnOnce(&mut Config), extend: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let mut config = config();
        mode::prepare(&mut config).await;
        tune(&mut config);
        let node = extend(Node::builder(config)).start().await.expect("the node starts");
        let (public, admin, rpc) = (node.public_addr(), node.admin_addr(), node.rpc_addr());
        Self { node: Arc::new(node), public, admin, rpc }
    }

    /// A node that returns every frame unchanged.
    pub(crate) async fn echo() -> Self {
        Self::echo_with(|_| {}).await
    }

    pub(crate) async fn echo_with(tune: impl FnOnce(&mut Config)) -> Self {
        Self::build(tune, |builder| {
            builder.on_frame(|session: Session, frame: Frame| async move {
                session.send_frame(&frame);
                Handled::Yes
            })
        })
        .await
    }
}

/// The default of mode `local`, on free ports.
pub(crate) fn config() -> Config {
    let mut config = Config { local: LocalSection::in_memory(), ..Config::default() };
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen.public = free;
    config.listen.admin = free;
    config.listen.rpc = free;
    config.node.id = Some(NodeId::parse(NAME).expect("a node's name"));
    config
}

/// Waits until the node holds no session of this user.
pub(crate) async fn gone(node: &TestNode, uid: &str) {
    eventually("the session to be gone", || async {
        let (status, user) = http::get(node.admin, &format!("/api/v1/users/{uid}")).await;
        assert_eq!(status, 200, "{user}");
        (user["online"] == false).then_some(())
    })
    .await;
}

/// A moment as the wire has it.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_millis())
        .expect("a clock before 2554")
}

/// Waits until so much time has passed on the node: a message scheduled for then arrives.
pub(crate) async fn pass(node: &TestNode, span: Duration) {
    let uid = format!("clock-{}", unix_ms());
    let mut clock = Client::user(node.public, &uid).await;
    let due = unix_ms() + u64::try_from(span.as_millis()).expect("a short span");
    http::push(node.admin, &json!({ "to_uid": uid, "deliver_at_ms": due, "data": { "due": due } })).await;
    clock.expect_body(json!({ "due": due })).await;
}
