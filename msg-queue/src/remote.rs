//! The way to nodes in other processes: batches go over the stream that this process has to each of them.
//!
//! Owns the step between the two ports. Connections, deadlines and the order on the way are [`Peers`]'.

use std::sync::Arc;

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
    async fn deliver(&self, node: &NodeRef, batch: &Arc<Batch>) -> Result<Vec<Report>, DeliverError> {
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

#[cfg(test)]
mod tests {
    use gim_proto::{Incarnation, NodeId};
    use gim_proxy_sdk::client::ClientOptions;
    use gim_proxy_sdk::members::LiveNodes;

    use super::*;

    #[test]
    fn a_node_with_enough_to_do_costs_no_attempt() {
        for (peer, attempt) in [
            (PeerErrorKind::Full, false),
            (PeerErrorKind::Suspended, false),
            (PeerErrorKind::Refused, false),
            (PeerErrorKind::Unreachable, true),
            (PeerErrorKind::Unknown, true),
        ] {
            let error = DeliverError::from(PeerError::from(peer));
            assert_eq!(error.kind.failure().is_some(), attempt, "{peer:?}");
        }
    }

    #[tokio::test]
    async fn a_node_that_is_not_among_the_living_is_not_called() {
        let peers = Peers::new(LiveNodes::new(), ClientOptions::between_processes(None));
        let node = NodeRef { id: NodeId::parse("gone").unwrap(), incarnation: Incarnation::mint() };
        let batch = Arc::new(Batch { lane: None, deliveries: Vec::new() });
        let refused = RemoteDeliver::new(peers).deliver(&node, &batch).await.unwrap_err();
        assert_eq!(refused.kind, DeliverErrorKind::Unreachable);
    }
}
