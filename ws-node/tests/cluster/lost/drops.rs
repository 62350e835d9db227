//! Clients that drop for two seconds again and again while durable messages flow, in each mode: the measure that others
//! publish (docs/semantics.md has their figures).

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gim_proxy_sdk::testing::prefix;
use tokio::time::sleep;

use super::app::{App, Reach};
use super::flow::{Crowd, Flow};
use super::schedule::Dice;
use super::verdict::Verdict;
use super::{all_is_seen_of, pour};
use crate::support::cluster::Cluster;
use crate::support::node::Spec;

const CROWD: Crowd = Crowd { users: 20, groups: 4 };
/// How often each of them drops, and for how long.
const DROPS: usize = 3;
const AWAY: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_second_drops_lose_and_repeat_nothing_in_mode_local() {
    dropped("local", 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_second_drops_lose_and_repeat_nothing_in_mode_redis() {
    dropped("redis", 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_second_drops_lose_and_repeat_nothing_in_mode_cluster() {
    dropped("cluster", 2, 1).await;
}

async fn dropped(mode: &str, nodes: usize, workers: usize) {
    // A folder of its own: ids that an earlier run used are repeats for ten minutes.
    let kept = std::env::temp_dir().join(format!("gim-kept-{}", prefix()));
    let spec = Spec::new(4).set("mode", mode).set("worker.embedded", workers == 0);
    let spec = spec.set("local.path", kept.display());
    let cluster = Cluster::start_of_mode(spec, nodes, workers).await;
    let publics: Arc<[_]> = cluster.nodes.iter().map(|node| node.public).collect();
    let start = |at: usize| {
        App::start(format!("u{at}"), Some(format!("g{}", at % CROWD.groups)), Arc::clone(&publics), at % nodes)
    };
    let apps: Vec<App> = (0..CROWD.users).map(start).collect();
    join_all(apps.iter().map(App::is_in)).await;
    let mut flow = Flow::new(CROWD, cluster.nodes.iter().map(|node| node.admin).collect());
    let over = Cell::new(false);
    let drops = async {
        join_all(apps.iter().enumerate().map(|(at, app)| drop_again_and_again(at, app))).await;
        over.set(true);
    };
    tokio::join!(pour(&mut flow, &over), drops);
    all_is_seen_of(CROWD, &flow, &apps).await;
    let verdict = Verdict::of(CROWD, &flow, &apps, &[], &[]);
    let total = verdict.seen + verdict.lost.len();
    println!(
        "mode {mode}: {} clients dropped {DROPS} times for 2 s; {} of {total} durable messages seen, {} twice",
        apps.len(),
        verdict.seen,
        verdict.twice.len()
    );
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(verdict.connections >= CROWD.users * (DROPS + 1), "they did not drop: {} connections", verdict.connections);
    drop(cluster);
    // Only mode local has made it.
    let _ = std::fs::remove_dir_all(kept);
}

async fn drop_again_and_again(at: usize, app: &App) {
    let mut dice = Dice::new(1 + at as u64);
    for _ in 0..DROPS {
        sleep(dice.between(200, 1_500)).await;
        app.reach.send_replace(Reach::Cut);
        sleep(AWAY).await;
        app.reach.send_replace(Reach::There);
    }
}
