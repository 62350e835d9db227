//! Settlements that go in one write with the next read, instead of over a connection of their own.
//!
//! Owns the one seat. Whoever settles takes it for as long as it takes the read that begins in the same moment to come by;
//! if none does, it goes by itself. A settlement that was taken along and has no good answer goes by itself too: repeating
//! it has no effect.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use gim_proxy_sdk::store::wire::{Command, Part, Reply};
use tokio::sync::oneshot;
use tokio::time::{Duration, timeout};

use super::trouble::{Trouble, unanswered};

/// A read that something rides behind lasts up to 105 ms by itself.
const LEAST: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ride(Mutex<Option<Rider>>);

/// A settlement on its way.
#[derive(Debug)]
pub(super) struct Rider {
    pub(super) command: Command,
    answer: oneshot::Sender<Reply>,
}

impl Rider {
    /// Hands over the answer to it.
    pub(super) fn arrived(self, reply: Reply) {
        // Whoever gave up waiting repeats it.
        let _ = self.answer.send(reply);
    }
}

impl Ride {
    /// Sends a command with the read that begins now, if there is one. True: it was carried out. False: nobody knows.
    pub(super) async fn along(&self, command: Command, most: Duration) -> Result<bool, Trouble> {
        let (answer, arrival) = oneshot::channel();
        // One settlement is on its way at a time: who might be in the seat has given up.
        *self.seat() = Some(Rider { command, answer });
        let _free = Free(self);
        step_back().await;
        if self.take().is_some() {
            return Ok(false);
        }
        match timeout(most.max(LEAST), arrival).await {
            Ok(Ok(reply)) => Ok(matches!(reply.parts().next(), Some(Part::Number(_)))),
            // The read failed with its connection.
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(unanswered()),
        }
    }

    /// Takes whoever wants to come along.
    pub(super) fn take(&self) -> Option<Rider> {
        self.seat().take()
    }

    // A change under it is whole before the lock is given up.
    fn seat(&self) -> MutexGuard<'_, Option<Rider>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets everything else that its task has on its way go first, once. The thread stays with the task.
async fn step_back() {
    let mut has_stepped = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Frees the seat when the wait for a read is dropped.
struct Free<'a>(&'a Ride);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    const MOST: Duration = Duration::from_secs(2);

    fn reply(bytes: &[u8]) -> Reply {
        Reply::parse(bytes).unwrap()
    }

    #[tokio::test]
    async fn it_goes_with_a_read_that_begins_now() {
        let ride = Ride::default();
        for (answer, done) in [(b":1\r\n".as_slice(), true), (b"-NOSCRIPT no\r\n", false)] {
            let mut settling = Box::pin(ride.along(Command::new("X"), MOST));
            assert!(poll!(&mut settling).is_pending());
            ride.take().unwrap().arrived(reply(answer));
            assert_eq!(settling.await.unwrap(), done);
        }
    }

    #[tokio::test]
    async fn it_does_not_wait_for_a_read_that_does_not_begin() {
        let ride = Ride::default();
        assert!(!ride.along(Command::new("X"), MOST).await.unwrap());
        assert!(ride.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_fails_or_hangs_is_not_waited_for() {
        let ride = Ride::default();
        let mut settling = Box::pin(ride.along(Command::new("X"), MOST));
        assert!(poll!(&mut settling).is_pending());
        drop(ride.take().unwrap());
        assert!(!settling.await.unwrap());
        let mut settling = Box::pin(ride.along(Command::new("X"), MOST));
        assert!(poll!(&mut settling).is_pending());
        let _hangs = ride.take().unwrap();
        assert!(settling.await.is_err());
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_seat() {
        let ride = Ride::default();
        let mut settling = Box::pin(ride.along(Command::new("X"), MOST));
        assert!(poll!(&mut settling).is_pending());
        drop(settling);
        assert!(ride.take().is_none());
    }
}
