//! How calls get there: by a connection of our own, in a cluster by one to each master. What concerns several masters at once
//! goes by fred, which splits it.
//!
//! Owns the form in which each is told what to send. Never decides whether a call is made again. What fred does is boxed: its
//! calls are large, and whoever awaits one would otherwise carry room for it where there is no cluster.

use ::fred::clients::Client;
use ::fred::error::Error;
use ::fred::interfaces::ClientLike;
use ::fred::types::config::Options;
use ::fred::types::{ClusterHash, CustomCommand, Value};
use gim_proto::slot_of;
use tokio::time::{Duration, Instant};

use super::fault::Fault;
use super::pipe::{End, Pipe, Word, Words};
use super::pipes::Pipes;
use super::script::Script;
use crate::store::{RedisOptions, Store, StoreError, Topology, fred_client};

/// See the module.
pub(super) enum Way {
    Pipe(Pipe),
    Cluster(Cluster),
}

/// The ways of a cluster.
pub(super) struct Cluster {
    pub(super) pipes: Pipes,
    pub(super) fred: Client,
}

/// One command of several that go out together.
pub(crate) struct Command {
    name: &'static str,
    args: Vec<String>,
}

impl Command {
    /// The first argument is the key.
    pub(crate) fn new(name: &'static str, args: impl IntoIterator<Item = String>) -> Self {
        Self { name, args: args.into_iter().collect() }
    }

    /// Whether it changes nothing: it may be sent again, whatever became of it, also to another server. No scan: where
    /// the next page begins is known to the server that it began at alone.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.name, "EXISTS" | "GET" | "HGETALL" | "HMGET" | "LINDEX" | "LRANGE" | "SCARD" | "SMEMBERS")
    }

    fn slot(&self) -> u16 {
        slot_of(self.args.first().map_or("", String::as_str))
    }
}

/// What a script is called with.
pub(super) struct Call<'a, W> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [&'a str],
    pub(super) args: &'a [W],
}

impl Way {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        Ok(match options.topology() {
            Topology::Cluster { seeds } => {
                let pipes = Pipes::new(Store::new(options.clone()), seeds.clone());
                Self::Cluster(Cluster { pipes, fred: fred_client(options)? })
            }
            Topology::Standalone { .. } | Topology::Sentinel { .. } => {
                Self::Pipe(Pipe::new(Store::new(options.clone()), End::Master))
            }
        })
    }

    pub(super) fn is_up(&self) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.is_up(),
            Self::Cluster(cluster) => cluster.pipes.is_up(),
        }
    }

    /// Counts the calls refused because too many were under way. For what fred does the bound on those that wait is all.
    pub(super) fn crowded(&self) -> u64 {
        match self {
            Self::Pipe(pipe) => pipe.crowded(),
            Self::Cluster(cluster) => cluster.pipes.crowded(),
        }
    }

    /// Calls a script, by its name if it is `known`. `limit`: the time after which it takes no effect.
    pub(super) async fn run<W: Word>(
        &self,
        call: &Call<'_, W>,
        known: bool,
        limit: i64,
        give_up: Instant,
    ) -> Result<Value, Fault> {
        let Call { script, keys, args } = call;
        let (command, text) = if known { ("EVALSHA", script.hash.as_str()) } else { ("EVAL", script.lua) };
        let limit = u64::try_from(limit).unwrap_or(0);
        let write = |words: &mut Words<'_>| {
            words.command(4 + keys.len() + args.len());
            words.word(command.as_bytes());
            words.word(text.as_bytes());
            words.number(keys.len() as u64);
            keys.iter().for_each(|key| words.word(key.as_bytes()));
            words.number(limit);
            args.iter().for_each(|arg| arg.write(words));
        };
        let answer = match self {
            Self::Pipe(pipe) => pipe.call(give_up, write).await,
            Self::Cluster(cluster) => {
                let slot = slot_of(keys.first().copied().unwrap_or_default());
                cluster.pipes.call(slot, give_up, write).await
            }
        };
        Ok(answer?)
    }

    /// Sends several commands in one go. Answers come in order.
    pub(super) async fn together(&self, commands: &[Command], give_up: Instant) -> Result<Vec<Value>, Fault> {
        let write = |words: &mut Words<'_>| {
            for Command { name, args } in commands {
                words.command(1 + args.len());
                words.word(name.as_bytes());
                args.iter().for_each(|arg| words.word(arg.as_bytes()));
            }
        };
        let answers = match self {
            Self::Pipe(pipe) => pipe.call_all(commands.len(), give_up, write).await,
            Self::Cluster(Cluster { pipes, fred }) => {
                let mut slots = commands.iter().map(Command::slot);
                match slots.next() {
                    Some(slot) if pipes.is_one(slots.chain([slot])) => {
                        pipes.call_all(slot, commands.len(), give_up, write).await
                    }
                    _ => return Ok(Box::pin(by_fred(fred, commands, give_up)).await?),
                }
            }
        };
        Ok(answers?)
    }

    /// Asks for the time.
    pub(super) async fn time(&self, give_up: Instant) -> Result<Value, StoreError> {
        match self {
            Self::Pipe(pipe) => {
                let write = |words: &mut Words<'_>| {
                    words.command(1);
                    words.word(b"TIME");
                };
                pipe.call(give_up, write).await
            }
            Self::Cluster(Cluster { fred, .. }) => {
                let time = CustomCommand::new_static("TIME", ClusterHash::Random, false);
                let client = fred.with_options(&options(give_up));
                Ok(Box::pin(client.custom(time, Vec::<Value>::new())).await?)
            }
        }
    }
}

async fn by_fred(client: &Client, commands: &[Command], give_up: Instant) -> Result<Vec<Value>, Error> {
    let pipeline = client.with_options(&options(give_up)).pipeline();
    for Command { name, args } in commands {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        // Copied: they may be sent once more.
        let _queued: Value = pipeline.custom(command, args.clone()).await?;
    }
    pipeline.try_all().await.into_iter().collect()
}

/// What is on its way when a connection breaks fails, and fails at once while there is none.
fn options(give_up: Instant) -> Options {
    let left = give_up.saturating_duration_since(Instant::now());
    // 0 would mean no deadline.
    Options { fail_fast: true, timeout: Some(left.max(Duration::from_millis(1))), ..Options::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_and_pages_of_a_scan_are_not_sent_again() {
        let is_read = |name| Command::new(name, ["key".to_owned()]).is_read();
        assert!(["GET", "HMGET", "LRANGE", "SMEMBERS"].into_iter().all(is_read));
        assert!(!["SSCAN", "SET", "LREM", "SREM", "HDEL", "PEXPIRE", "XADD"].into_iter().any(is_read));
    }
}
