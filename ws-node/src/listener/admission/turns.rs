//! Whose login is when: at the set rate, so many at once, the others in order behind them, and who is refused comes back
//! when there will be room.
//!
//! Owns the counts of logins under way and waiting. A login waits as a task with its request and nothing else: neither the
//! application nor the directory has heard of it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::bucket::Bucket;
use super::pace::Pace;
use super::returns::Returns;
use crate::config::LimitsSection;

/// See the module.
pub(super) struct Turns {
    places: Arc<Semaphore>,
    at_once: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
    gate: Mutex<Gate>,
    put_off: [AtomicU64; PutOff::ALL.len()],
    begun: Instant,
}

struct Gate {
    /// None: at any rate.
    bucket: Option<Bucket>,
    pace: Pace,
    returns: Returns,
}

/// Why a login is told to come back, as far as the reason is that there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum PutOff {
    /// `limits.logins_per_second` is reached.
    Rate,
    /// `limits.logins_waiting` is reached.
    Crowd,
    /// Its turn did not come while enough of `limits.handshake` was left for the login itself.
    Late,
}

/// A login's turn, over when dropped.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    _place: OwnedSemaphorePermit,
}

/// One login of the set rate, for who waits for its turn. Left to the others when dropped.
struct Token<'a> {
    turns: &'a Turns,
    is_kept: bool,
}

/// One who waits for its turn.
struct Waiting<'a>(&'a Turns);

/// How logins stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoginFigures {
    pub(crate) under_way: u64,
    /// How many may be.
    pub(crate) at_once: u64,
    pub(crate) waiting: u64,
    /// How many may wait.
    pub(crate) most_waiting: u64,
    /// In how many milliseconds the last of those comes back who were told to.
    pub(crate) backlog_ms: u64,
    /// Told to come back so far, by reason.
    pub(crate) put_off: [u64; PutOff::ALL.len()],
}

impl PutOff {
    pub(crate) const ALL: [Self; 3] = [Self::Rate, Self::Crowd, Self::Late];

    /// The word in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Crowd => "crowd",
            Self::Late => "late",
        }
    }
}

impl Turns {
    pub(super) fn new(limits: &LimitsSection) -> Self {
        let at_once = limits.logins_at_once.clamp(1, Semaphore::MAX_PERMITS);
        let bucket = (limits.logins_per_second > 0).then(|| Bucket::new(limits.logins_per_second, limits.burst()));
        Self {
            places: Arc::new(Semaphore::new(at_once)),
            at_once,
            waiting: AtomicUsize::new(0),
            most_waiting: limits.logins_waiting,
            gate: Mutex::new(Gate { bucket, pace: Pace::new(), returns: Returns::default() }),
            put_off: Default::default(),
            begun: Instant::now(),
        }
    }

    /// Begins a login, now or when those before it are done: it waits for half of the time that it has until the deadline,
    /// because the login itself takes some.
    ///
    /// # Errors
    /// There is no room, or none in time.
    pub(super) async fn take(self: &Arc<Self>, deadline: Instant) -> Result<Turn, PutOff> {
        let taken = self.try_take(deadline).await;
        if let Err(why) = taken
            && let Some(count) = self.put_off.get(why as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    async fn try_take(self: &Arc<Self>, deadline: Instant) -> Result<Turn, PutOff> {
        // A place that becomes free goes to who waits: there is none for newcomers as long as somebody does.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            self.token()?.keep();
            return Ok(Turn { turns: Arc::clone(self), _place: place });
        }
        let _waiting = self.wait()?;
        let token = self.token()?;
        let now = Instant::now();
        let latest = now + deadline.saturating_duration_since(now) / 2;
        match timeout_at(latest, Arc::clone(&self.places).acquire_owned()).await {
            // Who was not asked in time whether its place is there has less left than it should.
            Ok(Ok(place)) if Instant::now() < latest => {
                token.keep();
                Ok(Turn { turns: Arc::clone(self), _place: place })
            }
            _ => Err(PutOff::Late),
        }
    }

    /// Only for who has a place, or may wait for one: others would take it from them.
    fn token(&self) -> Result<Token<'_>, PutOff> {
        let now = self.now();
        let is_there = self.gate().bucket.as_mut().is_none_or(|bucket| bucket.lend(now));
        if is_there { Ok(Token { turns: self, is_kept: false }) } else { Err(PutOff::Rate) }
    }

    fn wait(&self) -> Result<Waiting<'_>, PutOff> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(self);
        if before >= self.most_waiting {
            return Err(PutOff::Crowd);
        }
        if before == 0 {
            let now = self.now();
            self.gate().pace.begin(now);
        }
        Ok(waiting)
    }

    /// When somebody who is refused now should come back, in whole seconds from now: others have been told to before.
    pub(super) fn again(&self) -> u64 {
        let now = self.now();
        let waiting = self.waiting.load(Ordering::Acquire) as u64;
        let mut gate = self.gate();
        let Gate { bucket, pace, returns } = &mut *gate;
        let mut first = now.saturating_add(waiting.saturating_mul(pace.every()));
        let mut every = pace.every();
        if let Some(bucket) = bucket {
            first = first.max(bucket.next(now));
            every = if waiting > 0 { every.max(bucket.every()) } else { bucket.every() };
        }
        returns.next(now, first, every) / 1_000_000_000
    }

    pub(super) fn figures(&self) -> LoginFigures {
        let now = self.now();
        LoginFigures {
            under_way: self.at_once.saturating_sub(self.places.available_permits()) as u64,
            at_once: self.at_once as u64,
            waiting: self.waiting.load(Ordering::Acquire) as u64,
            most_waiting: self.most_waiting as u64,
            backlog_ms: self.gate().returns.backlog(now) / 1_000_000,
            put_off: self.put_off.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.turns.waiting.load(Ordering::Acquire) > 0 {
            let now = self.turns.now();
            self.turns.gate().pace.done(now);
        }
    }
}

impl Token<'_> {
    /// It has its turn: it counts at the set rate, whatever becomes of it.
    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        let now = self.turns.now();
        if let Some(bucket) = &mut self.turns.gate().bucket {
            if self.is_kept { bucket.keep() } else { bucket.give_back(now) }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
