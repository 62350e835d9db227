//! The connection that reads: one of its own, because a read that blocks holds up everything behind it.
//!
//! Before it reads, every earlier reader of the lane is ended, and then it is named as the one that reads: what an earlier
//! one is still handed out by Redis lands among the pending entries, where the drain that follows finds it.

use std::future::Future;
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{FromRedisValue, Value};
use futures_util::FutureExt;
use gim_proxy_sdk::store::{StoreError, StoreErrorKind};
use tokio::time::{sleep, timeout};

use super::chores::ReaderId;
use super::fetch::Reader;
use super::lease::run_of;
use super::scripts::{Args, REGISTER};
use super::shared::Shared;
use super::trouble::{Trouble, unanswered};

pub(super) struct Connection {
    pub(super) inner: MultiplexedConnection,
    pub(super) id: ReaderId,
}

impl Reader {
    /// Makes the connection if there is none.
    pub(super) async fn connect(&mut self, shared: &Arc<Shared>) -> Result<(), Trouble> {
        if std::mem::take(&mut self.chores.reconnect) {
            self.disconnect();
        }
        if let Some(Connection { id, .. }) = &self.connection {
            let own = id.clone();
            // Named by the lease that its owner has just taken anew.
            self.chores.former.retain(|former| *former != own);
            return self.end_former(shared, &own.run).await;
        }
        if let Some(reader) = self.reader.take() {
            self.chores.end_reader(reader);
            self.chores.drain = true;
        }
        let connection = Connection::open(shared).await?;
        shared.met_run(&connection.id.run);
        self.take_chores(shared);
        // Made just now: it is one to the run that answers.
        self.chores.reconnect = false;
        self.end_former(shared, &connection.id.run).await?;
        // Only now: until they are ended, the former stay named for whoever has to do it next.
        let args = Args::default().with(connection.id.client).with(&connection.id.run);
        let keys = [shared.names.lease.as_str(), shared.names.term.as_str()];
        shared.fenced_on::<Value>(&REGISTER, &keys, &args).await?;
        self.reader = Some(connection.id.clone());
        self.connection = Some(connection);
        Ok(())
    }

    /// Drops the connection. What it was handed out last comes again.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    async fn end_former(&mut self, shared: &Shared, run: &str) -> Result<(), Trouble> {
        while let Some(former) = self.chores.former.last() {
            // A client id of another run is somebody else's in this one.
            if *former.run == *run {
                // Boxed: rare, and otherwise a part of the type of every read.
                kill(shared, former).boxed().await?;
            }
            self.chores.former.pop();
        }
        Ok(())
    }
}

async fn kill(shared: &Shared, reader: &ReaderId) -> Result<(), Trouble> {
    if !reader.run.is_empty() {
        let mut kill = ::redis::cmd("CLIENT");
        match shared.link.query::<Value>(kill.arg("KILL").arg("ID").arg(reader.client)).await {
            Err(error) if error.kind == StoreErrorKind::Denied => {}
            other => return other.map(|_| ()).map_err(Trouble::from),
        }
    }
    // It may not be ended, or nobody may know whether it is the one: its read ends by itself, a little late at worst.
    sleep(shared.block * 5 / 4).await;
    Ok(())
}

impl Connection {
    async fn open(shared: &Shared) -> Result<Self, Trouble> {
        let mut inner = shared.store.connect(&shared.names.stream, None).await?;
        let client = ask(shared, ::redis::cmd("CLIENT").arg("ID").query_async(&mut inner)).await?;
        let run = match ask::<String>(shared, ::redis::cmd("INFO").arg("server").query_async(&mut inner)).await {
            Ok(info) => run_of(&info).into(),
            Err(Trouble::Store(error)) if error.kind == StoreErrorKind::Denied => "".into(),
            Err(trouble) => return Err(trouble),
        };
        Ok(Self { inner, id: ReaderId { client, run } })
    }
}

async fn ask<T: FromRedisValue>(
    shared: &Shared,
    call: impl Future<Output = ::redis::RedisResult<T>>,
) -> Result<T, Trouble> {
    match timeout(shared.store.options().deadline(), call).await {
        Ok(answer) => answer.map_err(|error| StoreError::from(error).into()),
        Err(_) => Err(unanswered()),
    }
}
