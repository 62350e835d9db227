//! Listing, watching, and listing again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::{Client, GetOptions, WatchOptions, WatchResponse, WatchStream};
use gim_proto::Keys;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Facts;
use super::table::{MOST_NODES, Table};
use crate::etcd::backoff::Backoff;
use crate::etcd::fault::EtcdError;
use crate::etcd::options::EtcdOptions;
use crate::etcd::snapshot::Snapshot;

/// What has lasted for so long has not failed at once.
const LASTING: Duration = Duration::from_secs(5);

/// The task of a watcher.
pub(super) struct Follower {
    options: EtcdOptions,
    prefix: String,
    table: Table,
    published: watch::Sender<Arc<Snapshot>>,
    facts: Arc<Facts>,
}

/// Why a watch has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Etcd has compacted what was to be watched, or has cancelled the watch.
    Canceled { compacted: i64 },
    /// It failed, or was silent for too long.
    Failed(EtcdError),
}

impl From<EtcdError> for Ended {
    fn from(error: EtcdError) -> Self {
        Self::Failed(error)
    }
}

impl Follower {
    pub(super) fn new(
        options: EtcdOptions,
        keys: &Keys,
        published: watch::Sender<Arc<Snapshot>>,
        facts: Arc<Facts>,
    ) -> Self {
        let prefix = keys.etcd_nodes();
        Self { options, table: Table::new(prefix.clone()), prefix, published, facts }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut was_away = false;
        loop {
            let (begun, lists) = (Instant::now(), self.facts.lists.load(Ordering::Relaxed));
            let ended = self.follow().await;
            log(&ended, was_away && self.facts.lists.load(Ordering::Relaxed) == lists);
            was_away = true;
            // Watches that end as soon as they begin are not to become a storm of lists.
            if begun.elapsed() > LASTING {
                backoff.reset();
            }
            sleep(backoff.next()).await;
        }
    }

    /// Lists and watches until the watch ends.
    async fn follow(&mut self) -> Ended {
        let watched: Result<Infallible, Ended> = async {
            let mut client = self.options.open(&self.prefix).await?;
            let revision = self.list(&mut client).await?;
            let mut stream = self.watch(&mut client, revision + 1).await?;
            self.read(&mut stream).await
        }
        .await;
        let Err(ended) = watched;
        ended
    }

    async fn list(&mut self, client: &mut Client) -> Result<i64, EtcdError> {
        let most = i64::try_from(MOST_NODES + 1).unwrap_or(i64::MAX);
        let all = GetOptions::new().with_prefix().with_limit(most);
        let list = self.options.bounded(client.get(self.prefix.as_str(), Some(all))).await?;
        let revision = list.header().map_or(0, etcd_client::ResponseHeader::revision);
        self.facts.lists.fetch_add(1, Ordering::Relaxed);
        self.table.replace(list.kvs());
        self.publish(revision);
        Ok(revision)
    }

    async fn watch(&self, client: &mut Client, from: i64) -> Result<WatchStream, EtcdError> {
        let options = WatchOptions::new().with_prefix().with_start_revision(from);
        self.options.bounded(client.watch(self.prefix.as_str(), Some(options))).await
    }

    /// Reads until the stream ends. One that is silent is asked for a sign of life, once.
    async fn read(&mut self, stream: &mut WatchStream) -> Result<Infallible, Ended> {
        let mut is_asked = false;
        loop {
            match timeout(self.options.keep_alive, stream.message()).await {
                Ok(Ok(Some(told))) => {
                    is_asked = false;
                    self.take(&told)?;
                }
                Ok(Ok(None)) => return Err(EtcdError::unavailable().into()),
                Ok(Err(error)) => return Err(EtcdError::from(error).into()),
                Err(_) if is_asked => return Err(EtcdError::unanswered().into()),
                Err(_) => {
                    is_asked = true;
                    self.options.bounded(stream.request_progress()).await?;
                }
            }
        }
    }

    fn take(&mut self, told: &WatchResponse) -> Result<(), Ended> {
        // A compacted start is told by these two alone: it is no error of the stream, and has no reason.
        if told.canceled() || told.compact_revision() > 0 {
            return Err(Ended::Canceled { compacted: told.compact_revision() });
        }
        for event in told.events() {
            if let Some(pair) = event.kv() {
                self.table.apply(pair);
            }
        }
        self.publish(told.header().map_or(0, etcd_client::ResponseHeader::revision));
        Ok(())
    }

    /// Shows what is known now. Whoever waits is woken only if it differs.
    fn publish(&self, revision: i64) {
        self.facts.heard();
        self.facts.unreadable.store(self.table.unreadable(), Ordering::Relaxed);
        self.published.send_if_modified(|last| {
            let differs = !last.is_known() || last.nodes() != self.table.nodes();
            if differs {
                *last = Arc::new(Snapshot::new(revision, self.table.nodes().clone()));
                self.facts.snapshots.fetch_add(1, Ordering::Relaxed);
            }
            differs
        });
    }
}

fn log(ended: &Ended, was_away: bool) {
    match ended {
        Ended::Canceled { compacted } => {
            tracing::info!(compacted, "etcd has cancelled the watch of the nodes: they are listed anew");
        }
        Ended::Failed(error) if was_away => tracing::debug!(%error, "etcd is still away"),
        Ended::Failed(error) => {
            let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, cause, "etcd is away: the list of nodes stays as it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use gim_proto::NodeId;

    use super::*;
    use crate::testing::{prefix, shared_etcd};

    #[tokio::test]
    async fn a_watch_that_begins_before_what_is_compacted_ends_and_says_so() {
        let (server, keys) = (shared_etcd().await, Keys::new(&prefix()).unwrap());
        let mut client = server.client().await;
        let mut revision = 0;
        for _ in 0..3 {
            let put = client.put(keys.etcd_node(&NodeId::parse("n1").unwrap()), "", None).await.unwrap();
            revision = put.header().unwrap().revision();
        }
        client.compact(revision, None).await.unwrap();
        let published = watch::Sender::new(Arc::default());
        let mut follower = Follower::new(server.options(), &keys, published, Arc::default());
        let mut stream = follower.watch(&mut client, revision - 2).await.unwrap();
        let ended = follower.read(&mut stream).await;
        assert!(matches!(ended, Err(Ended::Canceled { compacted }) if compacted == revision), "{ended:?}");
    }
}
