//! Reads of the consumer, over a connection that nobody else waits for.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, cmd};
use gim_proto::EntryId;
use tokio::time::timeout;

use super::SubscriberOptions;
use super::raw::{Raw, millis};
use crate::store::{Store, StoreError};

pub(super) struct Reader {
    store: Store,
    key: String,
    group: String,
    consumer: String,
    batch: usize,
    block: Duration,
    /// None while a read is on its way: a read that is dropped takes its connection with it, and so ends at the server.
    connection: Option<MultiplexedConnection>,
}

impl Reader {
    pub(super) fn new(store: &Store, key: &str, options: &SubscriberOptions) -> Self {
        let SubscriberOptions { group, consumer, batch, block, .. } = options.clone();
        Self { store: store.clone(), key: key.to_owned(), group, consumer, batch, block, connection: None }
    }

    /// Reads what the consumer had been given and has not acknowledged, above an id.
    pub(super) async fn own(&mut self, after: EntryId) -> Result<Vec<Raw>, StoreError> {
        let read = self.command(None, &after.to_string());
        self.read(&read, Duration::ZERO).await
    }

    /// Reads what nobody in the group was given, and waits for it.
    pub(super) async fn new_ones(&mut self) -> Result<Vec<Raw>, StoreError> {
        let read = self.command(Some(self.block), ">");
        self.read(&read, self.block).await
    }

    fn command(&self, block: Option<Duration>, from: &str) -> Cmd {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.group).arg(&self.consumer).arg("COUNT").arg(self.batch);
        if let Some(block) = block {
            read.arg("BLOCK").arg(millis(block));
        }
        read.arg("STREAMS").arg(&self.key).arg(from);
        read
    }

    async fn read(&mut self, read: &Cmd, wait: Duration) -> Result<Vec<Raw>, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.connect(&self.key, None).await?,
        };
        let most = wait + self.store.options().deadline();
        let answer = timeout(most, read.query_async::<Option<Vec<(String, Vec<Raw>)>>>(&mut connection)).await;
        let answer = answer.map_err(|_| StoreError::unanswered())?.map_err(StoreError::from);
        if !answer.as_ref().is_err_and(StoreError::breaks_connection) {
            self.connection = Some(connection);
        }
        Ok(answer?.into_iter().flatten().flat_map(|(_, raw)| raw).collect())
    }
}
