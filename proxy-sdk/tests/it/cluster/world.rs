//! What the suites share: an etcd of the test's own, and nodes registered in it.

use std::collections::HashMap;
use std::time::Duration;

use gim_proto::{Incarnation, Keys, NodeId, Uid};
use gim_proxy_sdk::etcd::{Registrar, Registration};
use gim_proxy_sdk::testing::{DEADLINE, EtcdServer, prefix};
use gim_proxy_sdk::{ClientOptions, ClusterClient, Error, RunProxy, Sent};

use crate::support::fake::{FakeNode, Script};
use crate::support::{patient, within};

/// Never ends while a test runs.
const TTL: Duration = Duration::from_secs(60);

/// An etcd, and who is registered there.
pub(crate) struct World {
    pub(crate) etcd: EtcdServer,
    pub(crate) prefix: String,
    registrars: HashMap<&'static str, Registrar>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self { etcd: EtcdServer::start().await, prefix: prefix(), registrars: HashMap::new() }
    }

    /// Registers somebody under this name, and waits until it stands.
    pub(crate) async fn register(&mut self, name: &'static str, rpc: &str) {
        let keys = Keys::new(&self.prefix).unwrap();
        let says = Registration::new(Incarnation::mint(), rpc, "", "0.1.0", 7);
        let registrar = Registrar::start(&self.etcd.options(), &keys, id(name), says, TTL);
        assert!(registrar.standing(DEADLINE).await, "{name} is not registered in time");
        self.registrars.insert(name, registrar);
    }

    /// Starts a node that does as the script says, and registers it.
    pub(crate) async fn start(&mut self, name: &'static str, script: Script) -> FakeNode {
        let node = FakeNode::start(Script { name, ..script }).await;
        self.register(name, &node.address()).await;
        node
    }

    pub(crate) async fn leave(&mut self, name: &str) {
        self.registrars.remove(name).unwrap().leave().await;
    }

    pub(crate) async fn connect(&self, options: ClientOptions) -> ClusterClient {
        ClusterClient::connect(&self.etcd.options(), &self.prefix, options).await.unwrap()
    }

    /// A client with time, which knows these nodes.
    pub(crate) async fn client(&self, names: &[&str]) -> ClusterClient {
        let client = self.connect(patient()).await;
        knows(&client, names).await;
        client
    }
}

/// Waits until the client knows exactly these nodes.
pub(crate) async fn knows(client: &ClusterClient, names: &[&str]) {
    let known = async {
        while client.nodes().iter().map(NodeId::as_str).ne(names.iter().copied()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(&format!("the client to know {names:?}"), known).await;
}

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// One call that must not be made twice.
pub(crate) async fn send(client: &ClusterClient) -> Result<Sent, Error> {
    client.send_msg_to_user(&Uid::parse("42").unwrap(), "once".into()).await
}
