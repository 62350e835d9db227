//! Looking at what single users do on this node, as it happens.
//!
//! Owns who follows whom, each with a bounded queue: what finds no room in it is dropped, counted, and told when there is
//! room again. Nobody follows: an event costs one look at a number. Never makes whoever tells an event wait.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gim_proto::{Fence, MessageId, Uid};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Followers of a node, at most.
pub(crate) const MOST: usize = 16;
/// Events that wait for one follower, at most.
const WAITING: usize = 1_024;
/// How long one may follow.
const LONGEST: Duration = Duration::from_hours(1);

/// Something that happened to a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Happening {
    /// Microseconds since 1970.
    pub(crate) at_us: u64,
    /// In one word.
    pub(crate) event: &'static str,
    /// Of the session. 0: it is not about one.
    pub(crate) fence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<MessageId>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

impl Happening {
    pub(crate) fn new(event: &'static str, fence: Fence, detail: impl Into<String>) -> Self {
        Self { at_us: crate::clock::unix_us(), event, fence: fence.0, id: None, detail: detail.into() }
    }

    /// The same about a message.
    pub(crate) fn of(self, id: &MessageId) -> Self {
        Self { id: Some(id.clone()), ..self }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    count: AtomicUsize,
    all: Mutex<Vec<Arc<Follower>>>,
    /// The node is about to be down.
    over: CancellationToken,
}

#[derive(Debug)]
struct Follower {
    uid: Uid,
    events: mpsc::Sender<Happening>,
    dropped: AtomicU64,
}

/// One who follows. Dropped, it ends.
pub(crate) struct Following {
    followers: Arc<Followers>,
    this: Arc<Follower>,
    events: mpsc::Receiver<Happening>,
    ends: Instant,
}

impl Followers {
    /// Begins to follow a user. None: there are as many followers as there may be.
    pub(crate) fn follow(self: &Arc<Self>, uid: Uid) -> Option<Following> {
        let (sender, events) = mpsc::channel(WAITING);
        let this = Arc::new(Follower { uid, events: sender, dropped: AtomicU64::new(0) });
        let mut all = self.all();
        if all.len() >= MOST {
            return None;
        }
        all.push(Arc::clone(&this));
        self.count.store(all.len(), Ordering::Relaxed);
        drop(all);
        Some(Following { followers: Arc::clone(self), this, events, ends: Instant::now() + LONGEST })
    }

    /// Ends everybody's following: the node is down.
    pub(crate) fn close(&self) {
        self.over.cancel();
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Tells what happened to a user, if anybody follows. What there is to tell is made only then.
    pub(crate) fn tell(&self, uid: &Uid, happening: impl FnOnce() -> Happening) {
        if self.count() > 0 {
            self.tell_followers(uid, happening);
        }
    }

    #[cold]
    fn tell_followers(&self, uid: &Uid, happening: impl FnOnce() -> Happening) {
        let all = self.all();
        let mut interested = all.iter().filter(|follower| follower.uid == *uid).peekable();
        if interested.peek().is_some() {
            let happening = happening();
            interested.for_each(|follower| follower.take(happening.clone()));
        }
    }

    fn end(&self, ended: &Arc<Follower>) {
        let mut all = self.all();
        all.retain(|follower| !Arc::ptr_eq(follower, ended));
        self.count.store(all.len(), Ordering::Relaxed);
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Follower>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    fn take(&self, happening: Happening) {
        if self.events.try_send(happening).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Following {
    /// The next event. None: it was followed for as long as one may, or the node is down.
    pub(crate) async fn next(&mut self) -> Option<Happening> {
        if self.events.is_empty() {
            let dropped = self.this.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                return Some(Happening::new("dropped", Fence(0), format!("{dropped} events, there were too many")));
            }
        }
        tokio::select! {
            biased;
            happening = self.events.recv() => happening,
            () = self.followers.over.cancelled() => None,
            () = sleep_until(self.ends) => None,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.followers.end(&self.this);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(name: &str) -> Uid {
        Uid::parse(name).unwrap()
    }

    fn happening() -> Happening {
        Happening::new("login", Fence(1), "")
    }

    #[tokio::test]
    async fn only_the_user_that_is_followed_is_told_of() {
        let followers = Arc::new(Followers::default());
        followers.tell(&uid("a"), || panic!("nobody follows"));
        let mut following = followers.follow(uid("a")).unwrap();
        followers.tell(&uid("b"), || panic!("nobody follows b"));
        followers.tell(&uid("a"), happening);
        assert_eq!(following.next().await.unwrap().event, "login");
        drop(following);
        assert_eq!(followers.count(), 0);
        followers.tell(&uid("a"), || panic!("nobody follows any more"));
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_told() {
        let followers = Arc::new(Followers::default());
        let mut following = followers.follow(uid("a")).unwrap();
        for _ in 0..WAITING + 7 {
            followers.tell(&uid("a"), happening);
        }
        for _ in 0..WAITING {
            assert_eq!(following.next().await.unwrap().event, "login");
        }
        let dropped = following.next().await.unwrap();
        assert_eq!((dropped.event, dropped.detail.as_str()), ("dropped", "7 events, there were too many"));
    }

    #[tokio::test]
    async fn there_are_so_many_followers_and_no_more() {
        let followers = Arc::new(Followers::default());
        let all: Vec<_> = (0..MOST).map(|_| followers.follow(uid("a")).unwrap()).collect();
        assert!(followers.follow(uid("b")).is_none());
        drop(all);
        assert!(followers.follow(uid("b")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_follows_for_ever() {
        let followers = Arc::new(Followers::default());
        let mut following = followers.follow(uid("a")).unwrap();
        assert_eq!(following.next().await, None);
    }
}
