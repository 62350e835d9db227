//! A Redis of the bench's own, empty, on a free port, on the load client's core; and what it says about itself.

mod commands;

use std::path::Path;
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, pipe};
use gim_proto::keys::BUCKETS;
use gim_proxy_sdk::bench::queue::Queue;
use gim_proxy_sdk::bench::run::Way;
use gim_proxy_sdk::store::RedisOptions;
use gim_proxy_sdk::testing::RedisServer;
use tokio::runtime::{self, Runtime};

use crate::Result;
use crate::args::Settings;

pub(crate) use self::commands::{Calls, Commands};

/// The lane that everything is on: the node has one.
const LANE: u16 = 0;
const PREFIX: &str = "gim";

pub(crate) struct Redis {
    server: RedisServer,
    /// The conductor is no asynchronous program; this runs what is.
    runtime: Runtime,
    queue: Queue,
}

impl Redis {
    /// Starts one with one core, that of the conductor.
    pub(crate) fn start(settings: &Settings) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let persistence: &[&str] = if settings.appendonly { &["--appendonly", "yes"] } else { &[] };
        let server = runtime.block_on(RedisServer::start_with(persistence));
        let queue = Queue::connect(&server.url(), PREFIX)?;
        Ok(Self { server, runtime, queue })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Messages by plain `XADD` to it.
    pub(crate) fn way(&self) -> Way {
        Way::Xadd(self.url(), PREFIX.to_owned())
    }

    pub(crate) fn options(&self) -> RedisOptions {
        self.server.options()
    }

    /// A folder that goes when it goes.
    pub(crate) fn folder(&self) -> &Path {
        self.server.folder()
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The stream that entries are put on.
    pub(crate) fn stream(&self) -> String {
        self.queue.stream(LANE)
    }

    pub(crate) fn pipe<T: FromRedisValue + Send>(&mut self, pipe: &Pipeline) -> Result<T> {
        self.queue.pipe(pipe)
    }

    /// Puts messages to groups on the stream, all in one transaction: a worker finds them waiting.
    pub(crate) fn add_at_once(&mut self, messages: impl Iterator<Item = (String, String)>) -> Result<()> {
        let stream = self.stream();
        let mut entries = pipe();
        entries.atomic();
        for (group, data) in messages {
            entries.cmd("XADD").arg(&stream).arg("*").arg("tgid").arg(group).arg("data").arg(data);
        }
        self.pipe::<Vec<String>>(&entries)?;
        Ok(())
    }

    /// How often each command was called so far, also by scripts.
    pub(crate) fn commands(&mut self) -> Result<Commands> {
        let text = self.queue.info("commandstats")?;
        Ok(Commands::parse(&text))
    }

    pub(crate) fn version(&mut self) -> Result<String> {
        let text = self.queue.info("server")?;
        Ok(line(&text, "redis_version:").to_owned())
    }

    /// Bytes in use.
    pub(crate) fn memory(&mut self) -> Result<u64> {
        let text = self.queue.info("memory")?;
        Ok(line(&text, "used_memory:").parse()?)
    }

    /// Counts the users who are claimed.
    pub(crate) fn claimed(&mut self) -> Result<u64> {
        let mut count = pipe();
        for bucket in 0..BUCKETS {
            count.cmd("HLEN").arg(self.queue.keys().bucket(bucket));
        }
        Ok(self.pipe::<Vec<u64>>(&count)?.into_iter().sum())
    }

    /// Waits until the node has everything handed to it and settled. Returns how often it asked, two commands each time.
    pub(crate) fn settled(&mut self, every: Duration, within: Duration) -> Result<u64> {
        self.queue.settled(every, within)
    }

    /// Entries that wait for another time, and dead letters: none in a run where all goes well.
    pub(crate) fn set_aside(&mut self) -> Result<u64> {
        self.queue.set_aside()
    }
}

fn line<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
}
