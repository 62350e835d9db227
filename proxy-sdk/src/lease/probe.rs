//! Asking the holder of a name whether it lives.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::NodeRecord;
use crate::client::{ClientOptions, NodeClient};

/// Tells whether the node of a record lives.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Asks it, and waits no longer than `most`.
    async fn answers(&self, record: &NodeRecord, most: Duration) -> bool;
}

/// Asks by RPC: whoever answers `Hello` with the incarnation on record lives.
#[derive(Clone, Debug, Default)]
pub struct RpcProbe {
    /// The asking node's own RPC address: it holds that port, so nobody else lives there.
    pub own: String,
}

#[async_trait]
impl Probe for RpcProbe {
    async fn answers(&self, record: &NodeRecord, most: Duration) -> bool {
        if record.rpc == self.own {
            return false;
        }
        let Ok(client) = NodeClient::lazy(&record.rpc, ClientOptions::default()) else { return false };
        let hello = timeout(most, client.hello()).await;
        hello.is_ok_and(|hello| hello.is_ok_and(|hello| hello.node.incarnation == record.incarnation))
    }
}
