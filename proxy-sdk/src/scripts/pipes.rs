//! A pipe to each master of a cluster: a call goes by the one that has its slot.
//!
//! Owns what is known of who has which slots, and a pipe to each of these masters. A slot that has moved is followed at once,
//! as far as the server says where to; all of them are asked for anew then, and as long as calls fail, because a replica may
//! have taken over. Never sends anything twice.

mod map;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use ::fred::types::Value;
use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use self::map::{Map, Member, Moved};
use super::pipe::Words;
use crate::store::{Address, Range, Store, StoreError, StoreErrorKind};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// How long those who are waited for may take to connect, before all others are routed to without them.
const PATIENCE: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Pipes(Arc<Shared>);

struct Shared {
    store: Store,
    /// Who is asked for the slots when nobody else is known.
    seeds: Vec<Address>,
    map: RwLock<Map>,
    /// Rings when the map may be wrong.
    doubt: Notify,
    /// Counts how often the slots have been asked for.
    asked: watch::Sender<u64>,
    /// They are not asked for any more.
    is_closing: AtomicBool,
    /// Calls that masters refused, of whom none is one any more.
    crowded: AtomicU64,
}

/// What ends them.
pub(super) struct Keeper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Pipes {
    pub(super) fn new(store: Store, seeds: Vec<Address>) -> Self {
        Self(Arc::new(Shared {
            store,
            seeds,
            map: RwLock::default(),
            doubt: Notify::new(),
            asked: watch::Sender::new(0),
            is_closing: AtomicBool::new(false),
            crowded: AtomicU64::new(0),
        }))
    }

    /// Connects to all masters, of which one at least has to answer, and keeps at it until [`close`](Self::close).
    pub(super) async fn open(&self) -> Result<Keeper, StoreError> {
        let ranges = self.0.store.ranges(&self.0.seeds).await?;
        let failed = self.0.adopt(&ranges, self.0.store.options().deadline()).await;
        if let Some(error) = failed.filter(|_| !self.0.is_up()) {
            // The tasks that go on trying end with their pipes.
            self.0.retire(std::mem::take(&mut self.0.write().members));
            return Err(error);
        }
        let (stop, stopped) = oneshot::channel();
        Ok(Keeper { stop, task: tokio::spawn(keep(Arc::clone(&self.0), stopped)) })
    }

    /// Whether any master is reached. Where none is, all may be others by now: the slots are asked for anew.
    pub(super) fn is_up(&self) -> bool {
        let is_up = self.0.is_up();
        if !is_up {
            self.0.doubt.notify_one();
        }
        is_up
    }

    /// Counts the calls refused because too many were under way at one master.
    pub(super) fn crowded(&self) -> u64 {
        let now: u64 = self.0.read().members.iter().map(|member| member.pipe.crowded()).sum();
        now + self.0.crowded.load(Ordering::Relaxed)
    }

    /// Has the slots asked for anew.
    pub(super) fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Ends all connections when what is under way is answered, or after a while.
    pub(super) async fn close(&self, Keeper { stop, task }: Keeper) {
        drop(stop);
        // It does not panic, and nothing it waits for is without a bound.
        let _ = task.await;
        self.0.is_closing.store(true, Ordering::Release);
        self.0.asked.send_modify(|count| *count += 1);
        let members = std::mem::take(&mut self.0.write().members);
        join_all(members.iter().map(|member| member.close())).await;
    }

    /// Sends one command to whoever has the slot.
    pub(super) async fn call(
        &self,
        slot: u16,
        due: Instant,
        write: impl FnOnce(&mut Words<'_>),
    ) -> Result<Value, StoreError> {
        let member = self.0.home_of(slot)?;
        let answer = member.pipe.call(due, write).await;
        self.0.learn(answer, &member, due).await
    }

    /// Sends so many commands to whoever has all their slots, and waits for all answers.
    pub(super) async fn call_all(
        &self,
        slot: u16,
        commands: usize,
        due: Instant,
        write: impl FnOnce(&mut Words<'_>),
    ) -> Result<Vec<Value>, StoreError> {
        let member = self.0.home_of(slot)?;
        let answers = member.pipe.call_all(commands, due, write).await;
        self.0.learn(answers, &member, due).await
    }

    /// Whether one master has all of these slots.
    pub(super) fn is_one(&self, slots: impl Iterator<Item = u16>) -> bool {
        self.0.read().is_one(slots)
    }
}

impl Shared {
    fn home_of(&self, slot: u16) -> Result<Arc<Member>, StoreError> {
        let home = self.read().home_of(slot).cloned();
        home.ok_or_else(|| {
            self.doubt.notify_one();
            StoreError::unreachable()
        })
    }

    /// Learns from an answer: a slot that has moved is looked for there from then on. Whoever calls again finds it.
    async fn learn<T>(&self, answer: Result<T, StoreError>, member: &Member, due: Instant) -> Result<T, StoreError> {
        let Err(error) = &answer else { return answer };
        if matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown) {
            let mut asked = self.asked.subscribe();
            self.doubt.notify_one();
            let moved = Moved::read(error, &member.address);
            let is_followed = moved.is_none_or(|moved| self.write().follow(&moved));
            if !is_followed && !self.is_closing.load(Ordering::Acquire) {
                // To somebody who is new here. Nothing took effect, so there is time; an error means that it is over.
                let _ = timeout_at(due, asked.changed()).await;
            }
        }
        answer
    }

    /// The masters that are known, then the seeds, each once.
    fn whom_to_ask(&self) -> Vec<Address> {
        let mut all: Vec<Address> = self.read().members.iter().map(|member| member.address.clone()).collect();
        for seed in &self.seeds {
            if !all.contains(seed) {
                all.push(seed.clone());
            }
        }
        all
    }

    fn is_up(&self) -> bool {
        self.read().members.iter().any(|member| member.pipe.is_up())
    }

    /// Opens pipes to those who are new, and routes by these ranges from then on. Why one could not be opened.
    async fn adopt(&self, ranges: &[Range], patience: Duration) -> Option<StoreError> {
        let strangers = self.read().strangers(ranges).into_iter();
        let opened = join_all(strangers.map(|address| Member::open(self.store.clone(), address, patience))).await;
        let (fresh, failed): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let retired = self.write().adopt(ranges, fresh);
        self.retire(retired);
        // A password that is refused says more than a server that is away.
        let mut failed: Vec<StoreError> = failed.into_iter().flatten().collect();
        let denied = failed.iter().position(|error| error.kind == StoreErrorKind::Denied).unwrap_or(0);
        (!failed.is_empty()).then(|| failed.swap_remove(denied))
    }

    fn retire(&self, members: Vec<Arc<Member>>) {
        for member in members {
            self.crowded.fetch_add(member.pipe.crowded(), Ordering::Relaxed);
            // As many as there are masters, and each has its bound.
            tokio::spawn(async move { member.close().await });
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for the slots whenever the map is in doubt, until the sender of `stopped` is dropped.
async fn keep(shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let rested = Instant::now();
        let look = async {
            shared.doubt.notified().await;
            if rested.elapsed() > LAST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let asked = shared.whom_to_ask();
            let changed = match shared.store.ranges(&asked).await {
                Ok(ranges) => {
                    let changed = !shared.read().is(&ranges);
                    if changed {
                        shared.adopt(&ranges, PATIENCE).await;
                    }
                    changed
                }
                Err(error) => {
                    tracing::warn!(%error, "nobody says who has the slots of the redis cluster; asking again");
                    false
                }
            };
            shared.asked.send_modify(|count| *count += 1);
            if !shared.is_up() {
                // No call is made that could fail.
                shared.doubt.notify_one();
            }
            // While nothing changes it is asked less and less often.
            pause = if changed { FIRST_PAUSE } else { (pause * 2).min(LAST_PAUSE) };
            sleep(pause).await;
        };
        tokio::select! {
            _ = &mut stopped => return,
            () = look => {}
        }
    }
}
