//! What goes wrong and when: drawn from a seed before anything begins, so that the same seed brings the same again.

use std::time::Duration;

/// Numbers that are the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Seeds that differ by one begin alike.
        for _ in 0..8 {
            dice.roll(2);
        }
        dice
    }

    pub(crate) fn roll(&mut self, sides: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides).expect("small")
    }

    /// Something between these, in milliseconds.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll(to - from) as u64)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    NodeKilled,
    NodeFrozen,
    NodeRestarted,
    NodeToRedisCut,
    NodeToRedisSilent,
    NodeCallsCut,
    NodeCallsSlow,
    NodeToEtcdCut,
    WorkerKilled,
    WorkerFrozen,
    WorkerRestarted,
    WorkerToRedisCut,
    WorkerToRedisSilent,
    RedisKilled,
    RedisFrozen,
    EtcdKilled,
    EtcdFrozen,
}

use Fault::*;

const OF_NODES: [Fault; 8] = [
    NodeKilled,
    NodeFrozen,
    NodeRestarted,
    NodeToRedisCut,
    NodeToRedisSilent,
    NodeCallsCut,
    NodeCallsSlow,
    NodeToEtcdCut,
];
const OF_WORKERS: [Fault; 5] = [WorkerKilled, WorkerFrozen, WorkerRestarted, WorkerToRedisCut, WorkerToRedisSilent];
const OF_SERVERS: [Fault; 4] = [RedisKilled, RedisFrozen, EtcdKilled, EtcdFrozen];

impl Fault {
    /// As people read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            NodeKilled => "node killed",
            NodeFrozen => "node frozen",
            NodeRestarted => "node restarted",
            NodeToRedisCut => "node-Redis cut",
            NodeToRedisSilent => "node-Redis silent",
            NodeCallsCut => "calls to a node cut",
            NodeCallsSlow => "calls to a node slow",
            NodeToEtcdCut => "node-etcd cut",
            WorkerKilled => "worker killed",
            WorkerFrozen => "worker frozen",
            WorkerRestarted => "worker restarted",
            WorkerToRedisCut => "worker-Redis cut",
            WorkerToRedisSilent => "worker-Redis silent",
            RedisKilled => "Redis killed",
            RedisFrozen => "Redis frozen",
            EtcdKilled => "etcd killed",
            EtcdFrozen => "etcd frozen",
        }
    }

    /// How long it lasts, from and to, milliseconds. Nodes and workers also beyond their leases.
    const fn span(self) -> (u64, u64) {
        match self {
            NodeFrozen | NodeToRedisCut | NodeToRedisSilent => (200, 12_500),
            WorkerFrozen | WorkerToRedisSilent => (200, 8_000),
            RedisKilled | RedisFrozen => (50, 1_500),
            _ => (100, 2_500),
        }
    }
}

/// One thing that goes wrong, some time after the one before of its kind is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    /// Which node or worker.
    pub(crate) at: usize,
    pub(crate) span: Duration,
}

/// Three things may go wrong at once: one of nodes, one of workers, one of servers.
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) nodes: Vec<Strike>,
    pub(crate) workers: Vec<Strike>,
    pub(crate) servers: Vec<Strike>,
}

impl Schedule {
    /// Draws what happens within a time.
    pub(crate) fn of(seed: u64, time: Duration, nodes: usize, workers: usize) -> Self {
        let mut dice = Dice::new(seed);
        let longest = u64::try_from(time.as_millis() / 3).expect("not for ever");
        let mut draw = |kinds: &[Fault], count: usize| {
            let (mut strikes, mut over) = (Vec::new(), Duration::ZERO);
            loop {
                let fault = kinds[dice.roll(kinds.len() as u64)];
                let (from, to) = fault.span();
                let (pause, at) = (dice.between(400, 3_000), dice.roll(count as u64));
                let strike = Strike { pause, fault, at, span: dice.between(from, to.min(longest).max(from + 1)) };
                over += strike.pause + strike.span;
                if over > time {
                    return strikes;
                }
                strikes.push(strike);
            }
        };
        Self { seed, nodes: draw(&OF_NODES, nodes), workers: draw(&OF_WORKERS, workers), servers: draw(&OF_SERVERS, 1) }
    }
}
