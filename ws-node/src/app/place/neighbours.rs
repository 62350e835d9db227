//! What a node of a cluster has beside its place: the view of who lives, its entry in etcd, the way to the others.
//!
//! Owns the order in which a node joins and leaves them. Registered last, so that nobody is sent here before the node can
//! be found in Redis; gone from etcd first, when the node begins to stop or is drained.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gim_proto::{Incarnation, Keys, NodeId};
use gim_proxy_sdk::client::ClientOptions;
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::etcd::{EtcdOptions, Registrar, Registration, Watcher};
use gim_proxy_sdk::lease::NodeLease;
use gim_proxy_sdk::membership::{Membership, MembershipOptions};
use gim_proxy_sdk::peers::Peers;
use gim_proxy_sdk::store::Store;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::Config;
use crate::core::{Cluster, Core, Sight};
use crate::node::StartError;
use crate::reassert;
use crate::shutdown::Phase;

/// Pause between two tries of what Redis did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// How long etcd is waited for at start. Without it the node runs; nobody is told that it does.
const FIRST: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Neighbours {
    pub(super) membership: Arc<Membership>,
    pub(super) peers: Peers,
    watcher: Watcher,
    etcd: EtcdOptions,
    ttl: Duration,
    keys: Keys,
    id: NodeId,
    registration: Registration,
    registrar: std::sync::OnceLock<Registrar>,
}

impl Neighbours {
    /// Learns who is there. The node is not registered yet.
    pub(super) async fn meet(
        config: &Config,
        store: &Store,
        keys: &Keys,
        lease: &NodeLease,
        addresses: (String, String),
    ) -> Result<Self, StartError> {
        let etcd = config.etcd.options()?;
        let watcher = Watcher::start(&etcd, keys);
        if watcher.first(FIRST).await.is_none() {
            tracing::warn!("etcd does not answer: the node runs, and is not registered there before it does");
        }
        let options = MembershipOptions::new(keys.clone());
        let hints = Some(watcher.snapshots());
        let membership = Membership::start(store, hints, Some(lease.clone()), options);
        let membership = membership.await.map_err(StartError::Redis)?;
        let node = lease.node();
        let (rpc, public) = addresses;
        let version = env!("CARGO_PKG_VERSION");
        Ok(Self {
            peers: Peers::new(membership.live().clone(), ClientOptions::between_processes(config.rpc.shown())),
            membership,
            watcher,
            etcd,
            ttl: config.etcd.ttl,
            keys: keys.clone(),
            id: node.id.clone(),
            registration: Registration::new(node.incarnation, rpc, public, version, unix_ms()),
            registrar: std::sync::OnceLock::new(),
        })
    }

    /// Registers the node, as long as it takes calls and connections.
    pub(super) fn register(&self, node: &NodeRef) {
        let registration = Registration { incarnation: node.incarnation, ..self.registration.clone() };
        let registrar = || Registrar::start(&self.etcd, &self.keys, self.id.clone(), registration, self.ttl);
        self.registrar.get_or_init(registrar);
    }

    /// Takes note that the node lives under another incarnation.
    pub(super) async fn live_on_as(&self, node: &NodeRef) {
        if let Some(registrar) = self.registrar.get() {
            registrar.change(Registration { incarnation: node.incarnation, ..self.registration.clone() });
        }
        // A look that fails is made again by itself.
        let _ = self.membership.look().await;
    }

    /// Makes what tells how the cluster looks from here.
    pub(super) fn sight(&self) -> Sight {
        let (watcher, membership) = (self.watcher.clone(), Arc::clone(&self.membership));
        Box::new(move || {
            let stats = membership.stats();
            let awaited = stats.awaited.nodes.len() as u64 + u64::from(stats.awaited.names);
            Cluster { etcd_is_well: watcher.is_connected(), nodes: stats.living, awaited }
        })
    }

    /// Compares the sessions here with the directory whenever another node's run has ended.
    pub(super) async fn heed(&self, core: &Core) {
        let mut changed = self.membership.changed();
        let mut known = self.runs();
        while changed.changed().await.is_ok() {
            let now = self.runs();
            let is_one_gone = known.difference(&now).any(|run| !core.has_lived_as(run));
            known = now;
            while is_one_gone && let Err(error) = reassert::compare(core).await {
                tracing::warn!(%error, "the sessions here are not compared with the directory yet");
                sleep(AGAIN).await;
            }
        }
    }

    fn runs(&self) -> HashSet<Incarnation> {
        self.membership.live().view().members().iter().map(|member| member.node.incarnation).collect()
    }

    /// Leaves etcd as soon as the node takes no connections any more.
    pub(super) async fn leave_with(&self, mut phases: watch::Receiver<Phase>) {
        if phases.wait_for(|phase| *phase >= Phase::NotReady).await.is_ok() {
            self.leave().await;
        }
    }

    /// Leaves etcd. The second call finds nothing to do.
    pub(super) async fn leave(&self) {
        if let Some(registrar) = self.registrar.get() {
            registrar.leave().await;
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
