//! Calls to Redis over one fred client, which sends what many tasks ask for at the same time in one go.
//!
//! Owns deadlines, the bound on calls that wait, and the one translation of errors. A call is never sent twice behind
//! the caller's back: what was on its way when a connection broke is an error. A batch of its own in front of fred was
//! measured and cost more than it saved. Never knows what the scripts mean.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::fred::clients::Client;
use ::fred::error::{Error, ErrorKind};
use ::fred::interfaces::ClientLike;
use ::fred::types::config::Options;
use ::fred::types::{ClusterHash, CustomCommand, FromValue, Value};
use gim_proto::slot_of;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::clock::Clock;
use super::script::Script;
use crate::store::{StoreError, StoreErrorKind};

/// Calls that wait for an answer, at most; about 1 KiB each. One with many commands counts once.
const WAITING: usize = 32_768;
/// A script may be unknown to the server, the slot at another one, and the time there other than thought.
const TRIES: usize = 4;

/// See the module. `E` is the error of the port they are for.
pub(crate) struct Calls<E> {
    client: Client,
    deadline: Duration,
    waiting: Semaphore,
    clock: Clock,
    /// Calls refused because too many waited.
    pub(crate) refused: AtomicU64,
    /// Rings when a server says that it is no master.
    pub(crate) demoted: Notify,
    error: PhantomData<fn() -> E>,
}

/// One command of several that go out together.
pub(crate) struct Command {
    name: &'static str,
    args: Vec<Value>,
}

impl Command {
    /// The first argument is the key.
    pub(crate) fn new(name: &'static str, args: impl IntoIterator<Item = String>) -> Self {
        Self { name, args: args.into_iter().map(Value::from).collect() }
    }
}

impl<E: From<StoreError>> Calls<E> {
    pub(crate) fn new(client: Client, deadline: Duration) -> Self {
        Self {
            client,
            deadline,
            waiting: Semaphore::new(WAITING),
            clock: Clock::new(),
            refused: AtomicU64::new(0),
            demoted: Notify::new(),
            error: PhantomData,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The time in Redis, Unix milliseconds. May lag behind.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.limit_us(Duration::ZERO) / 1_000).unwrap_or(0)
    }

    /// When a call that begins now is given up.
    pub(crate) fn give_up(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Runs a script that takes, as its first argument, the time after which it takes no effect any more.
    pub(crate) async fn script<R: FromValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[impl Clone + Into<Value>],
        give_up: Instant,
    ) -> Result<R, E> {
        let _turn = self.turn()?;
        self.run(script, keys, args, give_up).await.map_err(|error| self.translate(error))
    }

    async fn run<R: FromValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[impl Clone + Into<Value>],
        give_up: Instant,
    ) -> Result<R, Error> {
        // Said in numbers: of a command that fred does not know it hashes the first argument, which is no key here.
        let slot = ClusterHash::Custom(slot_of(keys.first().copied().unwrap_or_default()));
        let mut known = true;
        let mut tries = TRIES;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let limit = self.clock.limit_us(left).to_string();
            let (command, text) = if known { ("EVALSHA", script.hash.as_str()) } else { ("EVAL", script.lua) };
            let command = CustomCommand::new_static(command, slot.clone(), false);
            let count = keys.len().to_string();
            let words = [text, &count].into_iter().chain(keys.iter().copied()).chain([limit.as_str()]);
            let words: Vec<Value> = words.map(Value::from).chain(args.iter().cloned().map(Into::into)).collect();
            let answer = self.client.with_options(&options(left)).custom(command, words).await;
            tries -= 1;
            match answer {
                Err(error) if tries > 0 && error.details().starts_with("NOSCRIPT") => known = false,
                // The slot has moved. Nothing took effect, and fred has looked up where to.
                Err(error) if tries > 0 && *error.kind() == ErrorKind::Routing => {}
                Err(error) if tries > 0 => match redis_time(&error) {
                    Some(time) => self.clock.learn(time),
                    None => return Err(error),
                },
                other => return other,
            }
        }
    }

    /// Sends several commands in one go, to however many servers, and returns their answers in order.
    ///
    /// An answer that is an array must not begin with what a user chose: fred takes one that begins with `message` for
    /// a publication.
    pub(crate) async fn together(&self, commands: Vec<Command>) -> Result<Vec<Value>, E> {
        let _turn = self.turn()?;
        let count = commands.len();
        let pipeline = self.client.with_options(&options(self.deadline)).pipeline();
        for Command { name, args } in commands {
            let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
            let _queued: Value = pipeline.custom(command, args).await.map_err(|error| self.translate(error))?;
        }
        let answers: Result<Vec<Value>, Error> = pipeline.try_all().await.into_iter().collect();
        let answers = answers.map_err(|error| self.translate(error))?;
        if answers.len() == count {
            Ok(answers)
        } else {
            Err(StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None }.into())
        }
    }

    /// Asks for the time.
    pub(crate) async fn set_clock(&self) -> Result<(), E> {
        let _turn = self.turn()?;
        let client = self.client.with_options(&options(self.deadline));
        let time = CustomCommand::new_static("TIME", ClusterHash::Random, false);
        let answer: Result<(i64, i64), Error> = client.custom(time, Vec::<Value>::new()).await;
        let (s, us) = answer.map_err(|error| self.translate(error))?;
        self.clock.learn(s.saturating_mul(1_000_000).saturating_add(us));
        Ok(())
    }

    fn turn(&self) -> Result<SemaphorePermit<'_>, E> {
        if !self.client.is_connected() {
            return Err(StoreError::unreachable().into());
        }
        self.waiting.try_acquire().map_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            StoreError::unreachable().into()
        })
    }

    fn translate(&self, error: Error) -> E {
        let error = StoreError::from(error);
        if error.is("READONLY") {
            self.demoted.notify_one();
        }
        error.into()
    }
}

/// What is on its way when a connection breaks fails, and fails at once while there is none.
fn options(left: Duration) -> Options {
    // 0 would mean no deadline.
    Options { fail_fast: true, timeout: Some(left.max(Duration::from_millis(1))), ..Options::default() }
}

/// The time there, if a script found itself to be too late.
fn redis_time(error: &Error) -> Option<i64> {
    error.details().strip_prefix("LATE ")?.trim().parse().ok()
}
