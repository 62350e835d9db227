//! Nodes, stores and code that fail.

use std::collections::HashMap;
use std::time::Duration;

use gim_msg_queue::backoff::Jitter;
use gim_msg_queue::deliver::DeliverErrorKind;
use gim_msg_queue::observe::{Event, Step};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::Report;

use crate::support::{Flakiness, Nodes, Plan, World, entry, node, reports, text, to};

#[tokio::test(start_paused = true)]
async fn order_and_count_hold_while_nodes_fail() {
    let mut dice = Jitter::seeded(42);
    let world = World::start(Nodes::scripted(move |_, batch| match dice.up_to(2) {
        0 => Err(DeliverErrorKind::Unreachable),
        _ => Ok(reports(batch)),
    }));
    let other = node("other");
    let users: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    for (at, user) in users.iter().enumerate() {
        world.connect_at(user, if at % 2 == 0 { &world.home } else { &other }).await;
    }
    for group in ["g0", "g1"] {
        world.holds(group, &world.home).await;
        world.holds(group, &other).await;
    }
    let mut expected: HashMap<&str, Vec<usize>> = HashMap::new();
    for number in 0..2_000 {
        let (name, target) = match number % 10 {
            0 => ("tgid", ["g0", "g1"][number % 20 / 10]),
            _ => ("to_uid", users[number % 20].as_str()),
        };
        expected.entry(target).or_default().push(number);
        world.put(vec![entry(number, &[(name, target)])]).await;
        if number % 37 == 0 {
            tokio::task::yield_now().await;
        }
    }
    world.settled(2_000).await;
    assert!(world.dead().await.is_empty());
    assert!(world.count(|event| matches!(event, Event::Retry { .. })) > 20);
    for (target, numbers) in expected {
        for node in ["home", "other"] {
            let took = world.nodes.took().into_iter().filter(|took| took.target == target && took.node == node);
            let took: Vec<usize> = took.map(|took| took.number).collect();
            assert!(took == numbers || (target.starts_with('u') && took.is_empty()), "{target} at {node}: {took:?}");
        }
    }
}

/// Two users' messages wait for a busy node, more than go in one batch, and the first of those batches fails.
async fn what_waits_behind_a_failed_batch(kind: DeliverErrorKind) {
    let mut batches = 0;
    let nodes = Nodes::scripted(move |_, batch| {
        batches += 1;
        if batches == 2 { Err(kind) } else { Ok(reports(batch)) }
    });
    let world = World::start(nodes.shut());
    world.connect(&["x", "y", "z"]).await;
    world.put(vec![to(0, "x")]).await;
    for user in ["y", "z"] {
        // Beyond the patience with a busy node, what is new is routed and waits for it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.put((0..700).map(|number| to(number, user)).collect()).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.nodes.open(100);
    world.settled(1_401).await;
    for user in ["y", "z"] {
        assert_eq!(world.nodes.numbers(user), (0..700).collect::<Vec<_>>(), "{user}");
    }
    assert!(world.nodes.batches().iter().any(|(_, deliveries)| *deliveries == 1_000), "nothing was split");
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_batch_that_failed_does_not_go_ahead_of_it() {
    what_waits_behind_a_failed_batch(DeliverErrorKind::Unknown).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_batch_that_was_suspended_does_not_go_ahead_of_it() {
    what_waits_behind_a_failed_batch(DeliverErrorKind::Suspended).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_may_not_act_pauses_the_lane_and_costs_no_attempt() {
    let mut batches = 0;
    let world = World::start(Nodes::scripted(move |_, batch| {
        batches += 1;
        if batches <= 50 { Err(DeliverErrorKind::Suspended) } else { Ok(reports(batch)) }
    }));
    world.connect(&["1"]).await;
    world.holds("g", &world.home).await;
    world.put(vec![to(0, "1"), entry(1, &[("tgid", "g")])]).await;
    world.settled(2).await;
    assert!(world.dead().await.is_empty());
    assert_eq!(world.count(|event| matches!(event, Event::Retry { .. })), 0);
    assert!(world.count(|event| matches!(event, Event::Paused { step: Step::Deliver, .. })) > 5);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_holds_up_nobody_elses_users() {
    let silent = node("silent");
    let world = World::start(Nodes::willing().shut());
    world.connect_at("far", &silent).await;
    world.connect(&["near"]).await;
    world.put(vec![to(0, "far")]).await;
    world.until(|stats| stats.pending == 1).await;
    world.put((0..10).map(|number| to(number, "near")).collect()).await;
    world.put(vec![to(1, "far")]).await;
    let begun = || world.nodes.batches().into_iter().map(|(node, _)| node).collect::<Vec<_>>();
    while begun().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(begun(), ["silent", "home"], "the second for a silent node waits for the first");
    world.nodes.open(3);
    world.settled(12).await;
    assert_eq!(begun(), ["silent", "home", "silent"]);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_does_not_answer_pauses_the_lane_and_costs_no_attempt() {
    let plan = Plan { directory_failures: 50, ..Plan::default() };
    let world = World::with(plan, Nodes::willing());
    world.connect(&["1"]).await;
    world.holds("g", &world.home).await;
    world.put((0..50).map(|number| to(number, "1")).collect()).await;
    world.put(vec![entry(50, &[("tgid", "g")])]).await;
    world.settled(51).await;
    assert_eq!(world.nodes.numbers("1"), (0..50).collect::<Vec<_>>());
    assert_eq!(world.count(|event| matches!(event, Event::Paused { step: Step::Route, .. })), 50);
    assert_eq!(world.count(|event| matches!(event, Event::Retry { .. } | Event::Dead { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_answer_delays_and_loses_nothing() {
    for in_effect in [false, true] {
        let source = Some(Flakiness { fetches: 5, settles: 5, in_effect, ..Flakiness::default() });
        let world = World::with(Plan { source, ..Plan::default() }, Nodes::willing());
        world.connect(&["1"]).await;
        world.put((0..50).map(|number| to(number, "1")).collect()).await;
        world.settled(50).await;
        assert_eq!(world.nodes.numbers("1"), (0..50).collect::<Vec<_>>());
        let stats = world.stats().await;
        assert_eq!((stats.settled, stats.pending), (50, 0));
        for step in [Step::Read, Step::Settle] {
            let paused = |event: &Event| matches!(event, Event::Paused { step: paused, .. } if *paused == step);
            assert_eq!(world.count(paused), 5, "{step:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_brings_down_its_lane_dies_alone() {
    let world = World::start(Nodes::scripted(|_, batch| {
        let poison = batch.deliveries.iter().any(|delivery| text(delivery).contains("666"));
        assert!(!poison, "a bug");
        Ok(reports(batch))
    }));
    world.connect(&["1", "2"]).await;
    let numbers: Vec<usize> = (0..30).chain([666]).chain(31..60).collect();
    world.put(numbers.iter().map(|number| to(*number, if number % 2 == 0 { "2" } else { "1" })).collect()).await;
    world.settled(60).await;
    let panics = world.count(|event| matches!(event, Event::Panicked { .. }));
    assert_eq!(panics, 30);
    let dead = world.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].fields.get("data").unwrap().as_ref(), br#"{"n":666}"#);
    let mut took: Vec<usize> = world.nodes.took().iter().map(|took| took.number).collect();
    took.sort_unstable();
    let expected: Vec<usize> = numbers.into_iter().filter(|number| *number != 666).collect();
    assert_eq!(took, expected);

    world.put((0..5).map(|number| to(number, "1")).collect()).await;
    world.settled(65).await;
}

/// Panics at some of the first calls.
fn now_and_then() -> impl FnMut() + Send {
    let mut calls = 0;
    move || {
        calls += 1;
        assert!(![1, 2, 5, 9].contains(&calls), "a bug");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_panics_starts_again_and_settles_everything_in_order() {
    let mut bug = now_and_then();
    let nodes = Nodes::scripted(move |_, batch| {
        bug();
        Ok(reports(batch))
    });
    let world = World::with(Plan { directory_panics: 3, ..Plan::default() }, nodes);
    let users = ["u0", "u1", "u2", "u3"];
    world.connect(&users).await;
    world.holds("g", &world.home).await;
    let targets: Vec<&str> = users.into_iter().chain(["g"]).collect();
    for number in 0..200 {
        let target = targets[number % targets.len()];
        let name = if target == "g" { "tgid" } else { "to_uid" };
        world.put(vec![entry(number, &[(name, target)])]).await;
        if number % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    world.settled(200).await;
    assert_eq!(world.count(|event| matches!(event, Event::Panicked { .. })), 7);
    assert!(world.dead().await.is_empty());
    let stats = world.stats().await;
    assert_eq!((stats.lag, stats.pending, stats.later, stats.settled), (0, 0, 0, 200));
    for (at, target) in targets.iter().enumerate() {
        let expected: Vec<usize> = (at..200).step_by(targets.len()).collect();
        assert_eq!(world.nodes.numbers(target), expected, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_reports_on_something_else_is_not_believed() {
    let mut batches = 0;
    let world = World::start(Nodes::scripted(move |_, batch| {
        batches += 1;
        let swapped = |report| match report {
            Report::Targets(_) => Report::Count { offered: 1, slow: 0 },
            Report::Count { .. } => Report::Targets(Vec::new().into()),
        };
        Ok(match batches {
            1 => Vec::new(),
            2 | 3 => reports(batch).into_iter().map(swapped).collect(),
            4 => vec![Report::Targets(Vec::new().into()); batch.deliveries.len()],
            _ => reports(batch),
        })
    }));
    world.connect(&["1"]).await;
    world.holds("g", &world.home).await;
    world.put(vec![to(1, "1"), entry(2, &[("tgid", "g")])]).await;
    world.settled(2).await;
    assert_eq!(world.outcomes(Outcome::Offered), 2);
    assert!(world.count(|event| matches!(event, Event::Retry { .. })) >= 5);
}
