//! How messages get onto the queue: by HTTP, by plain `XADD`, or by the SDK.
//!
//! One call after the other: a call that takes its time makes the next one late, which counts as latency.

use gim_proto::{Fields, Target, lane_of};
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};

use super::Result;
use super::post::Poster;
use super::queue::Queue;
use crate::producer::{Producer, ProducerOptions};
use crate::store::RedisOptions;
use crate::{Tgid, Uid};

/// Messages of one call, at most.
const MOST: usize = 1_000;
/// Bytes of one call, at most: nodes take somewhat more.
const MOST_BYTES: usize = 3 << 20;
/// What a message takes beside its data, at most.
const AROUND: usize = 1_024;

/// One message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// For whom.
    pub to: To,
    /// A JSON object.
    pub data: String,
    /// Its id, if it has one of its own.
    pub id: Option<String>,
    /// What becomes of it when it cannot be written at once.
    pub class: Class,
}

/// For whom a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// One user.
    User(Uid),
    /// The members of a group.
    Group(Tgid),
}

/// What becomes of a message that cannot be written at once, and whether somebody is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Now or never.
    #[default]
    Live,
    /// It waits in the mailbox.
    Durable,
    /// The same, and its outcome is written to the receipts.
    DurableWithReceipt,
}

impl Class {
    /// The fields of an entry that say so.
    #[must_use]
    pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Live => &[],
            Self::Durable => &[("class", "durable")],
            Self::DurableWithReceipt => &[("class", "durable"), ("receipt", "1")],
        }
    }

    /// How it is called in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Durable => "durable",
            Self::DurableWithReceipt => "durable, receipts",
        }
    }
}

/// A way onto the queue.
pub enum Feed {
    /// Admin listeners of nodes, in turn.
    Http {
        /// One connection to each.
        posters: Vec<Poster>,
        /// Whose turn it is.
        turn: usize,
    },
    /// Streams in Redis.
    Xadd(Box<Queue>),
    /// The producer of this crate, and what runs it.
    Sdk(Box<Sdk>),
}

/// The producer of this crate, and what runs it: who measures is no asynchronous program.
pub struct Sdk {
    producer: Producer,
    runtime: Runtime,
}

impl Feed {
    /// By HTTP, to these in turn.
    #[must_use]
    pub const fn http(posters: Vec<Poster>) -> Self {
        Self::Http { posters, turn: 0 }
    }

    /// By plain `XADD`.
    ///
    /// # Errors
    /// Redis does not answer, or no node has ever been there.
    pub fn xadd(url: &str, prefix: &str) -> Result<Self> {
        let mut queue = Queue::connect(url, prefix)?;
        match queue.is_in_use()? {
            true => Ok(Self::Xadd(Box::new(queue))),
            false => Err(format!("no node has ever started at this Redis with the prefix {prefix}").into()),
        }
    }

    /// By the SDK's producer. Must not be called where a runtime runs.
    ///
    /// # Errors
    /// Redis does not answer, or no node has ever been there.
    pub fn sdk(redis: RedisOptions, prefix: &str) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let options = ProducerOptions { prefix: prefix.to_owned(), ..ProducerOptions::default() };
        let producer = runtime.block_on(Producer::connect(redis, options))?;
        Ok(Self::Sdk(Box::new(Sdk { producer, runtime })))
    }

    /// How it is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "HTTP",
            Self::Xadd(_) => "XADD",
            Self::Sdk(_) => "SDK",
        }
    }

    /// Puts messages on the queue, in order, a thousand at a time, and waits until they are accepted.
    ///
    /// # Errors
    /// One was not accepted.
    pub fn put(&mut self, entries: &[Entry]) -> Result<()> {
        let longest = entries.iter().map(|entry| entry.data.len()).max().unwrap_or(0);
        let at_once = MOST.min(MOST_BYTES / (longest + AROUND)).max(1);
        entries.chunks(at_once).try_for_each(|entries| match self {
            Self::Http { posters, turn } => {
                *turn += 1;
                let count = posters.len().max(1);
                let poster = posters.get_mut(*turn % count).ok_or("no address to post to")?;
                poster.enqueue(&Value::from_iter(entries.iter().map(Entry::to_json)))
            }
            Self::Xadd(queue) => add(queue, entries),
            Self::Sdk(sdk) => {
                let entries = entries.iter().map(Entry::to_fields).collect();
                sdk.runtime.block_on(sdk.producer.enqueue(entries))?;
                Ok(())
            }
        })
    }
}

fn add(queue: &mut Queue, entries: &[Entry]) -> Result<()> {
    let mut adds = ::redis::pipe();
    for entry in entries {
        let add = adds.cmd("XADD").arg(queue.stream(entry.lane(queue))).arg("*");
        for (name, value) in entry.pairs() {
            add.arg(name).arg(value);
        }
    }
    queue.pipe::<Vec<::redis::Value>>(&adds)?;
    Ok(())
}

impl Entry {
    /// One without an id, of class `live`.
    #[must_use]
    pub const fn new(to: To, data: String) -> Self {
        Self { to, data, id: None, class: Class::Live }
    }

    fn lane(&self, queue: &Queue) -> u16 {
        let target = match &self.to {
            To::User(uid) => Target::User(uid.clone()),
            To::Group(tgid) => Target::Group(tgid.clone()),
        };
        lane_of(&target, queue.lanes())
    }

    /// Its fields, as every entry has them.
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let to = match &self.to {
            To::User(uid) => ("to_uid", uid.as_str()),
            To::Group(tgid) => ("tgid", tgid.as_str()),
        };
        let id = self.id.as_deref().map(|id| ("id", id));
        [to, ("data", self.data.as_str())].into_iter().chain(id).chain(self.class.fields().iter().copied())
    }

    fn to_fields(&self) -> Fields {
        let mut fields = Fields::new();
        self.pairs().for_each(|(name, value)| fields.push(name, value.to_owned()));
        fields
    }

    fn to_json(&self) -> Value {
        let value = |name: &str, value: &str| match name {
            "data" => serde_json::from_str(value).unwrap_or_default(),
            _ => json!(value),
        };
        self.pairs().map(|(name, text)| (name.to_owned(), value(name, text))).collect::<serde_json::Map<_, _>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_same_fields_on_every_way() {
        let to = To::User(Uid::parse("a").unwrap());
        let entry = Entry {
            id: Some("m-1".to_owned()),
            class: Class::DurableWithReceipt,
            ..Entry::new(to, r#"{"x":1}"#.to_owned())
        };
        let expected = json!({ "to_uid": "a", "data": { "x": 1 }, "id": "m-1", "class": "durable", "receipt": "1" });
        assert_eq!(entry.to_json(), expected);
        let names: Vec<&str> = entry.pairs().map(|(name, _)| name).collect();
        assert_eq!(names, ["to_uid", "data", "id", "class", "receipt"]);
    }
}
