//! The queue in Redis, as a program sees it that knows nothing of this project: streams, and what they say.

use std::num::NonZeroU16;
use std::time::Duration;

use ::redis::{Connection, FromRedisValue, Pipeline, Value, cmd, pipe};
use gim_proto::Keys;

use super::{Result, clock};

const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to the Redis with the queue. Never more than one call at a time.
pub struct Queue {
    connection: Connection,
    keys: Keys,
    lanes: NonZeroU16,
}

/// What is not settled yet, of all lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unsettled {
    /// Handed out.
    pending: u64,
    /// The last entry was handed out.
    is_read: bool,
}

impl Queue {
    /// Connects, and reads how many lanes there are; one where no node has said so yet.
    ///
    /// # Errors
    /// Redis does not answer, or the prefix is none.
    pub fn connect(url: &str, prefix: &str) -> Result<Self> {
        let keys = Keys::new(prefix)?;
        let mut connection = ::redis::Client::open(url)?.get_connection_with_timeout(DEADLINE)?;
        connection.set_read_timeout(Some(DEADLINE))?;
        connection.set_write_timeout(Some(DEADLINE))?;
        let lanes: Option<u16> = cmd("HGET").arg(keys.meta()).arg("lanes").query(&mut connection)?;
        let lanes = lanes.and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN);
        Ok(Self { connection, keys, lanes })
    }

    /// Whether a node has ever been here.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn is_in_use(&mut self) -> Result<bool> {
        Ok(cmd("EXISTS").arg(self.keys.meta()).query(&mut self.connection)?)
    }

    /// How many lanes there are.
    #[must_use]
    pub const fn lanes(&self) -> NonZeroU16 {
        self.lanes
    }

    /// The names of all keys.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The stream of a lane.
    #[must_use]
    pub fn stream(&self, lane: u16) -> String {
        self.keys.queue(lane)
    }

    /// Calls commands in one write.
    ///
    /// # Errors
    /// Redis refuses one, or does not answer.
    pub fn pipe<T: FromRedisValue + Send>(&mut self, pipe: &Pipeline) -> Result<T> {
        Ok(pipe.query(&mut self.connection)?)
    }

    /// Asks Redis about itself.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn info(&mut self, section: &str) -> Result<String> {
        Ok(cmd("INFO").arg(section).query(&mut self.connection)?)
    }

    /// Waits until everything was handed out and settled. Returns how often it asked, two commands for each lane.
    ///
    /// # Errors
    /// It is not, in time.
    pub fn settled(&mut self, every: Duration, within: Duration) -> Result<u64> {
        let deadline = clock::deadline(within);
        let mut asked = 1;
        loop {
            let unsettled = self.unsettled()?;
            if unsettled == (Unsettled { pending: 0, is_read: true }) {
                return Ok(asked);
            }
            if clock::now() > deadline {
                return Err(format!("not settled in time: {unsettled:?}").into());
            }
            clock::sleep(every);
            asked += 1;
        }
    }

    /// Entries that wait for another time, and dead letters: none in a run where all goes well.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn set_aside(&mut self) -> Result<u64> {
        let mut count = pipe();
        for lane in 0..self.lanes.get() {
            count.cmd("ZCARD").arg(self.keys.later(lane)).cmd("XLEN").arg(self.keys.dead(lane));
        }
        Ok(self.pipe::<Vec<u64>>(&count)?.into_iter().sum())
    }

    fn unsettled(&mut self) -> Result<Unsettled> {
        let mut all = Unsettled { pending: 0, is_read: true };
        for lane in 0..self.lanes.get() {
            let stream = self.stream(lane);
            let mut ask = pipe();
            ask.cmd("XINFO").arg("GROUPS").arg(&stream).cmd("XINFO").arg("STREAM").arg(&stream);
            let (groups, stream): (Vec<Vec<Value>>, Vec<Value>) = self.pipe(&ask)?;
            let group = groups.first().ok_or("the lane has no consumer group")?;
            let pending = field(group, "pending").and_then(|value| u64::from_redis_value_ref(value).ok());
            // The lag is not always known to Redis, the last entry is.
            let last = |fields, name| field(fields, name).and_then(|value| String::from_redis_value_ref(value).ok());
            all.pending += pending.ok_or("no number of pending entries")?;
            all.is_read &= last(group, "last-delivered-id") == last(&stream, "last-generated-id");
        }
        Ok(all)
    }
}

fn field<'a>(fields: &'a [Value], name: &str) -> Option<&'a Value> {
    let named = |pair: &&[Value]| matches!(pair, [Value::BulkString(key), _] if key == name.as_bytes());
    fields.chunks(2).find(named).and_then(|pair| pair.get(1))
}
