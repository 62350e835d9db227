//! Calls to Redis over one connection, in a cluster one to each master, which sends what many tasks ask for at the same time in
//! one go.
//!
//! Owns deadlines, the bound on calls that wait, and the one translation of errors. A call is never sent twice behind
//! the caller's back: what was on its way when a connection broke is an error. Never knows what the scripts mean.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::fred::types::{FromValue, Value};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::clock::Clock;
use super::fault::Fault;
use super::pipe::Word;
use super::script::Script;
use super::way::{Call, Command, Way};
use crate::store::{CrowdedCalls, RedisOptions, StoreError, StoreErrorKind};

/// Calls that wait for an answer, at most; about 1 KiB each. One with many commands counts once.
const WAITING: usize = 32_768;
/// A script may be unknown to the server, the slot at another one, and the time there other than thought.
const TRIES: usize = 4;

/// See the module. `E` is the error of the port they are for.
pub(crate) struct Calls<E> {
    pub(super) shared: Arc<Shared>,
    /// Calls of this port refused because too many waited.
    pub(crate) refused: AtomicU64,
    error: PhantomData<fn() -> E>,
}

/// What calls of several ports may share.
pub(super) struct Shared {
    pub(super) way: Way,
    deadline: Duration,
    waiting: Semaphore,
    /// Calls of all ports refused because too many waited.
    refused: AtomicU64,
    clock: Clock,
    /// Rings when a server says that it is no master.
    pub(super) demoted: Notify,
}

impl<E: From<StoreError>> Calls<E> {
    /// Not connected yet.
    pub(crate) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        Ok(Self::over(Arc::new(Shared {
            way: Way::new(options)?,
            deadline: options.deadline(),
            waiting: Semaphore::new(WAITING),
            refused: AtomicU64::new(0),
            clock: Clock::new(),
            demoted: Notify::new(),
        })))
    }

    /// Those of another port, over the same connection.
    pub(crate) fn beside<F: From<StoreError>>(&self) -> Calls<F> {
        Calls::over(Arc::clone(&self.shared))
    }

    const fn over(shared: Arc<Shared>) -> Self {
        Self { shared, refused: AtomicU64::new(0), error: PhantomData }
    }

    /// The time in Redis, Unix milliseconds. May lag behind.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.shared.clock.limit_us(Duration::ZERO) / 1_000).unwrap_or(0)
    }

    /// Counts the calls that the connection was too crowded for, of all ports that share it.
    pub(crate) fn crowded(&self) -> CrowdedCalls {
        let waiting = self.shared.refused.load(Ordering::Relaxed);
        CrowdedCalls { waiting, under_way: self.shared.way.crowded() }
    }

    /// When a call that begins now is given up.
    pub(crate) fn give_up(&self) -> Instant {
        Instant::now() + self.shared.deadline
    }

    /// Runs a script that takes, as its first argument, the time after which it takes no effect any more.
    pub(crate) async fn script<R: FromValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[impl Word],
        give_up: Instant,
    ) -> Result<R, E> {
        let _turn = self.turn()?;
        let answer = self.run(&Call { script, keys, args }, give_up).await.map_err(|error| self.translate(error))?;
        answer.convert().map_err(|error| StoreError::from(error).into())
    }

    async fn run<W: Word>(&self, call: &Call<'_, W>, give_up: Instant) -> Result<Value, StoreError> {
        let Shared { way, clock, .. } = &*self.shared;
        let (mut known, mut tries) = (true, TRIES);
        loop {
            let limit = clock.limit_us(give_up.saturating_duration_since(Instant::now()));
            let answer = way.run(call, known, limit, give_up).await;
            tries -= 1;
            match answer {
                Ok(answer) => return Ok(answer),
                Err(fault) if tries == 0 => return Err(fault.error()),
                Err(Fault::Unknown) => known = false,
                // Where to was not to be known in time. Nothing took effect, and nothing more is sent.
                Err(fault @ Fault::Moved) if Instant::now() >= give_up => return Err(fault.error()),
                Err(Fault::Moved) => {}
                Err(Fault::Late(time)) => clock.learn(time),
                Err(Fault::Other(error)) => return Err(error),
            }
        }
    }

    /// Sends several commands in one go, to however many servers, and returns their answers in order. Where a slot has moved
    /// some of them may have been done: they are sent again only if none of them changes anything.
    ///
    /// An answer that is an array must not begin with what a user chose: fred takes one that begins with `message` for
    /// a publication.
    pub(crate) async fn together(&self, commands: Vec<Command>) -> Result<Vec<Value>, E> {
        let _turn = self.turn()?;
        let give_up = self.give_up();
        let are_reads = commands.iter().all(Command::is_read);
        let mut tries = if are_reads { TRIES } else { 1 };
        let answers = loop {
            tries -= 1;
            match self.shared.way.together(&commands, give_up).await {
                Err(Fault::Moved) if tries > 0 && Instant::now() < give_up => {}
                // The others of them may have taken effect.
                Err(Fault::Moved) if !are_reads && commands.len() > 1 => break Err(StoreError::unanswered()),
                answers => break answers.map_err(Fault::error),
            }
        };
        let answers = answers.map_err(|error| self.translate(error))?;
        if answers.len() == commands.len() {
            Ok(answers)
        } else {
            Err(StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None }.into())
        }
    }

    /// Asks for the time.
    pub(crate) async fn set_clock(&self) -> Result<(), E> {
        let _turn = self.turn()?;
        let answer = self.shared.way.time(self.give_up()).await.map_err(|error| self.translate(error))?;
        let (s, us): (i64, i64) = answer.convert().map_err(|error| E::from(StoreError::from(error)))?;
        self.shared.clock.learn(s.saturating_mul(1_000_000).saturating_add(us));
        Ok(())
    }

    fn turn(&self) -> Result<SemaphorePermit<'_>, E> {
        if !self.shared.way.is_up() {
            return Err(StoreError::unreachable().into());
        }
        self.shared.waiting.try_acquire().map_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            StoreError::crowded().into()
        })
    }

    fn translate(&self, error: StoreError) -> E {
        if error.is("READONLY") {
            match &self.shared.way {
                Way::Pipe(pipe) => pipe.renew(),
                Way::Cluster(cluster) => {
                    cluster.pipes.doubt();
                    self.shared.demoted.notify_one();
                }
            }
        }
        error.into()
    }
}
