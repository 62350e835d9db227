//! Who came and went, on its way to `gim:presence`.
//!
//! Owns that way. Scripts note news in a list of the user's bucket, in the step that makes them so; this side copies them
//! to the stream and only then removes them, in the background, many at a time. What a process leaves behind that dies in
//! between is moved by the sweep of any other. So news may be there twice, or late, and never go missing: fence and time
//! tell which are newer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::fred::types::Value as Answer;
use gim_proto::keys::BUCKETS;
use gim_proto::{Keys, Uid, bucket_of};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::text;
use crate::directory::{DirectoryError, NewsFigures};
use crate::scripts::{Calls, Command};

/// News of one bucket moved in one go, and buckets.
const NEWS: usize = 256;
const BUCKETS_AT_ONCE: usize = 64;
/// Buckets looked at in one step of the sweep; all in 16 s.
const LOOKED_AT: u16 = 64;
/// News noted in one bucket; beyond it the oldest go. All buckets hold about as many as the stream does by default.
const NOTED: &str = "1000";
const LAST: &str = "999";
/// Older news in a list were left behind by whoever should have moved them.
const LEFT_BEHIND_MS: u64 = 3_000;
/// Pause after the stream was not to be written.
const PAUSE: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct News {
    /// None: nobody wants to know.
    mover: Option<Mover>,
}

struct Mover {
    lists: Arc<Lists>,
    /// The bucket whose turn it is to be looked at for what was left behind.
    next: Mutex<u16>,
    task: JoinHandle<()>,
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Lists {
    calls: Arc<Calls<DirectoryError>>,
    keys: Keys,
    most: String,
    dirty: Mutex<BTreeSet<u16>>,
    more: Notify,
    moved: AtomicU64,
    full: AtomicU64,
}

impl News {
    /// `most`: entries of the stream. None: nothing is noted, and nothing is asked.
    pub(super) fn new(calls: &Arc<Calls<DirectoryError>>, keys: &Keys, most: Option<u64>) -> Self {
        let mover = most.map(|most| {
            let lists = Arc::new(Lists {
                calls: Arc::clone(calls),
                keys: keys.clone(),
                most: most.to_string(),
                dirty: Mutex::default(),
                more: Notify::new(),
                moved: AtomicU64::new(0),
                full: AtomicU64::new(0),
            });
            let task = tokio::spawn(Arc::clone(&lists).run());
            Mover { lists, next: Mutex::new(0), task }
        });
        Self { mover }
    }

    /// What scripts are told: how many news a bucket's list holds, or that none are noted.
    pub(super) const fn bound(&self) -> &'static str {
        if self.mover.is_some() { NOTED } else { "" }
    }

    /// Something may have been noted about this user.
    pub(super) fn noted(&self, uid: &Uid) {
        self.noted_in(bucket_of(uid));
    }

    pub(super) fn noted_in(&self, bucket: u16) {
        if let Some(Mover { lists, .. }) = &self.mover {
            lists.dirty().insert(bucket);
            lists.more.notify_one();
        }
    }

    /// Moves what is known to be noted, before the connection ends.
    pub(super) async fn flush(&self) {
        let Some(Mover { lists, .. }) = &self.mover else { return };
        loop {
            let buckets = lists.take_dirty();
            if buckets.is_empty() {
                return;
            }
            if let Err(error) = lists.move_news(&buckets).await {
                return tracing::warn!(%error, "who came and went is written down by another process, or the next run");
            }
        }
    }

    /// News moved, and lists found full.
    pub(super) fn figures(&self) -> NewsFigures {
        let of = |Mover { lists, .. }: &Mover| NewsFigures {
            written: lists.moved.load(Ordering::Relaxed),
            full: lists.full.load(Ordering::Relaxed),
        };
        self.mover.as_ref().map(of).unwrap_or_default()
    }

    /// Looks at some buckets for what was left behind.
    pub(super) async fn look(&self) -> Result<(), DirectoryError> {
        let Some(Mover { lists, next, .. }) = &self.mover else { return Ok(()) };
        let first = {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let first = *next;
            *next = (first + LOOKED_AT) % BUCKETS;
            first
        };
        let buckets: Vec<u16> = (first..BUCKETS.min(first + LOOKED_AT)).collect();
        let oldest = |bucket: &u16| Command::new("LINDEX", [lists.keys.presence_of(*bucket), "0".to_owned()]);
        let answers = lists.calls.together(buckets.iter().map(oldest).collect()).await?;
        let before = lists.calls.now_ms().saturating_sub(LEFT_BEHIND_MS);
        let left = buckets.into_iter().zip(&answers);
        left.filter(|(_, news)| text(news).is_some_and(|news| at_ms(news) < before)).for_each(|(bucket, _)| {
            self.noted_in(bucket);
        });
        Ok(())
    }
}

impl Lists {
    async fn run(self: Arc<Self>) {
        loop {
            let buckets = self.take_dirty();
            if buckets.is_empty() {
                self.more.notified().await;
            } else if let Err(error) = self.move_news(&buckets).await {
                tracing::debug!(%error, "who came and went is written down later");
                self.dirty().extend(buckets);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// First there, then gone here.
    async fn move_news(&self, buckets: &[u16]) -> Result<(), DirectoryError> {
        let last = (NEWS - 1).to_string();
        let read =
            |bucket: &u16| Command::new("LRANGE", [self.keys.presence_of(*bucket), "0".to_owned(), last.clone()]);
        let lists = self.calls.together(buckets.iter().map(read).collect()).await?;
        self.count_full(buckets, &lists).await?;
        let (mut adds, mut removals) = (Vec::new(), Vec::new());
        for (bucket, list) in buckets.iter().zip(lists) {
            let list = list.into_array();
            if list.len() == NEWS {
                self.dirty().insert(*bucket);
            }
            for news in list.iter().filter_map(text) {
                match self.entry(news) {
                    Some(entry) => adds.push(entry),
                    None => tracing::error!(bucket, "news that this version does not write; dropped"),
                }
                removals.push(Command::new("LREM", [self.keys.presence_of(*bucket), "1".to_owned(), news.to_owned()]));
            }
        }
        let count = adds.len() as u64;
        if !adds.is_empty() {
            self.calls.together(adds).await?;
        }
        if !removals.is_empty() {
            self.calls.together(removals).await?;
        }
        self.moved.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// A list at its bound may have lost its oldest news.
    async fn count_full(&self, buckets: &[u16], lists: &[Answer]) -> Result<(), DirectoryError> {
        let long =
            buckets.iter().zip(lists).filter(|(_, list)| matches!(list, Answer::Array(news) if news.len() == NEWS));
        let last =
            |(bucket, _): (&u16, &Answer)| Command::new("LINDEX", [self.keys.presence_of(*bucket), LAST.to_owned()]);
        let asked: Vec<Command> = long.map(last).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let full = self.calls.together(asked).await?.iter().filter(|last| text(last).is_some()).count();
        if full > 0 {
            self.full.fetch_add(full as u64, Ordering::Relaxed);
            tracing::warn!(lists = full, "more came and went than was written down; the oldest news may be gone");
        }
        Ok(())
    }

    /// As docs/wire.md, section 7, has it.
    fn entry(&self, news: &str) -> Option<Command> {
        let words: Vec<&str> = news.split(' ').collect();
        let [fence, session, node, state, reason, at_ms, uid] = words.as_slice() else { return None };
        let stream = [&self.keys.presence(), "MAXLEN", "~", &self.most, "*"].map(str::to_owned);
        let fields = [
            ("uid", uid),
            ("state", state),
            ("fence", fence),
            ("node", node),
            ("session", session),
            ("reason", reason),
            ("at_ms", at_ms),
        ];
        let fields = fields.into_iter().flat_map(|(name, value)| [name.to_owned(), (*value).to_owned()]);
        Some(Command::new("XADD", stream.into_iter().chain(fields)))
    }

    fn take_dirty(&self) -> Vec<u16> {
        let mut dirty = self.dirty();
        (0..BUCKETS_AT_ONCE).map_while(|_| dirty.pop_first()).collect()
    }

    fn dirty(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at_ms(news: &str) -> u64 {
    // What cannot be read is old: it is dropped by whoever moves it.
    news.split(' ').nth(5).and_then(|word| word.parse().ok()).unwrap_or(0)
}
