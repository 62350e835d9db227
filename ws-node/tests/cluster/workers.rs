//! Workers die, stand still, come and go while messages go on. Users never notice more than a delay.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::cluster::Cluster;
use crate::support::link::Mode;
use crate::support::node::Spec;
use crate::support::play::Play;

/// Within the lease of a lane, and beyond it.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(13);
/// How late a worker hears of nodes, before it is killed.
const SLOW: Duration = Duration::from_millis(200);
/// The lease of a lane with what a busy machine adds.
const MOVED: Duration = Duration::from_secs(10);

fn everybody(play: &Play) -> Vec<usize> {
    (0..play.plan.people.users).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_or_stands_still_loses_nothing_repeats_nothing_and_reorders_nothing() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let all = everybody(&play);
    let killed = play
        .through("worker 1 killed and not started again", &all, async |cluster| {
            // It dies before it has heard of what the nodes have taken: all of that comes again.
            cluster.nodes.iter().for_each(|node| node.called.set(Mode::Slow(SLOW)));
            sleep(5 * SLOW).await;
            cluster.strikes();
            cluster.workers[0].kill();
            cluster.nodes.iter().for_each(|node| node.called.set(Mode::Pass));
            cluster.spread(1).await;
        })
        .await;
    assert!(killed.struck.worst() < MOVED, "{}", killed.struck);
    let recalled = play.cluster.of_nodes("gim_outcomes_recalled_total", "").await;
    eprintln!("  came again and was answered from memory: {recalled}");
    assert!(recalled > 0.0, "nothing came again, so nothing was shown");
    play.through("worker 1 started again", &all, async |cluster| {
        cluster.workers[0].start().await;
        cluster.spread(2).await;
    })
    .await;
    play.through("worker 1 frozen for 3 s and thawed", &all, async |cluster| {
        cluster.workers[0].freeze();
        sleep(SHORT).await;
        cluster.workers[0].thaw();
    })
    .await;
    let frozen = play
        .through("worker 2 frozen for 13 s and thawed", &all, async |cluster| {
            cluster.workers[1].freeze();
            sleep(LONG).await;
            cluster.workers[1].thaw();
            cluster.spread(2).await;
        })
        .await;
    assert!(frozen.struck.worst() < MOVED, "{}", frozen.struck);
    play.nobody_noticed("workers killed and frozen").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_move_when_workers_come_and_go_and_keep_their_order() {
    let cluster = Cluster::start(Spec::new(8), 3, 1).await;
    let mut play = Play::begin(cluster).await;
    let all = everybody(&play);
    for joining in 2..=3 {
        play.through(&format!("worker {joining} joins"), &all, async |cluster| {
            cluster.new_worker().start().await;
            cluster.spread(joining).await;
        })
        .await;
    }
    let left = play
        .through("worker 1 leaves", &all, async |cluster| {
            let begun = Instant::now();
            cluster.workers[0].stop();
            let code = cluster.workers[0].ended().await;
            assert_eq!(code, Some(0), "{}", cluster.workers[0].log());
            cluster.spread(2).await;
            eprintln!("  its lanes had moved after {:.1?}", begun.elapsed());
        })
        .await;
    assert!(left.struck.worst() < Duration::from_secs(3), "a worker that leaves gives its lanes back: {}", left.struck);
    let killed = play
        .through("worker 2 is killed", &all, async |cluster| {
            cluster.workers[1].kill();
            cluster.spread(1).await;
        })
        .await;
    assert!(killed.struck.worst() < MOVED, "{}", killed.struck);
    play.nobody_noticed("workers came and went").await;
}
