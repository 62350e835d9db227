//! Nodes die and stand still while messages go on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gim_proxy_sdk::testing::RedisServer;
use tokio::time::sleep;

use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::oracle::{Counts, Window};
use crate::support::play::{PEOPLE, Play};
use crate::support::recorder::{Plan, Recorder};
use crate::support::traffic::People;
use crate::support::{eventually, now_ms};

/// Well within the lease of a node, and beyond it.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(13);
/// Silence after which a client goes elsewhere.
const PATIENCE_MS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_killed_node_are_served_elsewhere_at_once_and_nobody_else_notices() {
    let cluster = Cluster::on(lasting().await, Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let mut struck: Vec<usize> = Vec::new();
    for round in 0..2 {
        let users = play.users_on(round);
        let killed = play
            .through(&format!("node {} killed", round + 1), &users, async |cluster| cluster.nodes[round].kill())
            .await;
        assert_eq!(killed.struck.count(), users.len());
        assert!(killed.struck.worst() < Duration::from_secs(5), "{}", killed.struck);
        assert!(killed.others < Duration::from_secs(5), "others waited {:?}", killed.others);
        struck.extend(&users);
        // It comes back under its name, and is part of everything again.
        play.through("it is started again", &[], async |cluster| {
            cluster.nodes[round].start().await;
            cluster.assembled().await;
        })
        .await;
    }
    let counts = play.judge("nodes killed").await;
    untouched(&play, &counts, &struck);
    // What a live message may cost when its node dies: those in its outboxes, or on their way while nobody was there.
    let of_struck: Counts = struck.iter().map(|user| counts[*user]).sum();
    eprintln!("  of the users of killed nodes: {of_struck}");
    assert_eq!(of_struck.superseded, 0, "a dead node delivers nothing");
    all_restored(&play.recorders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_within_its_lease_loses_nothing_and_no_client() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut play = Play::begin(cluster).await;
    let users = play.users_on(0);
    let frozen = play
        .through("node 1 frozen for 3 s and thawed", &users, async |cluster| {
            cluster.nodes[0].freeze();
            sleep(SHORT).await;
            cluster.nodes[0].thaw();
        })
        .await;
    assert!(frozen.others < SHORT, "others waited {:?} for a node that stands still", frozen.others);
    play.nobody_noticed("a node frozen within its lease").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_frozen_beyond_its_lease_does_no_harm_when_it_is_thawed() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let plan = Plan {
        // Every other one of those on the frozen node.
        is_impatient: |user| user % 6 == 0,
        ..Plan::new(PEOPLE, cluster.nodes.iter().map(|node| node.public))
    };
    plan.patience.store(PATIENCE_MS, Ordering::SeqCst);
    let mut play = Play::with(cluster, plan).await;
    let users = play.users_on(0);
    let (moving, staying): (Vec<usize>, Vec<usize>) = users.iter().partition(|user| (play.plan.is_impatient)(**user));
    let mut on_record = 0;
    let frozen = play
        .through("node 1 frozen for 13 s and thawed", &users, async |cluster| {
            cluster.nodes[0].freeze();
            sleep(LONG).await;
            cluster.nodes[0].thaw();
            for user in &staying {
                let uid = People::uid(*user);
                let is_back = async || cluster.shown(&uid).await.iter().all(|shown| shown["online"] == true);
                eventually("a user who stayed to be on record again", || async { is_back().await.then_some(()) }).await;
            }
            on_record = now_ms();
        })
        .await;
    let moved = play.reach(&moving, frozen.from);
    eprintln!("  those who went elsewhere were reached again: {moved}");
    assert_eq!(moved.count(), moving.len());
    assert!(moved.worst() < Duration::from_millis(PATIENCE_MS) + SHORT, "{moved}");
    assert!(frozen.others < SHORT, "others waited {:?}", frozen.others);
    // Their node was dead to all others from the end of its lease until it had recorded them anew: offline.
    let in_flight = 1_000;
    play.windows.push(Window { users: staying.clone(), from: frozen.from - in_flight, to: on_record });
    let counts = play.judge("a node frozen beyond its lease").await;
    untouched(&play, &counts, &users);
    let of = |users: &[usize]| users.iter().map(|user| counts[*user]).sum::<Counts>();
    eprintln!("  of those who went elsewhere: {}", of(&moving));
    eprintln!("  of those who stayed: {}", of(&staying));
    assert_eq!((of(&staying).again, of(&staying).late), (0, 0));
    assert_eq!(of(&moving).superseded, 0, "a node without its lease delivers nothing");
    assert!(staying.iter().all(|user| play.recorders[*user].is_on_its_first_connection()), "one who stayed was closed");
    for user in &moving {
        let log = play.recorders[*user].log();
        let end = log[0].end.map(|(code, _)| code);
        assert!(matches!(end, Some(4003 | 4501)), "the connection that u{user} had left ended with {end:?}");
    }
    all_restored(&play.recorders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_a_node_that_stood_still_is_not_served_there_any_more() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let plan =
        Plan { is_impatient: |user| user % 3 == 0, ..Plan::new(PEOPLE, cluster.nodes.iter().map(|node| node.public)) };
    plan.patience.store(PATIENCE_MS, Ordering::SeqCst);
    let mut play = Play::with(cluster, plan).await;
    let users = play.users_on(0);
    // Everybody has gone elsewhere when it goes on, within its lease: it has lost nothing but them.
    let frozen = play
        .through("node 1 frozen for 5 s, left by its users, and thawed", &users, async |cluster| {
            cluster.nodes[0].freeze();
            sleep(Duration::from_millis(PATIENCE_MS) + SHORT).await;
            cluster.nodes[0].thaw();
        })
        .await;
    let thawed = frozen.from + PATIENCE_MS + u64::try_from(SHORT.as_millis()).unwrap();
    let mut ends = Vec::new();
    for user in &users {
        let recorder = &play.recorders[*user];
        let (code, at) = eventually("the connection before to be closed", || async { recorder.log()[0].end }).await;
        assert_eq!(code, 4501, "u{user}");
        ends.push(at.saturating_sub(thawed));
    }
    let counts = play.judge("a node left while it stood still").await;
    untouched(&play, &counts, &users);
    let of_users: Counts = users.iter().map(|user| counts[*user]).sum();
    eprintln!("  of those who left: {of_users}; their connections there ended {ends:?} ms after it went on");
    all_restored(&play.recorders);
}

async fn lasting() -> RedisServer {
    RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await
}

/// Those whom no fault struck saw everything, once and in order, on the connection they have had all the time.
pub(crate) fn untouched(play: &Play, counts: &[Counts], struck: &[usize]) {
    for user in (0..PEOPLE.users).filter(|user| !struck.contains(user)) {
        assert!(play.recorders[user].is_on_its_first_connection(), "u{user} was closed");
        assert!(counts[user].is_exact(), "u{user}: {}", counts[user]);
    }
}

/// How long after it failed a login may still be granted.
const GRANTED_LATE_MS: u64 = 10_000;

/// Whoever came back with the session of a connection that was in its group found it. Not where a login that
/// failed was granted after all: the groups are with that one.
pub(crate) fn all_restored(recorders: &[Recorder]) {
    let mut lost = Vec::new();
    for recorder in recorders {
        for (at, pair) in recorder.log().windows(2).enumerate() {
            let [before, now] = pair else { continue };
            let is_due = before.joined.is_some() && now.presented && !now.restored;
            let Some(ready) = now.ready.filter(|_| is_due) else { continue };
            if now.gave_up.is_none_or(|gave_up| ready > gave_up + GRANTED_LATE_MS) {
                lost.push(format!(
                    "u{} on connection {}: in its group on {} since {:?}, left it at {:?} (end {:?}), came to {} at {:?}",
                    recorder.user,
                    at + 1,
                    before.named,
                    before.joined,
                    before.abandoned,
                    before.end,
                    now.named,
                    now.ready
                ));
            }
        }
    }
    assert!(lost.is_empty(), "{} came back with their session and were in no group:\n{}", lost.len(), lost.join("\n"));
}
