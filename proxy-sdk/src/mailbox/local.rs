//! The mailboxes of a service that is one process: in memory, and in its journal.
//!
//! Owns one mailbox per user ([`state`](super::state)), spread over shards with a lock each, and the last values for newcomers.
//! Answers when the journal has kept what changed. All of it together has a bound, at which nothing is appended.

mod restore;
mod rows;
mod shards;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use gim_proto::{Fence, MessageId, Tgid, Uid, crc32};

use self::shards::Shard;
use self::values::Values;
use super::{
    Ack, Acked, Appended, Appends, Arrival, MOST_SWEPT, MailboxBounds, MailboxError, MailboxErrorKind, Mailboxes,
    Opened, Overdue, Page, PageBounds, Position, Post, Scope, Value, Wanted,
};
use crate::delivery::{LaneOrigin, Message};
use crate::journal::{Journal, JournalError, Kept};

pub use self::restore::MailRows;

const SHARDS: usize = 64;
/// Shards swept in one call, as long as there is something overdue in them: each is looked through whole.
const SWEPT_AT_ONCE: usize = 8;
/// How often in a row one shard that is full of what is overdue is gone on with before others have their turn.
const MOST_STAYS: usize = 8;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Tells whether a user is in one of these groups.
pub type IsMember = Arc<dyn Fn(&Uid, &[Tgid]) -> bool + Send + Sync>;

/// See the module.
pub struct LocalMailboxes {
    bounds: MailboxBounds,
    /// Bytes of all mailboxes together, each message with [`shards::BESIDE`] more.
    total: u64,
    is_member: IsMember,
    /// None: everything is lost with the process.
    journal: Option<Arc<dyn Journal>>,
    shards: Box<[Mutex<Shard>]>,
    values: Mutex<Values>,
    bytes: AtomicU64,
    refused: AtomicU64,
    swept: AtomicUsize,
    /// The last sweep has named something.
    has_named: AtomicBool,
    /// How often in a row a sweep has stayed where it was.
    stayed: AtomicUsize,
}

/// What the mailboxes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailboxFigures {
    /// Bytes of messages not acknowledged.
    pub bytes: u64,
    /// Messages not appended because of the bound of all together.
    pub refused: u64,
}

impl LocalMailboxes {
    /// Makes mailboxes that are lost with the process.
    #[must_use]
    pub fn new(bounds: MailboxBounds, is_member: IsMember) -> Self {
        Self {
            bounds,
            total: 1 << 30,
            is_member,
            journal: None,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            values: Mutex::default(),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            swept: AtomicUsize::new(0),
            has_named: AtomicBool::new(false),
            stayed: AtomicUsize::new(0),
        }
    }

    /// Bounds the bytes of all mailboxes together.
    #[must_use]
    pub fn within(self, total: u64) -> Self {
        Self { total, ..self }
    }

    /// Tells what the mailboxes hold.
    #[must_use]
    pub fn figures(&self) -> MailboxFigures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MailboxFigures { bytes: of(&self.bytes), refused: of(&self.refused) }
    }

    fn append_one(
        &self,
        lane: &LaneOrigin,
        post: &Post,
        uid: &Uid,
        now_us: u64,
        appends: &mut Appends,
    ) -> Result<Appended, MailboxError> {
        let mut shard = self.of(uid);
        if !shard.remembers(uid, lane, post) {
            // Not under the lock: who tells of members has locks of its own.
            drop(shard);
            if !post.of.is_empty() && !(self.is_member)(uid, &post.of) {
                return Ok(Appended::NotMember);
            }
            if self.bytes.load(Ordering::Relaxed) >= self.total {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(MailboxErrorKind::Unavailable.into());
            }
            shard = self.of(uid);
        }
        let at = self.change(&mut shard, uid, now_us, |mailbox| {
            mailbox.append(lane, post.entry, &post.message, post.kind, now_us / 1_000, &self.bounds)
        });
        appends.untold += shard.take_trimmed(uid, lane, post, &mut appends.trimmed);
        Ok(Appended::Stored(at))
    }

    /// Changes a mailbox, made if missing, and notes what the journal has to be told of it.
    fn change<T>(
        &self,
        shard: &mut Shard,
        uid: &Uid,
        now_us: u64,
        change: impl FnOnce(&mut super::state::Mailbox) -> T,
    ) -> T {
        let (answer, grown) = shard.change(uid, now_us, self.journal.is_some(), change);
        if grown >= 0 {
            self.bytes.fetch_add(grown.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(grown.unsigned_abs(), Ordering::Relaxed);
        }
        answer
    }

    /// Submits what was noted in these shards. Completes when it, and everything before it, is kept.
    fn submit(&self, shards: impl IntoIterator<Item = usize>) -> Result<Option<Kept>, JournalError> {
        let Some(journal) = &self.journal else { return Ok(None) };
        let mut last = None;
        for shard in shards.into_iter().filter_map(|at| self.shards.get(at)) {
            last = Some(lock(shard).submit(&**journal)?);
        }
        Ok(last)
    }

    async fn keep_shards(&self, shards: impl IntoIterator<Item = usize> + Send) -> Result<(), MailboxError> {
        until_kept(self.submit(shards)).await
    }

    fn of(&self, uid: &Uid) -> MutexGuard<'_, Shard> {
        #[expect(
            clippy::indexing_slicing,
            reason = "the index is a remainder by the length, and shards are never empty"
        )]
        lock(&self.shards[self.at(uid)])
    }

    fn at(&self, uid: &Uid) -> usize {
        crc32(uid.as_str().as_bytes()) as usize % self.shards.len()
    }

    fn sweep_shard(&self, at: usize, now_ms: u64, most: usize) -> Vec<Overdue> {
        let Some(shard) = self.shards.get(at) else { return Vec::new() };
        let mut shard = lock(shard);
        let idle_ms = millis(self.bounds.age) + DAY_MS;
        for uid in shard.worth_sweeping(now_ms, &self.bounds) {
            self.change(&mut shard, &uid, now_ms * 1_000, |mailbox| mailbox.expire(now_ms, &self.bounds));
        }
        shard.forget_idle(now_ms.saturating_sub(idle_ms), self.journal.is_some());
        shard.overdue(now_ms, &self.bounds, most)
    }
}

#[async_trait]
impl Mailboxes for LocalMailboxes {
    async fn append(&self, lane: &LaneOrigin, posts: &[Post]) -> Result<Appends, MailboxError> {
        let now_us = now_us();
        let mut appends = Appends::default();
        let mut one = |post: &Post, uid: &Uid| self.append_one(lane, post, uid, now_us, &mut appends);
        let of_post = |post: &Post| post.to.iter().map(|uid| one(post, uid)).collect::<Result<Vec<_>, _>>();
        let answers: Result<Vec<_>, _> = posts.iter().map(of_post).collect();
        // Also after a refusal: what was appended is there. Also of repeats: the first may not be kept yet.
        let touched: BTreeSet<usize> = posts.iter().flat_map(|post| &post.to).map(|uid| self.at(uid)).collect();
        self.keep_shards(touched).await?;
        Ok(Appends { answers: answers?, ..appends })
    }

    async fn open(&self, uid: &Uid, fence: Fence, arrival: Arrival) -> Result<Opened, MailboxError> {
        let now_us = now_us();
        let opened = self.change(&mut self.of(uid), uid, now_us, |mailbox| mailbox.open(fence, arrival, now_us));
        // Nobody waits for it: what a crash takes with it, an epoch that nothing was stored in, is never missed.
        drop(self.submit([self.at(uid)]).map_err(unavailable)?);
        Ok(opened)
    }

    async fn read(&self, uid: &Uid, after: Position, bounds: PageBounds) -> Result<Page, MailboxError> {
        let page =
            self.of(uid).get(uid).map(|mailbox| mailbox.read(after.offset, bounds, now_us() / 1_000, &self.bounds));
        Ok(page.unwrap_or_default())
    }

    async fn ack(&self, acks: &[Ack]) -> Result<Vec<Acked>, MailboxError> {
        let now_us = now_us();
        let one = |ack: &Ack| {
            let mut shard = self.of(&ack.uid);
            let known = shard.get(&ack.uid).is_some();
            if known {
                self.change(&mut shard, &ack.uid, now_us, |held| held.ack(ack.fence, ack.upto))
            } else {
                Acked::Unknown
            }
        };
        let answers = acks.iter().map(one).collect();
        let touched: BTreeSet<usize> = acks.iter().map(|ack| self.at(&ack.uid)).collect();
        self.keep_shards(touched).await?;
        Ok(answers)
    }

    async fn wanted(&self, uid: &Uid, upto: Position) -> Result<Vec<Wanted>, MailboxError> {
        let wanted = self.of(uid).get(uid).map(|mailbox| mailbox.wanted(upto, now_us() / 1_000, &self.bounds));
        Ok(wanted.unwrap_or_default())
    }

    async fn cancel(&self, uid: &Uid, id: &MessageId) -> Result<bool, MailboxError> {
        let cancelled = self.of(uid).cancel(uid, id, self.journal.is_some());
        self.bytes.fetch_sub(cancelled.unwrap_or(0) as u64, Ordering::Relaxed);
        self.keep_shards([self.at(uid)]).await?;
        Ok(cancelled.is_some())
    }

    async fn keep(&self, values: &[Value]) -> Result<(), MailboxError> {
        let submitted = lock(&self.values).keep(values, self.bounds.latest_keys, self.journal.as_deref());
        until_kept(submitted).await
    }

    async fn kept(&self, scope: &Scope) -> Result<Vec<Arc<Message>>, MailboxError> {
        Ok(lock(&self.values).of(scope, now_us() / 1_000))
    }

    async fn sweep(&self, told: &[Overdue]) -> Result<Vec<Overdue>, MailboxError> {
        let now_ms = now_us() / 1_000;
        for over in told {
            let gone = self.of(&over.uid).forget_told(over, self.journal.is_some());
            self.bytes.fetch_sub(gone as u64, Ordering::Relaxed);
        }
        let mut touched: BTreeSet<usize> = told.iter().map(|over| self.at(&over.uid)).collect();
        // While nothing can be told, others have their turn.
        let may_stay = !told.is_empty() || !self.has_named.load(Ordering::Relaxed);
        let mut overdue = Vec::new();
        let mut values = Ok(());
        for _ in 0..SWEPT_AT_ONCE {
            let turn = self.swept.load(Ordering::Relaxed) % (SHARDS + 1);
            if turn == SHARDS {
                let before_ms = now_ms.saturating_sub(millis(self.bounds.age) + DAY_MS);
                let submitted = lock(&self.values).sweep(now_ms, before_ms, self.journal.as_deref());
                values = until_kept(submitted).await;
            } else {
                overdue.extend(self.sweep_shard(turn, now_ms, MOST_SWEPT - overdue.len()));
                touched.insert(turn);
            }
            let is_full = overdue.len() >= MOST_SWEPT;
            // The rest of a shard follows when this is told, for as long as others can wait for their turn.
            let stays = is_full && may_stay && self.stayed.fetch_add(1, Ordering::Relaxed) < MOST_STAYS;
            if !stays {
                self.stayed.store(0, Ordering::Relaxed);
                self.swept.fetch_add(1, Ordering::Relaxed);
            }
            if is_full || overdue.is_empty() {
                break;
            }
        }
        self.has_named.store(!overdue.is_empty(), Ordering::Relaxed);
        self.keep_shards(touched).await?;
        values?;
        Ok(overdue)
    }
}

async fn until_kept(submitted: Result<Option<Kept>, JournalError>) -> Result<(), MailboxError> {
    let kept = submitted.map_err(unavailable)?;
    match kept {
        None => Ok(()),
        Some(kept) => kept.await.map_err(unavailable),
    }
}

fn unavailable(error: JournalError) -> MailboxError {
    MailboxError { kind: MailboxErrorKind::Unavailable, source: Some(Box::new(error)) }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 2)
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
