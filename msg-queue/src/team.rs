//! The lanes of a cluster, spread over its workers: each lane is one worker's, and moves when workers come or go.
//!
//! Owns which lanes this worker works on, and their tasks. The team only proposes ([`share`]): whose a lane is, is decided
//! by the lane's own lease and term in Redis, so that two workers that disagree do no harm. A lane that becomes another
//! worker's is drained and given back; whoever is to have it next looks for that again and again. Never reads a lane that
//! Redis does not call this worker's.

mod roll;
mod run;
mod share;
mod tenure;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gim_proto::{Incarnation, Keys, NodeId};
use gim_proxy_sdk::store::Store;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

pub use self::roll::Teammate;
pub use self::share::share;

use self::roll::{Roll, Workers};
use self::run::Run;
use self::tenure::Leave;
use crate::config::{QueueSection, WorkerSection};
use crate::redis::{LaneOptions, RedisSource};
use crate::source::Source;
use crate::worker::{DrainReport, Ports};

/// How long a read of a lane waits for entries.
const BLOCK: Duration = Duration::from_secs(1);
/// How long a lane stays owned without a sign of life.
const LANE_LEASE: Duration = Duration::from_secs(6);

/// What a worker of a team stands on.
pub struct TeamPorts {
    /// Where the lanes are.
    pub store: Store,
    /// Spells the keys.
    pub keys: Keys,
    /// How many lanes there are, as [agreed](gim_proxy_sdk::queue::agree_on_lanes).
    pub lanes: NonZeroU16,
    /// Bounds of a lane.
    pub queue: QueueSection,
    /// How a lane is worked on.
    pub worker: WorkerSection,
    /// What its lanes stand on.
    pub ports: Ports,
    /// This run of the worker, as which it owns lanes.
    pub me: Incarnation,
    /// The worker's name.
    pub id: NodeId,
    /// Runs of workers known to be dead: their lanes are taken at once.
    pub voided: Vec<Incarnation>,
}

/// This process's part of the team. Dropped, it ends at once.
pub struct Team {
    shared: Arc<Shared>,
    drain: watch::Sender<Leave>,
    task: Mutex<Option<AbortOnDropHandle<DrainReport>>>,
}

/// What the team's task, its tenures and who looks on have in common.
struct Shared {
    ports: Ports,
    worker: WorkerSection,
    store: Store,
    keys: Keys,
    lanes: NonZeroU16,
    queue: QueueSection,
    me: Incarnation,
    voided: Vec<Incarnation>,
    workers: watch::Sender<Workers>,
    /// The lanes that are this worker's share.
    mine: Mutex<Vec<u16>>,
    /// The lanes in this worker's hands, owned or waited for.
    sources: Mutex<BTreeMap<u16, Arc<RedisSource>>>,
}

impl Team {
    /// Joins the team and begins to work on its share. Has to be called within a tokio runtime.
    pub fn start(ports: TeamPorts) -> Self {
        let TeamPorts { store, keys, lanes, queue, worker, ports, me, id, voided } = ports;
        let roll = Roll::new(&store, &keys, Teammate { incarnation: me, id }, voided.clone());
        let shared = Arc::new(Shared {
            ports,
            worker,
            store,
            keys,
            lanes,
            queue,
            me,
            voided,
            workers: watch::Sender::new(None),
            mine: Mutex::default(),
            sources: Mutex::default(),
        });
        let (drain, asked) = watch::channel(None);
        let run = Run::new(Arc::clone(&shared), asked).run(roll);
        let task = Mutex::new(Some(AbortOnDropHandle::new(tokio::spawn(run))));
        Self { shared, drain, task }
    }

    /// The lanes that Redis calls this worker's, in order.
    #[must_use]
    pub fn owned(&self) -> Vec<u16> {
        let owned =
            |(lane, source): (&u16, &Arc<RedisSource>)| (source.term() > 0 && source.is_owned()).then_some(*lane);
        lock(&self.shared.sources).iter().filter_map(owned).collect()
    }

    /// The lanes that are this worker's share, in order. It may still wait for some of them.
    #[must_use]
    pub fn share(&self) -> Vec<u16> {
        lock(&self.shared.mine).clone()
    }

    /// The workers that share the lanes, this one among them, as far as is known here.
    #[must_use]
    pub fn workers(&self) -> Vec<Teammate> {
        self.shared.workers.borrow().as_deref().map(<[Teammate]>::to_vec).unwrap_or_default()
    }

    /// Leaves the team: all lanes are drained side by side, as [`LaneHandle::drain`](crate::worker::LaneHandle::drain)
    /// says, and given back. The second call finds nothing to do.
    pub async fn drain(&self, deadline: Instant) -> DrainReport {
        let task = lock(&self.task).take();
        self.drain.send_replace(Some(deadline));
        match task {
            Some(task) => task.await.unwrap_or_default(),
            None => DrainReport::default(),
        }
    }
}

impl Shared {
    /// Makes the source of a lane. It takes the lane when it is first read.
    fn take(&self, lane: u16) -> Arc<RedisSource> {
        let options = LaneOptions {
            lane,
            owner: self.me,
            voided: self.voided.clone(),
            section: self.queue.clone(),
            keys: self.keys.clone(),
            block: BLOCK,
            lease: LANE_LEASE,
        };
        let source = RedisSource::new(&self.store, options, Arc::clone(&self.ports.observer));
        lock(&self.sources).insert(lane, Arc::clone(&source));
        source
    }

    fn left(&self, lane: u16) {
        lock(&self.sources).remove(&lane);
    }

    /// Takes note of this worker's share. False: it is what it was.
    fn shares(&self, lanes: &[u16]) -> bool {
        let mut mine = lock(&self.mine);
        let differs = *mine != lanes;
        *mine = lanes.to_vec();
        differs
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
