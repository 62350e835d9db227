//! A Redis of the bench's own, empty, on a free port, on the load client's core; and what it says about itself.

mod commands;

use std::path::Path;
use std::time::Duration;

use ::redis::{Connection, FromRedisValue, Pipeline, Value, cmd, pipe};
use gim_proto::Keys;
use gim_proto::keys::BUCKETS;
use gim_proxy_sdk::store::RedisOptions;
use gim_proxy_sdk::testing::RedisServer;
use tokio::runtime::{self, Runtime};

use crate::args::Settings;
use crate::{Result, clock};

pub(crate) use self::commands::{Calls, Commands};

/// The lane that everything is on: the node has one.
const LANE: u16 = 0;
const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Redis {
    server: RedisServer,
    connection: Connection,
    /// The conductor is no asynchronous program; this runs what is.
    runtime: Runtime,
    keys: Keys,
}

/// What is not settled yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsettled {
    /// Handed out.
    pub(crate) pending: u64,
    /// The last entry was handed out.
    pub(crate) is_read: bool,
}

impl Redis {
    /// Starts one with one core, that of the conductor.
    pub(crate) fn start(settings: &Settings) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let persistence: &[&str] = if settings.appendonly { &["--appendonly", "yes"] } else { &[] };
        let server = runtime.block_on(RedisServer::start_with(persistence));
        let connection = ::redis::Client::open(server.url())?.get_connection()?;
        connection.set_read_timeout(Some(DEADLINE))?;
        connection.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { server, connection, runtime, keys: Keys::new("gim")? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
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
        self.keys.queue(LANE)
    }

    pub(crate) fn pipe<T: FromRedisValue + Send>(&mut self, pipe: &Pipeline) -> Result<T> {
        Ok(pipe.query(&mut self.connection)?)
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
        let text: String = cmd("INFO").arg("commandstats").query(&mut self.connection)?;
        Ok(Commands::parse(&text))
    }

    pub(crate) fn version(&mut self) -> Result<String> {
        let text: String = cmd("INFO").arg("server").query(&mut self.connection)?;
        Ok(line(&text, "redis_version:").to_owned())
    }

    /// Bytes in use.
    pub(crate) fn memory(&mut self) -> Result<u64> {
        let text: String = cmd("INFO").arg("memory").query(&mut self.connection)?;
        Ok(line(&text, "used_memory:").parse()?)
    }

    /// Counts the users who are claimed.
    pub(crate) fn claimed(&mut self) -> Result<u64> {
        let mut count = pipe();
        for bucket in 0..BUCKETS {
            count.cmd("HLEN").arg(self.keys.bucket(bucket));
        }
        Ok(self.pipe::<Vec<u64>>(&count)?.into_iter().sum())
    }

    /// Waits until the node has everything handed to it and settled. Returns how often it asked, two commands each time.
    pub(crate) fn settled(&mut self, every: Duration, within: Duration) -> Result<u64> {
        let deadline = clock::deadline(within);
        let mut asked = 1;
        while self.unsettled()? != (Unsettled { pending: 0, is_read: true }) {
            if clock::now() > deadline {
                return Err(format!("not settled in time: {:?}", self.unsettled()?).into());
            }
            clock::sleep(every);
            asked += 1;
        }
        Ok(asked)
    }

    /// Entries that wait for another time, and dead letters: none in a run where all goes well.
    pub(crate) fn set_aside(&mut self) -> Result<u64> {
        let mut count = pipe();
        count.cmd("ZCARD").arg(self.keys.later(LANE)).cmd("XLEN").arg(self.keys.dead(LANE));
        Ok(self.pipe::<Vec<u64>>(&count)?.into_iter().sum())
    }

    fn unsettled(&mut self) -> Result<Unsettled> {
        let stream = self.stream();
        let mut ask = pipe();
        ask.cmd("XINFO").arg("GROUPS").arg(&stream).cmd("XINFO").arg("STREAM").arg(&stream);
        let (groups, stream): (Vec<Vec<Value>>, Vec<Value>) = self.pipe(&ask)?;
        let group = groups.first().ok_or("the lane has no consumer group")?;
        let pending = field(group, "pending").and_then(|value| u64::from_redis_value_ref(value).ok());
        // The lag is not always known to Redis, the last entry is.
        let last = |fields, name| field(fields, name).and_then(|value| String::from_redis_value_ref(value).ok());
        let is_read = last(group, "last-delivered-id") == last(&stream, "last-generated-id");
        Ok(Unsettled { pending: pending.ok_or("no number of pending entries")?, is_read })
    }
}

fn line<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
}

fn field<'a>(fields: &'a [Value], name: &str) -> Option<&'a Value> {
    let named = |pair: &&[Value]| matches!(pair, [Value::BulkString(key), _] if key == name.as_bytes());
    fields.chunks(2).find(named).and_then(|pair| pair.get(1))
}
