//! Nothing fails: every message is where it belongs.

use tokio::time::Instant;

use crate::nodes::untouched;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::play::{PEOPLE, Play};
use crate::support::program::Program;
use crate::support::recorder::all_reach_the_end;

/// One in eleven is to a group.
const ENTRIES: usize = 11_000;
const BATCH: usize = 200;
const PER_SECOND: usize = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_direct_and_a_thousand_group_messages_are_each_where_they_belong_once_and_in_order() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    // On each node somebody who is in no group, and to whom nobody writes.
    let mut strangers = Vec::new();
    for (at, node) in play.cluster.nodes.iter().enumerate() {
        strangers.push(Client::user(node.public, &format!("stranger{at}")).await);
    }
    let begun = Instant::now();
    play.traffic.produce(ENTRIES, BATCH, PER_SECOND).await;
    all_reach_the_end(&play.recorders, PEOPLE, &play.traffic).await;
    let took = begun.elapsed();
    play.cluster.lanes().settle().await;

    let groups: usize = (0..PEOPLE.groups).map(|group| play.traffic.accepted(&format!("g{group}"))).sum();
    assert_eq!((play.traffic.total() - groups, groups), (10_000, 1_000));
    for stranger in &mut strangers {
        stranger.expect_silence().await;
    }
    play.nobody_noticed(&format!("nothing fails, 3 nodes, 2 workers, {took:.1?}")).await;
    nothing_is_dead(&play.cluster.workers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_work_on_the_queue_themselves_need_no_worker_beside_them() {
    let cluster = Cluster::start(Spec::new(4).set("worker.embedded", true), 3, 0).await;
    let mut play = Play::begin(cluster).await;
    let users = play.users_on(0);
    play.through("nodes with lanes", &[], async |_| {}).await;
    // Its lanes go to the others, and its users with them.
    let killed = play.through("one of them killed", &users, async |cluster| cluster.nodes[0].kill()).await;
    assert_eq!(killed.struck.count(), users.len());
    play.through("it is started again", &[], async |cluster| {
        cluster.nodes[0].start().await;
        cluster.assembled().await;
    })
    .await;
    let counts = play.judge("nodes with lanes").await;
    untouched(&play, &counts, &users);
    nothing_is_dead(&play.cluster.nodes).await;
}

pub(crate) async fn nothing_is_dead(workers: &[Program]) {
    for worker in workers {
        assert!(worker.metric("gim_worker_dead_total", "").await < 1.0, "{} has dead letters", worker.id);
    }
}
