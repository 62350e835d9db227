//! The mailboxes of a service that is one process: in memory, and in its journal.
//!
//! Owns one [`Mailbox`] per user, spread over shards with a lock each, and the last values for newcomers. Answers when the
//! journal has kept what changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use gim_proto::{EntryId, Fence, MessageId, Tgid, Uid, crc32};

use super::state::Mailbox;
use super::{
    Ack, Acked, Appended, Arrival, MailboxBounds, MailboxError, Mailboxes, Opened, Page, PageBounds, Position, Post,
    Scope, Value,
};
use crate::delivery::{LaneOrigin, Message};
use crate::journal::{Journal, KeepNothing};

const SHARDS: usize = 64;

/// Tells whether a user is in one of these groups.
pub type IsMember = Arc<dyn Fn(&Uid, &[Tgid]) -> bool + Send + Sync>;

/// See the module.
pub struct LocalMailboxes {
    bounds: MailboxBounds,
    is_member: IsMember,
    // What is kept comes with the embedded store.
    _journal: Arc<dyn Journal>,
    shards: Box<[Mutex<HashMap<Uid, Mailbox>>]>,
    values: Mutex<HashMap<Scope, Vec<(EntryId, Arc<Message>)>>>,
}

impl LocalMailboxes {
    /// Makes mailboxes that are lost with the process.
    #[must_use]
    pub fn new(bounds: MailboxBounds, is_member: IsMember) -> Self {
        Self {
            bounds,
            is_member,
            _journal: Arc::new(KeepNothing),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            values: Mutex::default(),
        }
    }

    fn of(&self, uid: &Uid) -> MutexGuard<'_, HashMap<Uid, Mailbox>> {
        let at = crc32(uid.as_str().as_bytes()) as usize % self.shards.len();
        #[expect(
            clippy::indexing_slicing,
            reason = "the index is a remainder by the length, and shards are never empty"
        )]
        lock(&self.shards[at])
    }
}

#[async_trait]
impl Mailboxes for LocalMailboxes {
    async fn append(&self, lane: &LaneOrigin, posts: &[Post]) -> Result<Vec<Vec<Appended>>, MailboxError> {
        let now_us = now_us();
        let one = |post: &Post, uid: &Uid| {
            if !post.of.is_empty() && !(self.is_member)(uid, &post.of) {
                return Appended::NotMember;
            }
            let mut shard = self.of(uid);
            let mailbox = shard.entry(uid.clone()).or_insert_with(|| Mailbox::new(now_us));
            let at = mailbox.append(lane, post.entry, &post.message, post.kind, now_us / 1_000, &self.bounds);
            Appended::Stored(at)
        };
        Ok(posts.iter().map(|post| post.to.iter().map(|uid| one(post, uid)).collect()).collect())
    }

    async fn open(&self, uid: &Uid, fence: Fence, arrival: Arrival) -> Result<Opened, MailboxError> {
        let now_us = now_us();
        Ok(self.of(uid).entry(uid.clone()).or_insert_with(|| Mailbox::new(now_us)).open(fence, arrival, now_us))
    }

    async fn read(&self, uid: &Uid, after: Position, bounds: PageBounds) -> Result<Page, MailboxError> {
        let shard = self.of(uid);
        let page = shard.get(uid).map(|mailbox| mailbox.read(after.offset, bounds, now_us() / 1_000, &self.bounds));
        Ok(page.unwrap_or_default())
    }

    async fn ack(&self, acks: &[Ack]) -> Result<Vec<Acked>, MailboxError> {
        let one = |ack: &Ack| {
            self.of(&ack.uid).get_mut(&ack.uid).map_or(Acked::Unknown, |held| held.ack(ack.fence, ack.upto))
        };
        Ok(acks.iter().map(one).collect())
    }

    async fn cancel(&self, uid: &Uid, id: &MessageId) -> Result<bool, MailboxError> {
        Ok(self.of(uid).get_mut(uid).and_then(|mailbox| mailbox.cancel(id)).is_some())
    }

    async fn keep(&self, values: &[Value]) -> Result<(), MailboxError> {
        let mut kept = lock(&self.values);
        for value in values {
            for scope in &value.scopes {
                let of_scope = kept.entry(scope.clone()).or_default();
                match of_scope.iter().position(|(_, message)| message.key == value.message.key) {
                    Some(at) if of_scope.get(at).is_some_and(|(entry, _)| *entry > value.entry) => continue,
                    Some(at) => drop(of_scope.remove(at)),
                    None if of_scope.len() >= self.bounds.latest_keys => drop(of_scope.remove(0)),
                    None => {}
                }
                of_scope.push((value.entry, Arc::clone(&value.message)));
            }
        }
        Ok(())
    }

    async fn kept(&self, scope: &Scope) -> Result<Vec<Arc<Message>>, MailboxError> {
        let now_ms = now_us() / 1_000;
        let kept = lock(&self.values);
        let of_scope = kept.get(scope).into_iter().flatten().map(|(_, message)| message);
        Ok(of_scope.filter(|message| message.expires_ms.is_none_or(|at| at > now_ms)).cloned().collect())
    }

    async fn sweep(&self) -> Result<(), MailboxError> {
        Ok(())
    }
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
