//! Asking the holder of a name whether it lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::{NodeRecord, host};
use crate::ErrorKind;
use crate::client::{ClientOptions, NodeClient};

/// Tells whether the node of a record lives.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Asks it, and waits no longer than `most` of the time in which the asking process itself runs.
    async fn answers(&self, record: &NodeRecord, most: Duration) -> bool;
}

/// Asks by RPC: whoever answers `Hello` with the incarnation on record lives. Whoever can be reached on another machine
/// only counts as living while his lease lasts.
#[derive(Clone, Default)]
pub struct RpcProbe {
    /// The asking node's own RPC address: it holds that port, so nobody else lives there.
    pub own: String,
    /// What the nodes of the service ask callers for, `rpc.token`.
    pub token: Option<Arc<str>>,
}

#[async_trait]
impl Probe for RpcProbe {
    async fn answers(&self, record: &NodeRecord, most: Duration) -> bool {
        if is_loopback(&record.rpc) && record.host != host::name() {
            // Nobody here can ask it. Its lease speaks for it as long as that lasts.
            return true;
        }
        // Only what is bound on this machine: an advertised address may be a copied one.
        if record.rpc == self.own && record.host == host::name() {
            return false;
        }
        let options = ClientOptions { token: self.token.clone(), ..ClientOptions::default() };
        let Ok(client) = NodeClient::lazy(&record.rpc, options) else { return false };
        match while_running(most, client.hello()).await {
            // What follows a lost lease is named in Redis a moment before the process itself says so.
            Some(Ok(hello)) => [record.incarnation, record.worker].contains(&hello.node.incarnation),
            // Somebody is there and does not know us, or our version. The lease speaks for it as long as that lasts.
            Some(Err(error)) => !matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout),
            None => false,
        }
    }
}

/// Waits for something, in steps: a machine that stands still has both sides stand still, and costs one of them. By the
/// clock alone the first thing seen after it would be that the other had not answered.
async fn while_running<T>(most: Duration, wanted: impl Future<Output = T>) -> Option<T> {
    const STEPS: u32 = 10;
    let patience = async {
        for _ in 0..STEPS {
            sleep(most / STEPS).await;
        }
    };
    tokio::select! {
        biased;
        found = wanted => Some(found),
        () = patience => None,
    }
}

fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use gim_proto::Incarnation;

    use super::*;

    fn record(rpc: &str, host: String) -> NodeRecord {
        let incarnation = Incarnation::mint();
        let text = String::new;
        let (version, public, started_ms) = (text(), text(), 0);
        NodeRecord {
            schema: crate::lease::SCHEMA,
            incarnation,
            worker: incarnation,
            rpc: rpc.to_owned(),
            public,
            host,
            version,
            started_ms,
            asserted: None,
            after: vec![],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_late_by_a_machine_that_stood_still_is_waited_for() {
        const MOST: Duration = Duration::from_millis(300);
        let stood_still = async {
            // Gives the other future its turn first: it begins to wait before time passes.
            tokio::task::yield_now().await;
            tokio::time::advance(2 * MOST).await;
            tokio::task::yield_now().await;
            tokio::time::sleep(MOST / 3).await;
            "an answer"
        };
        assert_eq!(while_running(MOST, stood_still).await, Some("an answer"));
        let begun = tokio::time::Instant::now();
        assert_eq!(while_running(MOST, std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() >= MOST && begun.elapsed() < 2 * MOST, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_loopback_address_of_another_machine_says_nothing() {
        let probe = RpcProbe { own: "127.0.0.1:8091".to_owned(), token: None };
        let most = Duration::from_millis(300);
        assert!(!probe.answers(&record("127.0.0.1:8091", host::name()), most).await, "its port is ours");
        assert!(!probe.answers(&record("127.0.0.1:1", host::name()), most).await, "nobody is there");
        assert!(probe.answers(&record("127.0.0.1:8091", "another".to_owned()), most).await);
        assert!(probe.answers(&record("[::1]:8091", "another".to_owned()), most).await);
    }
}
