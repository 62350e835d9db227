//! A way into etcd: a client of the one member that answers first.
//!
//! Owns the choice among the endpoints. A client of several would go on handing calls to a member that is frozen, so
//! each way is to one of them, and another is opened when it ends.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, GetOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::backoff::draw;
use super::fault::EtcdError;
use super::options::EtcdOptions;

/// How long an endpoint is alone in being asked.
const HEAD_START: Duration = Duration::from_millis(300);

impl EtcdOptions {
    /// Opens a way: asks the endpoints one after another, beginning anywhere, without waiting long for one that hangs.
    /// The first that knows what is below the prefix is the one; that takes a leader, and leave to read it.
    pub(crate) async fn open(&self, prefix: &str) -> Result<Client, EtcdError> {
        let first = draw(u32::try_from(self.endpoints.len()).unwrap_or(1));
        let mut rest = self.endpoints.iter().cycle().skip(first as usize).take(self.endpoints.len());
        let mut asked = FuturesUnordered::new();
        let mut failed = EtcdError::unavailable();
        loop {
            let next = rest.next();
            let patience = if next.is_some() { HEAD_START } else { self.connect_timeout + self.call_timeout };
            asked.extend(next.map(|endpoint| self.open_one(endpoint, prefix)));
            match timeout(patience, asked.next()).await {
                Ok(Some(Ok(client))) => return Ok(client),
                Ok(Some(Err(error))) => failed = error,
                Ok(None) => return Err(failed),
                Err(_) => {}
            }
        }
    }

    async fn open_one(&self, endpoint: &Arc<str>, prefix: &str) -> Result<Client, EtcdError> {
        let opened = async {
            let mut client = Client::connect([endpoint], Some(self.of_client(endpoint))).await?;
            // Making a client connects nothing. This read does, and it is answered only where there is a leader.
            client.get(prefix, Some(GetOptions::new().with_prefix().with_count_only())).await?;
            Ok(client)
        };
        timeout(self.connect_timeout + self.call_timeout, opened).await.unwrap_or(Err(EtcdError::unanswered()))
    }

    /// Bounds a call.
    pub(super) async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, EtcdError> {
        match timeout(self.call_timeout, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(EtcdError::unanswered()),
        }
    }
}
