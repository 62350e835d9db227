//! Calls to Redis over one connection, which sends what many tasks ask for at the same time in one go.
//!
//! Owns deadlines, the bound on calls that wait, and the one translation of errors. A call is never sent twice behind
//! the caller's back: what was on its way when a connection broke is an error. Goes by a [`Pipe`], in a cluster by fred,
//! which knows where which slot is. Never knows what the scripts mean.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::fred::clients::Client;
use ::fred::error::Error;
use ::fred::interfaces::ClientLike;
use ::fred::types::config::Options;
use ::fred::types::{ClusterHash, CustomCommand, FromValue, Value};
use gim_proto::slot_of;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::clock::Clock;
use super::fault::Fault;
use super::pipe::{Pipe, Word};
use super::script::Script;
use crate::store::{RedisOptions, Store, StoreError, StoreErrorKind, Topology, fred_client};

/// Calls that wait for an answer, at most; about 1 KiB each. One with many commands counts once.
const WAITING: usize = 32_768;
/// A script may be unknown to the server, the slot at another one, and the time there other than thought.
const TRIES: usize = 4;

/// See the module. `E` is the error of the port they are for.
pub(crate) struct Calls<E> {
    pub(super) way: Way,
    deadline: Duration,
    waiting: Semaphore,
    clock: Clock,
    /// Calls refused because too many waited.
    pub(crate) refused: AtomicU64,
    /// Rings when a server says that it is no master.
    pub(super) demoted: Notify,
    error: PhantomData<fn() -> E>,
}

/// How calls get there.
pub(super) enum Way {
    Pipe(Pipe),
    Fred(Client),
}

/// One command of several that go out together.
pub(crate) struct Command {
    name: &'static str,
    args: Vec<String>,
}

impl Command {
    /// The first argument is the key.
    pub(crate) fn new(name: &'static str, args: impl IntoIterator<Item = String>) -> Self {
        Self { name, args: args.into_iter().collect() }
    }
}

/// What a script is called with.
struct Call<'a, W> {
    script: &'a Script,
    keys: &'a [&'a str],
    args: &'a [W],
}

impl<E: From<StoreError>> Calls<E> {
    /// Not connected yet.
    pub(crate) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let way = match options.topology() {
            Topology::Cluster { .. } => Way::Fred(fred_client(options)?),
            Topology::Standalone { .. } | Topology::Sentinel { .. } => {
                Way::Pipe(Pipe::new(Store::new(options.clone())))
            }
        };
        Ok(Self {
            way,
            deadline: options.deadline(),
            waiting: Semaphore::new(WAITING),
            clock: Clock::new(),
            refused: AtomicU64::new(0),
            demoted: Notify::new(),
            error: PhantomData,
        })
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
        args: &[impl Word],
        give_up: Instant,
    ) -> Result<R, E> {
        let _turn = self.turn()?;
        let answer = self.run(&Call { script, keys, args }, give_up).await.map_err(|error| self.translate(error))?;
        answer.convert().map_err(|error| StoreError::from(error).into())
    }

    async fn run<W: Word>(&self, call: &Call<'_, W>, give_up: Instant) -> Result<Value, StoreError> {
        let (mut known, mut tries) = (true, TRIES);
        loop {
            let answer = match &self.way {
                Way::Pipe(pipe) => self.run_piped(pipe, call, known, give_up).await,
                Way::Fred(client) => self.run_by_fred(client, call, known, give_up).await,
            };
            tries -= 1;
            match answer {
                Ok(answer) => return Ok(answer),
                Err(fault) if tries == 0 => return Err(fault.error()),
                Err(Fault::Unknown) => known = false,
                Err(Fault::Moved) => {}
                Err(Fault::Late(time)) => self.clock.learn(time),
                Err(Fault::Other(error)) => return Err(error),
            }
        }
    }

    async fn run_piped<W: Word>(
        &self,
        pipe: &Pipe,
        call: &Call<'_, W>,
        known: bool,
        give_up: Instant,
    ) -> Result<Value, Fault> {
        let limit = self.clock.limit_us(give_up.saturating_duration_since(Instant::now()));
        let Call { script, keys, args } = call;
        let answer = pipe.call(give_up, |words| {
            words.command(4 + keys.len() + args.len());
            match known {
                true => {
                    words.word(b"EVALSHA");
                    words.word(script.hash.as_bytes());
                }
                false => {
                    words.word(b"EVAL");
                    words.word(script.lua.as_bytes());
                }
            }
            words.number(keys.len() as u64);
            keys.iter().for_each(|key| words.word(key.as_bytes()));
            words.number(u64::try_from(limit).unwrap_or(0));
            args.iter().for_each(|arg| arg.write(words));
        });
        Ok(answer.await?)
    }

    async fn run_by_fred<W: Word>(
        &self,
        client: &Client,
        call: &Call<'_, W>,
        known: bool,
        give_up: Instant,
    ) -> Result<Value, Fault> {
        let Call { script, keys, args } = call;
        // Said in numbers: of a command that fred does not know it hashes the first argument, which is no key here.
        let slot = ClusterHash::Custom(slot_of(keys.first().copied().unwrap_or_default()));
        let left = give_up.saturating_duration_since(Instant::now());
        let limit = self.clock.limit_us(left).to_string();
        let (command, text) = if known { ("EVALSHA", script.hash.as_str()) } else { ("EVAL", script.lua) };
        let command = CustomCommand::new_static(command, slot, false);
        let count = keys.len().to_string();
        let words = [text, &count].into_iter().chain(keys.iter().copied()).chain([limit.as_str()]);
        let words: Vec<Value> = words.map(Value::from).chain(args.iter().map(Word::value)).collect();
        Ok(client.with_options(&options(left)).custom(command, words).await?)
    }

    /// Sends several commands in one go, to however many servers, and returns their answers in order.
    ///
    /// An answer that is an array must not begin with what a user chose: fred takes one that begins with `message` for
    /// a publication.
    pub(crate) async fn together(&self, commands: Vec<Command>) -> Result<Vec<Value>, E> {
        let _turn = self.turn()?;
        let count = commands.len();
        let answers = match &self.way {
            Way::Pipe(pipe) => {
                pipe.call_all(count, self.give_up(), |words| {
                    for Command { name, args } in &commands {
                        words.command(1 + args.len());
                        words.word(name.as_bytes());
                        args.iter().for_each(|arg| words.word(arg.as_bytes()));
                    }
                })
                .await
            }
            Way::Fred(client) => self.together_by_fred(client, commands).await.map_err(StoreError::from),
        };
        let answers = answers.map_err(|error| self.translate(error))?;
        if answers.len() == count {
            Ok(answers)
        } else {
            Err(StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None }.into())
        }
    }

    async fn together_by_fred(&self, client: &Client, commands: Vec<Command>) -> Result<Vec<Value>, Error> {
        let pipeline = client.with_options(&options(self.deadline)).pipeline();
        for Command { name, args } in commands {
            let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
            let _queued: Value = pipeline.custom(command, args).await?;
        }
        pipeline.try_all().await.into_iter().collect()
    }

    /// Asks for the time.
    pub(crate) async fn set_clock(&self) -> Result<(), E> {
        let _turn = self.turn()?;
        let answer = match &self.way {
            Way::Pipe(pipe) => {
                let ask = |words: &mut super::pipe::Words<'_>| {
                    words.command(1);
                    words.word(b"TIME");
                };
                pipe.call(self.give_up(), ask).await
            }
            Way::Fred(client) => {
                let time = CustomCommand::new_static("TIME", ClusterHash::Random, false);
                let client = client.with_options(&options(self.deadline));
                client.custom(time, Vec::<Value>::new()).await.map_err(StoreError::from)
            }
        };
        let answer = answer.map_err(|error| self.translate(error))?;
        let (s, us): (i64, i64) = answer.convert().map_err(|error| E::from(StoreError::from(error)))?;
        self.clock.learn(s.saturating_mul(1_000_000).saturating_add(us));
        Ok(())
    }

    fn turn(&self) -> Result<SemaphorePermit<'_>, E> {
        let is_up = match &self.way {
            Way::Pipe(pipe) => pipe.is_up(),
            Way::Fred(client) => client.is_connected(),
        };
        if !is_up {
            return Err(StoreError::unreachable().into());
        }
        self.waiting.try_acquire().map_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            StoreError::unreachable().into()
        })
    }

    fn translate(&self, error: StoreError) -> E {
        if error.is("READONLY") {
            match &self.way {
                Way::Pipe(pipe) => pipe.renew(),
                Way::Fred(_) => self.demoted.notify_one(),
            }
        }
        error.into()
    }
}

/// What is on its way when a connection breaks fails, and fails at once while there is none.
fn options(left: Duration) -> Options {
    // 0 would mean no deadline.
    Options { fail_fast: true, timeout: Some(left.max(Duration::from_millis(1))), ..Options::default() }
}
