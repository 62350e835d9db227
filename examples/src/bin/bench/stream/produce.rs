//! Who puts entries on the queue: the SDK's producer, or plain `XADD`, both a thousand at a time, one batch after the other.

use ::redis::{Value, pipe};
use gim_proxy_sdk::Fields;
use gim_proxy_sdk::producer::{self, ProducerOptions};

use crate::args::Settings;
use crate::redis::Redis;
use crate::{Result, clock, load, message};

/// Entries in one call, or in one write.
const BATCH: u64 = 1_000;
/// Users that entries are for when none of them is connected.
const AWAY: u64 = 1_000;

/// A trace that is sampled.
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Producer {
    Xadd,
    Sdk,
    /// With an id in each entry, so that a repeat has no effect.
    SdkWithIds,
    /// The outcome of each entry is written to the receipts, and its steps to its journey.
    XaddReceipts,
    /// The steps of each entry are written to its journey.
    XaddTraced,
}

/// What goes into the entries.
struct Course {
    /// Connected users; none: all of them are away.
    users: Option<u64>,
    payload: usize,
    total: u64,
}

impl Producer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Xadd => "XADD",
            Self::Sdk => "SDK",
            Self::SdkWithIds => "SDK, ids",
            Self::XaddReceipts => "XADD, receipts",
            Self::XaddTraced => "XADD, traced",
        }
    }

    /// Puts all entries on the queue. Returns when the last was accepted.
    pub(super) fn run(self, redis: &mut Redis, users: Option<u64>, settings: &Settings) -> Result<u64> {
        let course = Course { users, payload: settings.payload, total: settings.entries };
        match self {
            Self::Xadd => course.by_xadd(redis, None)?,
            Self::XaddReceipts => course.by_xadd(redis, Some(("receipt", "1")))?,
            Self::XaddTraced => course.by_xadd(redis, Some(("traceparent", SAMPLED)))?,
            Self::Sdk | Self::SdkWithIds => redis.runtime().block_on(course.by_sdk(redis, self == Self::SdkWithIds))?,
        }
        Ok(clock::now())
    }
}

impl Course {
    fn by_xadd(&self, redis: &mut Redis, further: Option<(&str, &str)>) -> Result<()> {
        let stream = redis.stream();
        for batch in self.batches() {
            let mut entries = pipe();
            for nth in batch {
                let add = entries.cmd("XADD").arg(&stream).arg("*");
                add.arg("to_uid").arg(self.uid(nth)).arg("data").arg(self.data(nth));
                if let Some((name, value)) = further {
                    add.arg(name).arg(value);
                }
            }
            redis.pipe::<Vec<Value>>(&entries)?;
        }
        Ok(())
    }

    async fn by_sdk(&self, redis: &Redis, with_ids: bool) -> Result<()> {
        let producer = producer::Producer::connect(redis.options(), ProducerOptions::default()).await?;
        for batch in self.batches() {
            producer.enqueue(batch.map(|nth| self.entry(nth, with_ids)).collect()).await?;
        }
        Ok(())
    }

    fn batches(&self) -> impl Iterator<Item = std::ops::Range<u64>> {
        let total = self.total;
        (0..total.div_ceil(BATCH)).map(move |batch| batch * BATCH..total.min((batch + 1) * BATCH))
    }

    fn entry(&self, nth: u64, with_id: bool) -> Fields {
        let mut fields = Fields::new();
        fields.push("to_uid", self.uid(nth));
        if with_id {
            fields.push("id", format!("bench-{nth}"));
        }
        fields.push("data", self.data(nth));
        fields
    }

    /// Users take turns.
    fn uid(&self, nth: u64) -> String {
        match self.users {
            Some(users) => load::uid(usize::try_from(nth % users).unwrap_or(0)),
            None => format!("away-{:06}", nth % AWAY),
        }
    }

    fn data(&self, nth: u64) -> String {
        let number = nth / self.users.unwrap_or(AWAY) + 1;
        message::payload(clock::now(), number, self.payload)
    }
}
