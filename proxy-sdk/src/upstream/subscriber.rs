//! A reader of the road up: one consumer of one consumer group.
//!
//! Owns what was read and not acknowledged, in so far as it comes again: after a restart, after a call that failed or was
//! dropped, after another consumer went away. Blocking reads have a connection of their own, and a read whose outcome is
//! not known costs it that connection. Never acknowledges what it handed out.

mod options;
mod raw;
mod reader;
mod tidy;

use gim_proto::{EntryId, Keys};
use tokio::time::Instant;

use self::raw::Raw;
use self::reader::Reader;
use self::tidy::Tidy;
use super::Command;
use crate::store::{Link, RedisOptions, Store, StoreError};
use crate::{Error, ErrorKind};

pub use self::options::SubscriberOptions;

/// A command as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its place in the stream: what is acknowledged.
    pub id: EntryId,
    /// How often it was handed out to this group, this time included.
    pub attempts: u32,
    /// What the client asked for.
    pub command: Command,
}

/// Reads commands of clients, each at least once, until it is acknowledged.
///
/// First come the consumer's own commands that it has not acknowledged, as after a restart under the same name; then new
/// ones, in order. What nobody in the group has acknowledged for [`SubscriberOptions::claim_after`], whoever had it, comes
/// to the consumer that looks next: work on a command must be shorter than that, or it is done twice. With one consumer
/// in a group the commands of a session come in order; those that come again come late.
///
/// Dropping a call of [`next`](Self::next) loses nothing: what was on its way comes with the next one. Dropping the
/// subscriber closes its connections.
pub struct Subscriber {
    link: Link,
    key: String,
    options: SubscriberOptions,
    reader: Reader,
    tidy: Tidy,
    /// The last new command that was handed out.
    handed: EntryId,
    /// Own commands above this one may be unseen. None: there are none.
    unseen: Option<EntryId>,
    claim: Claim,
}

/// Where the search for what others left behind stands.
struct Claim {
    cursor: String,
    next: Instant,
}

impl Subscriber {
    /// Reaches Redis and makes the consumer group if it is not there. A new group gets everything that is still kept.
    ///
    /// # Errors
    /// `Invalid`: an option is none. `Unavailable`, `Timeout`: Redis cannot be reached; try again.
    pub async fn connect(redis: RedisOptions, options: SubscriberOptions) -> Result<Self, Error> {
        options.check()?;
        let keys =
            Keys::new(&options.prefix).map_err(|error| Error::with_source(ErrorKind::Invalid, "the prefix", error))?;
        let store = Store::new(redis);
        let key = keys.upstream();
        let link = store.link(key.as_str());
        let subscriber = Self {
            reader: Reader::new(&store, &key, &options),
            tidy: Tidy::default(),
            handed: EntryId::default(),
            unseen: Some(EntryId::default()),
            claim: Claim { cursor: raw::FIRST.to_owned(), next: Instant::now() },
            link,
            key,
            options,
        };
        subscriber.make_group().await?;
        Ok(subscriber)
    }

    /// Reads commands, at most [`SubscriberOptions::batch`]. None come if there were none for
    /// [`SubscriberOptions::block`].
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`: Redis cannot be reached. Nothing is lost; call again, after a while.
    pub async fn next(&mut self) -> Result<Vec<Delivery>, Error> {
        self.tidy.trim(&self.link, &self.key).await;
        match self.read().await {
            Err(error) if error.is("NOGROUP") => {
                // Redis has lost it, and with it what this consumer had not acknowledged.
                self.make_group().await?;
                self.handed = EntryId::default();
                self.unseen = None;
                Ok(self.read().await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Acknowledges commands. They never come again to this group, and are deleted once no group wants them any more.
    ///
    /// # Errors
    /// Redis cannot be reached. Acknowledging again is safe.
    pub async fn ack(&mut self, ids: &[EntryId]) -> Result<(), Error> {
        raw::ack(&self.link, &self.key, &self.options.group, ids).await?;
        self.tidy.note();
        self.tidy.trim(&self.link, &self.key).await;
        Ok(())
    }

    /// Ends reading. What is not acknowledged comes to the next consumer of this name, or to another one in time.
    pub async fn close(mut self) {
        self.tidy.hurry();
        self.tidy.trim(&self.link, &self.key).await;
    }

    // What was seen is noted only when it is handed out: whoever drops the call sees it again.
    async fn read(&mut self) -> Result<Vec<Delivery>, StoreError> {
        if let Some(after) = self.unseen {
            let raw = self.reader.own(after).await?;
            let last = raw.last().map(|raw| raw.id);
            let deliveries = self.again(raw).await?;
            self.handed = self.handed.max(last.unwrap_or_default());
            self.unseen = last;
            if last.is_some() {
                return Ok(deliveries);
            }
        }
        if self.claim.next <= Instant::now() {
            let deliveries = self.claim().await?;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
        self.unseen = Some(self.handed);
        let raw = self.reader.new_ones().await?;
        let last = raw.last().map(|raw| raw.id);
        let deliveries = self.hand_out(raw, |_| 1).await?;
        self.handed = last.unwrap_or(self.handed);
        self.unseen = None;
        Ok(deliveries)
    }

    // Of an answer that is lost the commands are this consumer's, idle, and so found again in time.
    async fn claim(&mut self) -> Result<Vec<Delivery>, StoreError> {
        let (cursor, raw) = raw::claim(&self.link, &self.key, &self.options, &self.claim.cursor).await?;
        if cursor == raw::FIRST {
            self.claim.next = Instant::now() + self.options.claim_after / 2;
        }
        self.claim.cursor = cursor;
        self.again(raw).await
    }

    async fn again(&self, raw: Vec<Raw>) -> Result<Vec<Delivery>, StoreError> {
        if raw.is_empty() {
            return Ok(Vec::new());
        }
        let attempts = raw::attempts(&self.link, &self.key, &self.options.group, &raw).await?;
        self.hand_out(raw, |at| attempts.get(at).copied().unwrap_or(2)).await
    }

    /// Makes deliveries. What is no command, or is gone, is acknowledged: it would come again for ever.
    async fn hand_out(&self, raw: Vec<Raw>, attempts: impl Fn(usize) -> u32) -> Result<Vec<Delivery>, StoreError> {
        let mut deliveries = Vec::with_capacity(raw.len());
        let mut useless = Vec::new();
        for (at, raw) in raw.into_iter().enumerate() {
            match raw.fields.as_ref().and_then(Command::read) {
                Some(command) => deliveries.push(Delivery { id: raw.id, attempts: attempts(at), command }),
                None => useless.push(raw.id),
            }
        }
        if !useless.is_empty() {
            tracing::warn!(key = self.key, entries = useless.len(), "entries that are no commands were passed over");
            raw::ack(&self.link, &self.key, &self.options.group, &useless).await?;
        }
        Ok(deliveries)
    }

    async fn make_group(&self) -> Result<(), StoreError> {
        raw::make_group(&self.link, &self.key, &self.options.group).await
    }
}
