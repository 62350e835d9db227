//! A call on its way to one node after the other.
//!
//! Owns the rule when it may go on: as long as it certainly had no effect. The handshake comes before the call, so a
//! node that does not answer that, frozen for one, has not had the call either.

use std::time::Duration;

use gim_proto::NodeId;
use tokio::time::{Instant, timeout_at};

use super::ClusterClient;
use super::choice::Chosen;
use crate::client::had_no_effect;
use crate::{Error, ErrorKind, NodeClient};

/// Nodes tried for one call, at most.
const TRIES: usize = 3;

/// Who was tried so far, and until when others are.
pub(super) struct Search {
    end: Instant,
    tried: Vec<NodeId>,
    /// A handshake of earlier does not count.
    anew: bool,
    /// Why the last one was passed over.
    failure: Option<Error>,
}

impl Search {
    pub(super) fn within(deadline: Duration) -> Self {
        Self { end: Instant::now() + deadline, tried: Vec::new(), anew: false, failure: None }
    }

    /// One that takes nobody's answer for granted.
    pub(super) fn anew(deadline: Duration) -> Self {
        Self { anew: true, ..Self::within(deadline) }
    }

    /// Nothing took effect, however the last attempt ended.
    fn in_vain(&mut self) -> Error {
        match self.failure.take() {
            None => Error::new(ErrorKind::Unavailable, "no node of the cluster is registered"),
            Some(error) if error.kind == ErrorKind::Timeout => Error { kind: ErrorKind::Unavailable, ..error },
            Some(error) => error,
        }
    }
}

impl ClusterClient {
    /// Makes a call of a node, of the next one if it had no effect there.
    pub(super) async fn through<A, F>(&self, call: impl Fn(NodeClient) -> F + Send + Sync) -> Result<A, Error>
    where
        F: Future<Output = Result<A, Error>> + Send,
    {
        let mut search = Search::within(self.options.deadline);
        loop {
            let chosen = self.find(&mut search).await?;
            let answer = timeout_at(search.end, call(chosen.client.clone())).await;
            let error = match answer.unwrap_or_else(|elapsed| Err(unanswered(&chosen, elapsed))) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout) {
                self.choice.avoid(&chosen);
            }
            if !had_no_effect(&error) {
                return Err(error);
            }
            search.failure = Some(error);
        }
    }

    /// Finds a node that shakes hands and was not tried. Those that do not are passed over.
    pub(super) async fn find(&self, search: &mut Search) -> Result<Chosen, Error> {
        while search.tried.len() < TRIES {
            let snapshot = self.watcher.snapshot();
            let left = search.end.saturating_duration_since(Instant::now());
            // A node without time to answer in would only look as if it did not.
            if left.is_zero() {
                break;
            }
            let Some(chosen) = self.choice.next(&snapshot, &search.tried, &self.options) else { break };
            search.tried.push(chosen.id.clone());
            if search.anew {
                chosen.client.doubt();
            }
            let most = left.min(self.options.connect_timeout);
            match chosen.client.meet(most).await {
                Ok(()) => return Ok(chosen),
                Err(error) => {
                    tracing::debug!(node = %chosen.id, %error, "the node is passed over");
                    self.choice.avoid(&chosen);
                    search.failure = Some(error);
                }
            }
        }
        Err(search.in_vain())
    }
}

fn unanswered(chosen: &Chosen, elapsed: tokio::time::error::Elapsed) -> Error {
    Error::with_source(ErrorKind::Timeout, format!("no answer in time from node {}", chosen.id), elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_taken_is_no_timeout() {
        let mut search = Search::within(Duration::from_secs(1));
        assert_eq!(search.in_vain().kind, ErrorKind::Unavailable);
        search.failure = Some(Error::new(ErrorKind::Timeout, "no handshake"));
        let error = search.in_vain();
        assert_eq!((error.kind, &*error.detail), (ErrorKind::Unavailable, "no handshake"));
        search.failure = Some(Error::new(ErrorKind::Unsupported, "another version"));
        assert_eq!(search.in_vain().kind, ErrorKind::Unsupported);
    }
}
