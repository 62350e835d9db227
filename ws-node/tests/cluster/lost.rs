//! Nothing that was accepted is lost, comes twice or out of order, whatever fails: everything fails, by a seed.
//!
//! `make faults` runs more and longer: SEED is the first seed, SEEDS how many, SECONDS how long each. A run is repeated by
//! its seed.

mod app;
mod drops;
mod flow;
mod report;
mod schedule;
mod trouble;
mod verdict;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gim_proxy_sdk::testing::RedisServer;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use self::app::{App, Reach};
use self::flow::{Crowd, Flow};
use self::schedule::{Dice, Schedule};
use self::verdict::Verdict;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;

const CROWD: Crowd = Crowd { users: 12, groups: 3 };
const NODES: usize = 3;
const WORKERS: usize = 2;
/// How often a handful of messages is sent.
const PACE: Duration = Duration::from_millis(60);
/// How long an application is cut off.
const AWAY: Duration = Duration::from_secs(2);
/// How long the last message may take after everything is well again.
const REST: Duration = Duration::from_secs(45);
/// How long a user whose client is gone may be shown: the lease of a node, and what the sweeper takes.
const GHOST: Duration = Duration::from_secs(20);

/// Two seeds, or those of `make faults`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nothing_durable_is_lost_twice_or_out_of_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("FAULTS_SEED").unwrap_or(1);
    let seeds = number("FAULTS_SEEDS").map_or_else(|| vec![3, 8], |seeds| (first..first + seeds).collect());
    let seconds = number("FAULTS_SECONDS").unwrap_or(12);
    let mut runs = Vec::new();
    for seed in seeds {
        let verdict = run(seed, seconds).await;
        if !verdict.is_clean() {
            eprintln!("seed {seed}: {verdict:#?}");
        }
        runs.push((seed, verdict));
    }
    let tables = report::tables(&runs);
    println!("{tables}");
    if let Ok(file) = std::env::var("FAULTS_OUT") {
        std::fs::write(file, tables).unwrap();
    }
    let broken: Vec<u64> = runs.iter().filter(|(_, run)| !run.is_clean()).map(|(seed, _)| *seed).collect();
    assert!(broken.is_empty(), "seeds {broken:?}");
}

/// One cluster through one schedule.
async fn run(seed: u64, seconds: u64) -> Verdict {
    let schedule = Schedule::of(seed, Duration::from_secs(seconds), NODES, WORKERS);
    eprintln!("SEED={} SECONDS={seconds}", schedule.seed);
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let spec = Spec::new(4).set("shutdown.hint_spread", "500ms").set("session.close_timeout", "1s");
    let mut cluster = Cluster::on(redis, spec, NODES, WORKERS).await;
    let publics = cluster.nodes.iter().map(|node| node.public).collect::<Vec<_>>();
    let apps = start_all(&publics.into()).await;
    // Members for good who are not there.
    reach(apps.iter().filter(|app| app.uid.starts_with('x')), Reach::Cut);
    let admins = cluster.nodes.iter().map(|node| node.admin).collect();
    let mut flow = Flow::new(CROWD, admins).by_hand(&cluster.spec, &cluster.redis);

    let over = Cell::new(false);
    let (struck, ()) = tokio::join!(
        async {
            let struck = trouble::carry_out(&schedule, &mut cluster).await;
            over.set(true);
            struck
        },
        async {
            tokio::join!(pour(&mut flow, &over), cut_off(&apps, seed, &over));
        },
    );
    reach(apps.iter(), Reach::There);
    all_is_seen_of(CROWD, &flow, &apps).await;
    let steady: Vec<&App> = apps.iter().filter(|app| is_steady(app)).collect();
    let mut verdict = Verdict::of(CROWD, &flow, &apps, &steady, &struck);
    verdict.ghosts = ghosts(&cluster, &apps).await;
    println!("{}", verdict.line(seed, seconds));
    verdict
}

async fn start_all(publics: &Arc<[std::net::SocketAddr]>) -> Vec<App> {
    let user = |at: usize| (format!("u{at}"), format!("g{}", at % CROWD.groups), at);
    let member = |at: usize| (format!("x{at}"), format!("g{at}"), at);
    let all = (0..CROWD.users).map(user).chain((0..CROWD.groups).map(member));
    let apps: Vec<App> =
        all.map(|(uid, tgid, at)| App::start(uid, Some(tgid), Arc::clone(publics), at % NODES)).collect();
    join_all(apps.iter().map(App::is_in)).await;
    apps
}

fn reach<'a>(apps: impl Iterator<Item = &'a App>, reach: Reach) {
    for app in apps {
        app.reach.send_replace(reach);
    }
}

/// Nobody cuts it off.
fn is_steady(app: &App) -> bool {
    app.uid.strip_prefix('u').and_then(|number| number.parse::<usize>().ok()).is_some_and(|number| number % 3 == 0)
}

/// Messages, until it is over.
async fn pour(flow: &mut Flow, over: &Cell<bool>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !over.get() {
        pace.tick().await;
        flow.some().await;
    }
}

/// Cuts off all but the steady ones again and again, for two seconds each.
async fn cut_off(apps: &[App], seed: u64, over: &Cell<bool>) {
    let users = apps.iter().filter(|app| app.uid.starts_with('u') && !is_steady(app));
    let each = users.enumerate().map(|(at, app)| async move {
        let mut dice = Dice::new(seed + 1_000 * (1 + at as u64));
        while !over.get() {
            sleep(dice.between(500, 3_000)).await;
            let how = if dice.roll(3) == 0 { Reach::Silent } else { Reach::Cut };
            app.reach.send_replace(how);
            sleep(AWAY).await;
            app.reach.send_replace(Reach::There);
        }
    });
    join_all(each).await;
}

/// Waits until every application has seen all that was accepted, or for as long as that may take.
async fn all_is_seen_of(crowd: Crowd, flow: &Flow, apps: &[App]) {
    let end = Instant::now() + REST;
    let mut look = interval(Duration::from_millis(100));
    while Instant::now() < end {
        look.tick().await;
        let verdict = Verdict::of(crowd, flow, apps, &[], &[]);
        if verdict.lost.is_empty() && verdict.stale.is_empty() {
            return;
        }
    }
}

/// Half of the applications go for good. Names those that somebody shows all the same.
async fn ghosts(cluster: &Cluster, apps: &[App]) -> Vec<String> {
    let gone: Vec<&App> = apps.iter().step_by(2).collect();
    reach(gone.iter().copied(), Reach::Gone);
    let end = Instant::now() + GHOST;
    let mut left: Vec<&App> = gone;
    let mut look = interval(Duration::from_millis(100));
    while !left.is_empty() && Instant::now() < end {
        look.tick().await;
        let mut shown = Vec::new();
        for app in left {
            let all = cluster.shown(&app.uid).await;
            if all.iter().any(|shown| shown["online"] != false) {
                shown.push(app);
            }
        }
        left = shown;
    }
    left.into_iter().map(|app| app.uid.clone()).collect()
}
