//! The mailboxes that processes share through Redis.
//!
//! Owns the [`Mailboxes`] over streams and hashes in the slot of each user's bucket (docs/wire.md, section 8: the formats);
//! the rules are in the scripts beside this file, and are those of [`state`](super::state). What is in Redis for longer than
//! it is kept goes by itself. Every call of Redis has the deadline of the connection's options; one that was given up takes
//! no effect afterwards. While Redis is down calls fail at once, and go on when it is back.

mod append;
mod expire;
mod fault;
mod form;
mod keep;
mod script;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ::fred::types::Value as Answer;
use async_trait::async_trait;
use futures_util::future::try_join_all;
use gim_proto::{Fence, Keys, MessageId, Uid};

pub(crate) use self::form::numbers;
use self::form::page;
pub(crate) use self::keep::read as kept;
use self::script::{ACK, CANCEL, OPEN, READ, WANTED};
use super::{
    Ack, Acked, Appends, Arrival, MOST_WANTED, MailboxBounds, MailboxError, MailboxErrorKind, MailboxStats, Mailboxes,
    Opened, Overdue, Page, PageBounds, Position, Post, Scope, Value, Wanted,
};
use crate::delivery::{LaneOrigin, Message};
use crate::directory::redis::RedisDirectory;
use crate::scripts::{Calls, Connection};
use crate::store::RedisOptions;

/// Acknowledgements on their way at the same time.
const ACKS_AT_ONCE: usize = 256;

/// See the module.
pub struct RedisMailboxes {
    keys: Keys,
    bounds: MailboxBounds,
    /// How long a mailbox is kept that nobody touches, in ms.
    kept_ms: String,
    calls: Calls<MailboxError>,
    /// None: it is the directory's.
    connection: Option<Connection>,
    trimmed: AtomicU64,
    /// Buckets looked through for what is overdue.
    swept: AtomicUsize,
}

impl RedisMailboxes {
    /// Connects. From then on the connection is kept up, however often it breaks.
    ///
    /// # Errors
    /// `Unavailable`: Redis cannot be reached within the connection's deadline, or does not let us in.
    pub async fn connect(options: &RedisOptions, keys: Keys, bounds: MailboxBounds) -> Result<Arc<Self>, MailboxError> {
        let calls = Calls::new(options)?;
        let connection = Connection::open(&calls).await?;
        calls.set_clock().await?;
        Ok(Self::over(calls, keys, bounds, Some(connection)))
    }

    /// Goes over the connection of the directory, which ends it.
    #[must_use]
    pub fn beside(directory: &RedisDirectory, bounds: MailboxBounds) -> Arc<Self> {
        let (calls, keys) = directory.beside();
        Self::over(calls, keys, bounds, None)
    }

    fn over(
        calls: Calls<MailboxError>,
        keys: Keys,
        bounds: MailboxBounds,
        connection: Option<Connection>,
    ) -> Arc<Self> {
        let kept_ms = bounds.kept().as_millis().to_string();
        Arc::new(Self {
            keys,
            bounds,
            kept_ms,
            calls,
            connection,
            trimmed: AtomicU64::new(0),
            swept: AtomicUsize::new(anywhere()),
        })
    }

    /// Ends the connection. Calls fail from then on.
    pub async fn close(&self) {
        if let Some(connection) = &self.connection {
            connection.close().await;
        }
    }

    async fn ack_one(&self, ack: &Ack) -> Result<Acked, MailboxError> {
        let Ack { uid, fence, upto } = ack;
        let keys = self.keys.user(uid);
        let (stream, state) = (keys.mailbox(), keys.mailbox_state());
        let (fence, epoch, offset) = (fence.to_string(), upto.epoch.to_string(), upto.offset.to_string());
        let args = [uid.as_str(), &fence, &epoch, &offset];
        let keys = [keys.bucket(), &stream, &state];
        let acked: String = self.calls.script(&ACK, &keys, &args, self.calls.give_up()).await?;
        match acked.as_str() {
            "done" => Ok(Acked::Done),
            "superseded" => Ok(Acked::Superseded),
            "unknown" => Ok(Acked::Unknown),
            _ => Err(MailboxErrorKind::Corrupt.into()),
        }
    }
}

/// Where a round begins: nodes that start together are not at the same users all the time.
fn anywhere() -> usize {
    usize::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0)
}

#[async_trait]
impl Mailboxes for RedisMailboxes {
    async fn append(&self, lane: &LaneOrigin, posts: &[Post]) -> Result<Appends, MailboxError> {
        self.append_all(lane, posts).await
    }

    async fn open(&self, uid: &Uid, fence: Fence, arrival: Arrival) -> Result<Opened, MailboxError> {
        let (word, seen) = match arrival {
            Arrival::Anew => ("anew", Position::default()),
            Arrival::Resumes(seen) => ("resumes", seen),
            Arrival::Survives(seen) => ("survives", seen),
        };
        let [stream, ids, state] = self.keys_of(uid);
        let keys = [self.keys.user_bucket(uid), stream, ids, state];
        let (fence, epoch, offset) = (fence.to_string(), seen.epoch.to_string(), seen.offset.to_string());
        let args = [uid.as_str(), &fence, &self.kept_ms, word, &epoch, &offset];
        let answer: Answer =
            self.calls.script(&OPEN, &keys.each_ref().map(String::as_str), &args, self.calls.give_up()).await?;
        let [epoch, last, acked, is_reset] = numbers(answer).ok_or(MailboxErrorKind::Corrupt)?;
        Ok(Opened { epoch, last, acked, is_reset: is_reset == 1 })
    }

    async fn read(&self, uid: &Uid, after: Position, bounds: PageBounds) -> Result<Page, MailboxError> {
        let keys = self.keys.user(uid);
        let (stream, state) = (keys.mailbox(), keys.mailbox_state());
        let args = [after.offset.to_string(), bounds.messages.to_string(), bounds.bytes.to_string(), self.age_ms()];
        let args = args.each_ref().map(String::as_str);
        let answer: Answer = self.calls.script(&READ, &[&stream, &state], &args, self.calls.give_up()).await?;
        page(answer, after.offset).ok_or(MailboxErrorKind::Corrupt.into())
    }

    async fn ack(&self, acks: &[Ack]) -> Result<Vec<Acked>, MailboxError> {
        let mut acked = Vec::with_capacity(acks.len());
        for some in acks.chunks(ACKS_AT_ONCE) {
            acked.extend(try_join_all(some.iter().map(|ack| self.ack_one(ack))).await?);
        }
        Ok(acked)
    }

    async fn wanted(&self, uid: &Uid, upto: Position) -> Result<Vec<Wanted>, MailboxError> {
        let keys = self.keys.user(uid);
        let (stream, state) = (keys.mailbox(), keys.mailbox_state());
        let args = [upto.epoch.to_string(), upto.offset.to_string(), self.age_ms(), MOST_WANTED.to_string()];
        let answer: Answer = self.calls.script(&WANTED, &[&stream, &state], &args, self.calls.give_up()).await?;
        form::wanted(answer).ok_or(MailboxErrorKind::Corrupt.into())
    }

    async fn cancel(&self, uid: &Uid, id: &MessageId) -> Result<bool, MailboxError> {
        let keys = self.keys.user(uid);
        let (stream, state) = (keys.mailbox(), keys.mailbox_state());
        let found: i64 = self.calls.script(&CANCEL, &[&stream, &state], &[id.as_str()], self.calls.give_up()).await?;
        Ok(found == 1)
    }

    async fn keep(&self, values: &[Value]) -> Result<(), MailboxError> {
        self.keep_all(values).await
    }

    async fn kept(&self, scope: &Scope) -> Result<Vec<Arc<Message>>, MailboxError> {
        self.kept_for(scope).await
    }

    async fn sweep(&self, told: &[Overdue]) -> Result<Vec<Overdue>, MailboxError> {
        self.sweep_some(told).await
    }

    fn stats(&self) -> MailboxStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MailboxStats { trimmed: read(&self.trimmed), refused: read(&self.calls.refused), crowded: self.calls.crowded() }
    }
}

impl RedisMailboxes {
    /// How long a letter is kept.
    fn age_ms(&self) -> String {
        self.bounds.age.as_millis().to_string()
    }

    /// Stream, ids, state.
    fn keys_of(&self, uid: &Uid) -> [String; 3] {
        let keys = self.keys.user(uid);
        [keys.mailbox(), keys.mailbox_ids(), keys.mailbox_state()]
    }
}
