//! The node, with its worker, is killed and started again under its name while messages go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gim_proxy_sdk::testing::RedisServer;

use crate::support::eventually;
use crate::support::lanes::Lanes;
use crate::support::node::Spec;
use crate::support::oracle::judge;
use crate::support::recorder::{Plan, Recorder, all_reach_the_end};
use crate::support::traffic::{People, Traffic};

const ENTRIES: usize = 100_000;
const PER_SECOND: usize = 3_000;
/// Large enough that the lane is at work when the node dies.
const BATCH: usize = 1_000;
const KILLS: usize = 10;
/// The last fifth of the users comes back after four times this.
const BACK: Duration = Duration::from_millis(100);
const PEOPLE: People = People { users: 50, groups: 5 };
/// Entries read and not settled, at most: the setting of the node.
const WINDOW: usize = 20_000;

async fn survive(lane_count: u16, entries: usize) {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis).lanes(lane_count).set("worker.unsettled_messages", WINDOW);
    let lanes = Lanes::new(&spec, &redis);
    let run = Arc::new(AtomicUsize::new(0));
    let mut node = spec.start().await;
    let plan = Plan { people: PEOPLE, node: spec.public(), run: Arc::clone(&run), back: Some(BACK) };
    let recorders = plan.connect_all().await;

    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    let producing = async {
        traffic.produce(entries, BATCH, PER_SECOND).await;
        &traffic
    };
    let mut deaths = Vec::new();
    let mut slowest = Duration::ZERO;
    let killing = async {
        let span = Duration::from_secs_f64(entries as f64 / PER_SECOND as f64);
        let begin = tokio::time::Instant::now();
        for kill in 1..=KILLS {
            // At another moment of a batch's way each time.
            let moment = span.mul_f64(kill as f64 / (KILLS + 1) as f64) + Duration::from_millis(37) * kill as u32;
            tokio::time::sleep_until(begin + moment).await;
            node.kill();
            deaths.push(lanes.progress().await);
            run.fetch_add(1, Ordering::SeqCst);
            let begun = tokio::time::Instant::now();
            node = spec.start().await;
            slowest = slowest.max(begun.elapsed());
        }
    };
    tokio::join!(producing, killing);
    all_are_back(&recorders, KILLS).await;
    // Everybody is here: from now on nothing may be missed.
    let marked = traffic.total();
    traffic.produce(500, BATCH, PER_SECOND).await;
    all_reach_the_end(&recorders, PEOPLE, &traffic).await;
    lanes.settle().await;
    let counts = judge(&traffic, PEOPLE, &recorders, &deaths);
    let unsettled: Vec<usize> =
        deaths.iter().map(|lanes| lanes.iter().map(|lane| lane.pending.len()).sum::<usize>()).collect();
    let unrestored: usize = recorders.iter().map(lost_groups).sum();
    eprintln!(
        "killed {KILLS} times, {lane_count} lane(s), {marked} entries: {counts}; unsettled at each death {unsettled:?}; \
         groups not restored {unrestored}; slowest start {slowest:?}"
    );
    assert_eq!(node.metric("gim_slow_dropped_total", "").await, 0);
    assert_eq!(counts.due, counts.seen + counts.away + counts.in_outbox);
    assert_eq!(unrestored, 0, "a client that came back with its session has to find its group");
    let redelivered: usize = unsettled.iter().sum::<usize>() * (PEOPLE.users / PEOPLE.groups);
    assert!(counts.again <= redelivered, "{} seen again, {redelivered} could be", counts.again);
    assert!(counts.late <= redelivered, "{} late, {redelivered} could be", counts.late);
    assert!(slowest < Duration::from_secs(2), "a restart took {slowest:?}");
}

async fn all_are_back(recorders: &[Recorder], run: usize) {
    for recorder in recorders {
        eventually("everybody to be back", || async {
            let log = recorder.log();
            let last = log.last()?;
            (last.run == run && last.joined && last.end.is_none()).then_some(())
        })
        .await;
    }
}

fn lost_groups(recorder: &Recorder) -> usize {
    let log = recorder.log();
    log.iter().skip(1).filter(|connection| !connection.session.is_empty() && !connection.restored).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_deaths_of_the_node_lose_nothing_but_what_live_may_lose() {
    survive(1, ENTRIES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_deaths_lose_nothing_more_with_four_lanes() {
    survive(4, ENTRIES / 2).await;
}

const TOGETHER: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_and_redis_die_together_and_come_back_with_what_redis_kept() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let spec = Spec::new(&redis).lanes(2);
    let lanes = Lanes::new(&spec, &redis);
    let run = Arc::new(AtomicUsize::new(0));
    let mut node = spec.start().await;
    let plan = Plan { people: PEOPLE, node: spec.public(), run: Arc::clone(&run), back: Some(Duration::ZERO) };
    let recorders = plan.connect_all().await;
    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    let mut deaths = Vec::new();
    for death in 1..=TOGETHER {
        let dying = async {
            tokio::time::sleep(Duration::from_millis(413) * u32::try_from(death).unwrap()).await;
            // One after the other, in either order.
            if death % 2 == 0 {
                redis.stop();
                node.kill();
            } else {
                node.kill();
                redis.stop();
            }
            redis.restart().await;
            deaths.push(lanes.progress().await);
            run.fetch_add(1, Ordering::SeqCst);
            node = spec.start().await;
        };
        tokio::join!(traffic.produce(5_000, 500, PER_SECOND), dying);
        all_are_back(&recorders, death).await;
    }
    traffic.produce(500, BATCH, PER_SECOND).await;
    all_reach_the_end(&recorders, PEOPLE, &traffic).await;
    lanes.settle().await;
    let counts = judge(&traffic, PEOPLE, &recorders, &deaths);
    let unsettled: usize = deaths.iter().flatten().map(|lane| lane.pending.len()).sum();
    eprintln!("node and redis killed together {TOGETHER} times: {counts}; unsettled then {unsettled}");
    assert!(counts.again + counts.late <= unsettled * (PEOPLE.users / PEOPLE.groups));
    assert_eq!(recorders.iter().map(lost_groups).sum::<usize>(), 0);
}
