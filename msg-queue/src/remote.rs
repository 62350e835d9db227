//! The way to nodes in other processes: batches go over the stream that this process has to each of them.
//!
//! Owns the step between the two ports. Connections, deadlines and the order on the way are [`Peers`]'.

use async_trait::async_trait;
use gim_proxy_sdk::delivery::{Batch, Report};
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::peers::{PeerError, PeerErrorKind, Peers};

use crate::deliver::{Deliver, DeliverError, DeliverErrorKind};

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RemoteDeliver {
    peers: Peers,
}

impl RemoteDeliver {
    /// Delivers by way of these peers.
    #[must_use]
    pub const fn new(peers: Peers) -> Self {
        Self { peers }
    }
}

#[async_trait]
impl Deliver for RemoteDeliver {
    async fn deliver(&self, node: &NodeRef, batch: Batch) -> Result<Vec<Report>, DeliverError> {
        self.peers.deliver(node, batch).await.map_err(DeliverError::from)
    }
}

impl From<PeerError> for DeliverError {
    fn from(error: PeerError) -> Self {
        let kind = match error.kind {
            PeerErrorKind::Unreachable => DeliverErrorKind::Unreachable,
            PeerErrorKind::Unknown => DeliverErrorKind::Unknown,
            PeerErrorKind::Refused => DeliverErrorKind::Refused,
            // A node that has enough to do is none that failed: it costs no attempt.
            PeerErrorKind::Suspended | PeerErrorKind::Full => DeliverErrorKind::Suspended,
        };
        Self { kind, source: Some(Box::new(error)) }
    }
}
