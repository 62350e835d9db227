//! Each link is cut, and falls silent, and heals, while messages go on. All processes live.

use std::time::Duration;

use tokio::time::sleep;

use crate::nodes::untouched;
use crate::support::cluster::Cluster;
use crate::support::link::{Link, Mode};
use crate::support::node::Spec;
use crate::support::oracle::{Counts, Window};
use crate::support::play::Play;
use crate::support::traffic::People;
use crate::support::{eventually, now_ms};

/// Within all leases, and beyond all of them.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(13);
const FAULTS: [Mode; 2] = [Mode::Cut, Mode::Silent];

async fn break_for(link: &Link, mode: Mode, span: Duration) {
    link.set(mode);
    sleep(span).await;
    link.set(Mode::Pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_node_and_redis() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let users = play.users_on(0);
    for mode in FAULTS {
        let what = format!("node 1 and redis, {mode:?} for {SHORT:?}");
        let apart = play.through(&what, &users, async |cluster| break_for(&cluster.nodes[0].redis, mode, SHORT).await);
        let others = apart.await.others;
        assert!(others < Duration::from_secs(2), "others waited {others:?}");
    }
    play.nobody_noticed("node and redis apart within the lease").await;
    for mode in FAULTS {
        let mut on_record = 0;
        let what = format!("node 1 and redis, {mode:?} for {LONG:?}");
        let apart = play
            .through(&what, &users, async |cluster| {
                break_for(&cluster.nodes[0].redis, mode, LONG).await;
                all_on_record(cluster, &users).await;
                on_record = now_ms();
            })
            .await;
        // Its lease had ended: until it had recorded its users anew they were offline.
        play.windows.push(Window { users: users.clone(), from: apart.from, to: on_record });
        assert!(apart.others < Duration::from_secs(2), "others waited {:?}", apart.others);
    }
    let counts = play.judge("node and redis apart beyond the lease").await;
    untouched(&play, &counts, &users);
    let of_users: Counts = users.iter().map(|user| counts[*user]).sum();
    eprintln!("  of the users of that node: {of_users}");
    assert_eq!((of_users.again, of_users.late, of_users.superseded), (0, 0, 0));
    assert!(users.iter().all(|user| play.recorders[*user].is_on_its_first_connection()), "a client was closed");
}

/// Waits until every node names these users online.
async fn all_on_record(cluster: &Cluster, users: &[usize]) {
    for user in users {
        let uid = People::uid(*user);
        eventually("a user to be on record again", || async {
            cluster.shown(&uid).await.iter().all(|shown| shown["online"] == true).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_node_and_workers() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let users = play.users_on(0);
    for mode in FAULTS.into_iter().chain([Mode::Slow(Duration::from_millis(40))]) {
        let what = format!("node 1 and whoever calls it, {mode:?} for {SHORT:?}");
        let apart = play.through(&what, &users, async |cluster| break_for(&cluster.nodes[0].called, mode, SHORT).await);
        let others = apart.await.others;
        assert!(others < SHORT, "others waited {others:?} for a node that cannot be reached");
    }
    play.nobody_noticed("node and workers apart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_worker_and_redis() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let all: Vec<usize> = (0..play.plan.people.users).collect();
    for span in [SHORT, LONG] {
        for mode in FAULTS {
            let what = format!("worker 1 and redis, {mode:?} for {span:?}");
            let apart =
                play.through(&what, &all, async |cluster| break_for(&cluster.workers[0].redis, mode, span).await);
            let struck = apart.await.struck;
            assert!(struck.worst() < LONG, "a lane that nobody works on goes to somebody else: {struck}");
        }
    }
    play.nobody_noticed("worker and redis apart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_anybody_and_etcd() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let all: Vec<usize> = (0..play.plan.people.users).collect();
    for (mode, span) in [(Mode::Cut, SHORT), (Mode::Silent, SHORT), (Mode::Silent, LONG)] {
        let what = format!("node 1, worker 1 and etcd, {mode:?} for {span:?}");
        let apart = play
            .through(&what, &all, async |cluster| {
                let Cluster { nodes, workers, .. } = &*cluster;
                tokio::join!(break_for(&nodes[0].etcd, mode, span), break_for(&workers[0].etcd, mode, span));
            })
            .await;
        assert!(apart.struck.worst() < Duration::from_secs(2), "etcd is on nobody's way: {}", apart.struck);
    }
    play.nobody_noticed("etcd apart from node and worker").await;
}
