//! What only processes of the service ask of each other: a stream of batches, and single sessions.

use std::time::Duration;

use futures_util::Stream;
use gim_proto::rpc::node_client::NodeClient as Node;
use gim_proto::rpc::{self, DeliverRequest, DeliverResponse};
use tokio::time::timeout;
use tonic::Streaming;
use tonic::metadata::AsciiMetadataValue;

use super::{ClientOptions, NodeClient, status};
use crate::Error;

impl NodeClient {
    /// Opens a stream of batches, of the version that was agreed on.
    pub(crate) async fn batches<S>(&self, version: u32, batches: S) -> Result<Streaming<DeliverResponse>, Error>
    where
        S: Stream<Item = DeliverRequest> + Send + 'static,
    {
        let calls = &self.calls;
        let mut request = calls.request(batches);
        request.metadata_mut().insert(rpc::VERSION_KEY, AsciiMetadataValue::from(version));
        let mut node = Node::new(calls.channel());
        match timeout(calls.options().deadline, node.deliver(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status::error(status, calls.address())),
            Err(elapsed) => Err(status::no_answer(calls.address(), elapsed)),
        }
    }

    /// Asks about one session, or has it end. False: it is not there, or on its way out.
    pub(crate) async fn stop_session(&self, request: rpc::StopSessionRequest, most: Duration) -> Result<bool, Error> {
        let most = most.min(self.calls.options().deadline);
        let call = |channel, request| async move { Node::new(channel).stop_session(request).await };
        Ok(self.calls.call_within(most, 0, request, call).await?.held)
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        self.calls.options()
    }
}
