//! Redis is killed and comes back with nothing.

use std::collections::HashMap;

use gim_proto::{Tgid, Uid};
use gim_proxy_sdk::testing::RedisServer;
use gim_proxy_sdk::{Body, ClientOptions, NodeClient, Outcome};
use serde_json::json;

use crate::support::client::Client;
use crate::support::lanes::Lanes;
use crate::support::node::{NodeProcess, Spec};
use crate::support::recorder::{Plan, Recorder, all_reach_the_end};
use crate::support::traffic::{People, Traffic};
use crate::support::{eventually, http};

const ROUNDS: usize = 4;
const BATCH: usize = 1_000;
const PER_SECOND: usize = 5_000;
const PEOPLE: People = People { users: 50, groups: 5 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_costs_what_was_in_it_and_nothing_after() {
    let mut redis = RedisServer::start().await;
    let spec = Spec::new(&redis);
    let lanes = Lanes::new(&spec, &redis);
    let node = spec.start().await;
    let recorders = Plan::once(PEOPLE, node.public).connect_all().await;
    let mut traffic = Traffic::new(PEOPLE, &spec, &redis);
    // How many of each target were accepted when Redis lost everything, each time.
    let mut losses: Vec<HashMap<String, usize>> = Vec::new();
    for round in 0..ROUNDS {
        traffic.produce(BATCH, BATCH / 10, PER_SECOND).await;
        // In one go, so that much of it is not read yet.
        traffic.batch(2 * BATCH).await;
        redis.stop();
        losses.push(traffic.counts());
        if round == 0 {
            what_works_without_redis(&node).await;
        }
        // The first entries are accepted at the very moment Redis answers.
        tokio::join!(redis.restart(), traffic.produce(BATCH, BATCH / 10, PER_SECOND));
        all_reach_the_end(&recorders, PEOPLE, &traffic).await;
        lanes.settle().await;
        eventually("the new incarnation", || async {
            (node.metric("gim_incarnations_total", "").await == round as u64 + 1).then_some(())
        })
        .await;
    }
    assert!(recorders.iter().all(|recorder| recorder.is_on_its_first_connection()), "a client was closed");
    possible_loss_is_told(&node).await;
    let gone = gone(&traffic, &recorders, &losses);
    let offline = node.metric("gim_worker_outcomes_total", "offline").await;
    eprintln!(
        "redis emptied {ROUNDS} times: {} entries accepted, {gone} gone with it, {offline} offline",
        traffic.total()
    );
    assert_eq!(offline, 0, "everybody was connected all the time");
    // Who comes now is served, and finds everybody on record.
    let mut late = Client::user(node.public, "late").await;
    late.join(&People::tgid(0)).await;
    for user in 0..PEOPLE.users {
        let (_, shown) = http::get(node.admin, &format!("/api/v1/users/{}", People::uid(user))).await;
        assert_eq!(shown["online"], true, "{shown}");
    }
}

/// Each time is told with its window, and warned of once.
async fn possible_loss_is_told(node: &NodeProcess) {
    let (_, sysinfo) = http::get(node.admin, "/sysinfo").await;
    let losses = sysinfo["redis"]["possible_loss"].as_array().expect("losses");
    assert_eq!(losses.len(), ROUNDS, "{losses:?}");
    assert_eq!(sysinfo["redis"]["runs"].as_array().map(Vec::len), Some(1), "{sysinfo}");
    for loss in losses {
        assert!(loss["from_ms"].as_u64() > Some(0) && loss["from_ms"].as_u64() <= loss["to_ms"].as_u64(), "{loss}");
        assert_ne!(loss["gone"], loss["now"], "{loss}");
    }
    assert_eq!(losses[ROUNDS - 1]["now"], sysinfo["redis"]["runs"]);
    assert_eq!(node.metric("gim_redis_possible_losses_total", "").await, ROUNDS as u64);
    let warned = node.log().matches("redis is another run").count();
    assert_eq!(warned, ROUNDS, "{}", node.log());
}

async fn what_works_without_redis(node: &NodeProcess) {
    eventually("logins to be refused", || async {
        let status = Client::try_open(node.public, "/ws?uid=late").await.err()?;
        assert_eq!(status, 503);
        Some(())
    })
    .await;
    let message = json!({ "to_uid": People::uid(0), "data": {} });
    let (status, answer) = http::post(node.admin, "/api/v1/messages", &message).await;
    assert_eq!(status, 503, "{answer}");
    let client = NodeClient::connect(&node.rpc.to_string(), ClientOptions::default()).await.unwrap();
    let body = || Body::Response(json!({ "direct": true }).to_string().into());
    for user in 0..PEOPLE.users {
        let sent = client.send_to_user(&Uid::parse(&People::uid(user)).unwrap(), None, body()).await.unwrap();
        assert_eq!(sent.outcome, Outcome::Offered);
    }
    for group in 0..PEOPLE.groups {
        let tgid = Tgid::parse(&People::tgid(group)).unwrap();
        let sent = client.send_to_group(&tgid, None, body()).await.unwrap();
        assert_eq!(sent.sessions, (PEOPLE.users / PEOPLE.groups) as u64, "{sent:?}");
    }
}

/// Counts the entries that were lost with Redis: of each target, the last ones accepted before it died and no others,
/// the same ones for all members of a group.
fn gone(traffic: &Traffic, recorders: &[Recorder], losses: &[HashMap<String, usize>]) -> usize {
    let mut gone: HashMap<String, Vec<usize>> = HashMap::new();
    for recorder in recorders {
        for target in PEOPLE.targets(recorder.user) {
            let of_target = gone_of(traffic, recorder, &target, losses);
            let others = gone.entry(target.clone()).or_insert_with(|| of_target.clone());
            assert_eq!(*others, of_target, "the members of {target} lost different messages");
        }
    }
    gone.values().flatten().sum()
}

fn gone_of(traffic: &Traffic, recorder: &Recorder, target: &str, losses: &[HashMap<String, usize>]) -> Vec<usize> {
    let log = recorder.log();
    let mut numbers = log[0].seen[target].iter().map(|number| *number as usize).peekable();
    let mut first = 1;
    let ends = losses.iter().map(|counts| counts[target]).chain([traffic.accepted(target)]);
    let mut gone = Vec::new();
    for end in ends {
        let mut next = first;
        while let Some(number) = numbers.next_if(|number| *number <= end) {
            assert_eq!(number, next, "u{}: {target}, accepted from {first} to {end}", recorder.user);
            next += 1;
        }
        gone.push(end + 1 - next);
        first = end + 1;
    }
    assert_eq!(numbers.next(), None, "more than was accepted");
    assert_eq!(gone.last(), Some(&0), "everything after the last loss arrives");
    gone
}
