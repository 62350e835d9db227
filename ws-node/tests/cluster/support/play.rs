//! One cluster with its people, through one fault after the other, while messages go on.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::cluster::Cluster;
use super::lanes::Lanes;
use super::now_ms;
use super::oracle::{Counts, Window, judge};
use super::recorder::{Plan, Recorder, all_are_there, all_reach_the_end};
use super::traffic::{People, Traffic};

/// Users on three nodes, so that each group has members on each.
pub(crate) const PEOPLE: People = People { users: 30, groups: 4 };
const PER_SECOND: usize = 500;
const BATCH: usize = 25;
/// How long messages flow before a fault, and after everybody is back.
const AROUND: Duration = Duration::from_millis(600);

/// See the module.
pub(crate) struct Play {
    pub(crate) cluster: Cluster,
    pub(crate) plan: Plan,
    pub(crate) traffic: Traffic,
    pub(crate) recorders: Vec<Recorder>,
    /// When messages may be lost.
    pub(crate) windows: Vec<Window>,
    lanes: Lanes,
}

/// How long users had to wait for the first message that was accepted after a fault had begun.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach(Vec<Duration>);

impl Reach {
    pub(crate) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// How many users were reached.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn worst(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median {:?}, worst {:?} ({})", self.median(), self.worst(), self.0.len())
    }
}

/// What a fault came to.
pub(crate) struct Outcome {
    /// Until those whom the fault struck were reached again.
    pub(crate) struck: Reach,
    /// The longest that anybody else waited for a message.
    pub(crate) others: Duration,
    /// When it began, Unix milliseconds.
    pub(crate) from: u64,
}

impl Play {
    /// Connects everybody.
    pub(crate) async fn begin(cluster: Cluster) -> Self {
        let plan = Plan::new(PEOPLE, cluster.nodes.iter().map(|node| node.public));
        Self::with(cluster, plan).await
    }

    /// The same with clients that live otherwise.
    pub(crate) async fn with(cluster: Cluster, plan: Plan) -> Self {
        let recorders = plan.connect_all().await;
        let (traffic, lanes) = (cluster.traffic(plan.people), cluster.lanes());
        Self { cluster, plan, traffic, recorders, windows: Vec::new(), lanes }
    }

    /// Who is connected to the node of this place.
    pub(crate) fn users_on(&self, node: usize) -> Vec<usize> {
        let there = self.recorders.iter().filter(|recorder| recorder.node() == node);
        there.map(|recorder| recorder.user).collect()
    }

    /// Lets something happen while messages go on, and waits until everybody is there again and has seen everything.
    pub(crate) async fn through(
        &mut self,
        what: &str,
        struck: &[usize],
        act: impl AsyncFnOnce(&mut Cluster),
    ) -> Outcome {
        let begun = Instant::now();
        let before = self.traffic.total();
        let mut to = 0;
        let Self { cluster, traffic, recorders, .. } = self;
        pushing(traffic, async {
            sleep(AROUND).await;
            cluster.strikes();
            act(cluster).await;
            to = now_ms();
            all_are_there(recorders).await;
            sleep(AROUND).await;
        })
        .await;
        all_reach_the_end(&self.recorders, self.plan.people, &self.traffic).await;
        self.lanes.settle().await;
        let from = self.cluster.struck;
        let outcome = Outcome { struck: self.reach(struck, from), others: self.longest_wait(struck, from, to), from };
        let entries = self.traffic.total() - before;
        let Outcome { struck, others, .. } = &outcome;
        eprintln!(
            "{what}: {entries} entries in {:.1?}; reached again: {struck}; longest wait of the others {others:?}",
            begun.elapsed()
        );
        outcome
    }

    /// Until each of these users saw something that was accepted after a moment.
    pub(crate) fn reach(&self, users: &[usize], from: u64) -> Reach {
        let mut waits: Vec<Duration> = users.iter().filter_map(|user| self.wait_of(*user, from)).collect();
        waits.sort();
        Reach(waits)
    }

    fn wait_of(&self, user: usize, from: u64) -> Option<Duration> {
        let uid = People::uid(user);
        let log = self.recorders[user].log();
        let seen = log.iter().filter_map(|connection| connection.seen.get(&uid)).flatten();
        let after = seen.filter(|seen| self.traffic.entry(&uid, seen.number).1.ms >= from);
        after.map(|seen| seen.at).min().map(|at| Duration::from_millis(at.saturating_sub(from)))
    }

    /// From acceptance to sight, of all that was accepted in a span for users other than these.
    fn longest_wait(&self, but: &[usize], from: u64, to: u64) -> Duration {
        let mut longest = 0;
        for recorder in self.recorders.iter().filter(|recorder| !but.contains(&recorder.user)) {
            let uid = People::uid(recorder.user);
            let log = recorder.log();
            for seen in log.iter().filter_map(|connection| connection.seen.get(&uid)).flatten() {
                let accepted = self.traffic.entry(&uid, seen.number).1.ms;
                if (from..=to).contains(&accepted) {
                    longest = longest.max(seen.at.saturating_sub(accepted));
                }
            }
        }
        Duration::from_millis(longest)
    }

    /// Every client's connection is the one that every node names.
    pub(crate) async fn one_owner_each(&self) {
        for recorder in &self.recorders {
            let (named, fence) = {
                let log = recorder.log();
                let last = log.last().expect("it connected");
                (last.named.clone(), last.fence)
            };
            self.cluster.agrees(&People::uid(recorder.user), &named, fence).await;
        }
    }

    /// Judges everybody, one count for each user. Tells the sum.
    pub(crate) async fn judge(&self, what: &str) -> Vec<Counts> {
        self.one_owner_each().await;
        let counts = judge(&self.traffic, self.plan.people, &self.recorders, &self.windows);
        let slow = self.cluster.of_nodes("gim_slow_dropped_total", "").await;
        assert!(slow < 1.0, "{slow} messages were dropped because a client of the test read too slowly");
        eprintln!("{what}: {} entries, {}", self.traffic.total(), counts.iter().copied().sum::<Counts>());
        counts
    }

    /// Everybody stayed connected, and saw everything once and in order.
    pub(crate) async fn nobody_noticed(&self, what: &str) {
        let counts: Counts = self.judge(what).await.into_iter().sum();
        assert!(self.recorders.iter().all(Recorder::is_on_its_first_connection), "{what}: a client was closed");
        assert!(counts.is_exact(), "{what}: {counts}");
    }
}

/// Puts messages on the queue for as long as something takes.
pub(crate) async fn pushing<T>(traffic: &mut Traffic, meanwhile: impl Future<Output = T>) -> T {
    let over = Cell::new(false);
    let mut pace = interval(Duration::from_secs_f64(BATCH as f64 / PER_SECOND as f64));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let push = async {
        while !over.get() {
            pace.tick().await;
            traffic.batch(BATCH).await;
        }
    };
    let meanwhile = async {
        let value = meanwhile.await;
        over.set(true);
        value
    };
    tokio::join!(push, meanwhile).1
}
