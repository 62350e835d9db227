//! The connection that reads: one of its own, because a read that blocks holds up everything behind it.
//!
//! Before it reads, every earlier reader of the lane is ended, and then it is named as the one that reads: what an earlier
//! one is still handed out by Redis lands among the pending entries, where the drain that follows finds it.

use std::sync::Arc;

use ::redis::Value;
use futures_util::FutureExt;
use gim_proxy_sdk::store::StoreErrorKind;
use gim_proxy_sdk::store::wire::{Command, Part, Reply, Wire};
use tokio::time::{sleep, timeout};

use super::chores::ReaderId;
use super::fetch::Reader;
use super::lease::run_of;
use super::scripts::{Args, REGISTER};
use super::shared::Shared;
use super::trouble::{Trouble, unanswered};

pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) id: ReaderId,
    /// What is new has come as soon as it was waited for, the last time.
    pub(super) is_steady: bool,
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
        const WHAT: &str = "a client id";
        let mut wire = shared.store.wire(&shared.names.stream).await?;
        let client = match ask(shared, &mut wire, "CLIENT", "ID").await?.ok()?.parts().next() {
            Some(Part::Number(client)) => u64::try_from(client).map_err(|_| Trouble::Odd(WHAT))?,
            _ => return Err(Trouble::Odd(WHAT)),
        };
        let run = match ask(shared, &mut wire, "INFO", "server").await?.ok() {
            Ok(info) => run_of(&String::from_utf8_lossy(info.parts().bytes().unwrap_or_default())).into(),
            Err(error) if error.kind == StoreErrorKind::Denied => "".into(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { wire, id: ReaderId { client, run }, is_steady: false })
    }
}

async fn ask(shared: &Shared, wire: &mut Wire, name: &str, arg: &str) -> Result<Reply, Trouble> {
    let mut command = Command::new(name);
    command.arg(arg);
    match timeout(shared.store.options().deadline(), wire.call(&command)).await {
        Ok(answer) => answer.map_err(Trouble::from),
        Err(_) => Err(unanswered()),
    }
}
