//! What the suites share: nodes that register under a prefix of their own, and a look at what etcd really has.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, KeyValue};
use gim_proto::{Incarnation, Keys, NodeId};
use gim_proxy_sdk::etcd::{EtcdOptions, Registrar, RegistrarState, Registration, Snapshot, Watcher};
use gim_proxy_sdk::testing::{DEADLINE, prefix};
use tokio::time::timeout;

/// Never ends while a test runs.
pub(super) const LONG_TTL: Duration = Duration::from_secs(60);
/// The shortest there is.
pub(super) const SHORT_TTL: Duration = Duration::from_secs(1);

pub(super) fn keys() -> Keys {
    Keys::new(&prefix()).unwrap()
}

pub(super) fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// What a node says whose process started then.
pub(super) fn says(started: u64) -> Registration {
    Registration::new(Incarnation::mint(), "10.0.0.1:8091", "10.0.0.1:8080", "0.1.0", started)
}

pub(super) async fn standing(options: &EtcdOptions, keys: &Keys, name: &str, ttl: Duration) -> Registrar {
    let registrar = Registrar::start(options, keys, id(name), says(1), ttl);
    assert!(registrar.standing(DEADLINE).await, "not registered in time");
    registrar
}

/// Waits for a state of the registrar.
pub(super) async fn reached(
    registrar: &Registrar,
    what: &str,
    mut wanted: impl FnMut(&RegistrarState) -> bool,
) -> RegistrarState {
    let mut state = registrar.state();
    let reached = timeout(DEADLINE, state.wait_for(|state| wanted(state))).await;
    *reached.unwrap_or_else(|_| panic!("waited in vain for {what}")).unwrap()
}

pub(super) fn is_registered(state: &RegistrarState) -> bool {
    matches!(state, RegistrarState::Registered { .. })
}

pub(super) fn is_seeking(state: &RegistrarState) -> bool {
    matches!(state, RegistrarState::Seeking { .. })
}

pub(super) fn lease_of(state: RegistrarState) -> i64 {
    match state {
        RegistrarState::Registered { lease, .. } => lease,
        other => panic!("{other:?}"),
    }
}

/// Waits for a snapshot.
pub(super) async fn seen(watcher: &Watcher, what: &str, mut wanted: impl FnMut(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut snapshots = watcher.snapshots();
    let seen = timeout(DEADLINE, snapshots.wait_for(|snapshot| wanted(snapshot))).await;
    Arc::clone(&seen.unwrap_or_else(|_| panic!("waited in vain for {what}")).unwrap())
}

pub(super) async fn sees(watcher: &Watcher, names: &[&str]) {
    let what = format!("{names:?}");
    seen(watcher, &what, |snapshot| snapshot.is_known() && ids(snapshot) == names).await;
}

pub(super) fn ids(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.nodes().keys().map(NodeId::as_str).collect()
}

/// What etcd has at a node's key.
pub(super) async fn entry(client: &mut Client, keys: &Keys, name: &str) -> Option<KeyValue> {
    client.get(keys.etcd_node(&id(name)), None).await.unwrap().take_kvs().pop()
}

/// Asks again and again until it is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}
