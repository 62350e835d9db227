//! Several nodes, some of which do not take what they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gim_msg_queue::deliver::DeliverErrorKind;
use gim_msg_queue::observe::{Event, Step};
use gim_proto::{Fields, Tgid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::directory::{Directory, Freshness, NodeRef};
use gim_proxy_sdk::queue::{Queue, Selection};

use crate::support::{Nodes, World, entry, node, reports, to};

fn group(numbers: std::ops::Range<usize>) -> Vec<Fields> {
    numbers.map(|number| entry(number, &[("tgid", "g")])).collect()
}

fn all(numbers: std::ops::Range<usize>) -> Vec<usize> {
    numbers.collect()
}

/// Nodes of which the one called `down` answers with an error for as long as is said.
fn one_down(error: DeliverErrorKind) -> (Nodes, Arc<AtomicBool>) {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let nodes = Nodes::scripted(move |node, batch| match node.id.as_str() {
        "down" if down.load(Ordering::Relaxed) => Err(error),
        _ => Ok(reports(batch)),
    });
    (nodes, is_down)
}

async fn with_one_down(error: DeliverErrorKind) -> (World, NodeRef, Arc<AtomicBool>) {
    let (nodes, is_down) = one_down(error);
    let world = World::start(nodes);
    let down = node("down");
    world.connect(&["1"]).await;
    world.connect_at("2", &down).await;
    world.holds("g", &world.home).await;
    world.holds("g", &down).await;
    (world, down, is_down)
}

fn is_counted(event: &Event) -> bool {
    matches!(event, Event::Retry { .. } | Event::Dead { .. })
}

#[tokio::test(start_paused = true)]
async fn a_group_reaches_every_node_that_answers_while_one_does_not() {
    for error in [DeliverErrorKind::Unreachable, DeliverErrorKind::Unknown, DeliverErrorKind::Suspended] {
        let (world, _, is_down) = with_one_down(error).await;
        for call in 0..20 {
            world.put(group(call * 5..call * 5 + 5)).await;
            world.took(|nodes| nodes.numbers_at("home", "g") == all(0..call * 5 + 5)).await;
        }
        assert!(world.nodes.numbers_at("down", "g").is_empty());
        assert_eq!(world.stats().await.settled, 0, "{error:?}");
        is_down.store(false, Ordering::Relaxed);
        world.settled(100).await;
        assert_eq!(world.nodes.numbers_at("down", "g"), all(0..100));
        assert_eq!(world.nodes.numbers_at("home", "g"), all(0..100), "once each");
        assert_eq!(world.outcomes(Outcome::Offered), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_reaches_every_other_node_while_one_does_not_even_answer() {
    let world = World::start(Nodes::willing());
    let other = node("other");
    world.holds("g", &world.home).await;
    world.holds("g", &other).await;
    world.nodes.freeze("other");
    for call in 0..20 {
        world.put(group(call * 5..call * 5 + 5)).await;
        world.took(|nodes| nodes.numbers_at("home", "g") == all(0..call * 5 + 5)).await;
    }
    world.nodes.thaw("other");
    world.settled(100).await;
    assert_eq!(world.nodes.numbers_at("other", "g"), all(0..100));
    assert_eq!(world.nodes.numbers_at("home", "g"), all(0..100));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_may_not_act_pauses_alone_and_costs_no_attempt() {
    let (world, _, is_down) = with_one_down(DeliverErrorKind::Suspended).await;
    world.put((0..50).map(|number| to(number, "2")).collect()).await;
    world.put((0..50).map(|number| to(number, "1")).collect()).await;
    world.settled(50).await;
    assert_eq!(world.nodes.numbers("1"), all(0..50));
    tokio::time::sleep(Duration::from_mins(10)).await;
    let asked = world.nodes.batches().iter().filter(|(node, _)| node == "down").count();
    assert!((500..1_500).contains(&asked), "about once a second: {asked}");
    assert_eq!(world.count(is_counted), 0);
    assert!(world.count(|event| matches!(event, Event::Paused { step: Step::Deliver, .. })) > 0);
    is_down.store(false, Ordering::Relaxed);
    let begun = tokio::time::Instant::now();
    world.settled(100).await;
    assert_eq!(world.nodes.numbers("2"), all(0..50));
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_holds_nobody_of_the_group_any_more_is_not_waited_for() {
    let (world, down, _) = with_one_down(DeliverErrorKind::Unreachable).await;
    world.put(group(0..10)).await;
    world.took(|nodes| nodes.numbers_at("home", "g") == all(0..10)).await;
    world.directory.remove_holder(&Tgid::parse("g").unwrap(), &down).await.unwrap();
    world.settled(10).await;
    assert_eq!(world.outcomes(Outcome::Offered), 10);
    assert!(world.dead().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_up_again_as_another_run_gets_everything_in_order() {
    let (world, down, is_down) = with_one_down(DeliverErrorKind::Unreachable).await;
    world.put(group(0..10)).await;
    world.took(|nodes| nodes.numbers_at("home", "g") == all(0..10)).await;
    let again = node("again");
    world.directory.remove_holder(&Tgid::parse("g").unwrap(), &down).await.unwrap();
    world.holds("g", &again).await;
    world.put(group(10..20)).await;
    world.settled(20).await;
    assert_eq!(world.nodes.numbers_at("again", "g"), all(0..20));
    assert_eq!(world.nodes.numbers_at("home", "g"), all(0..20));
    assert!(is_down.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn when_the_attempts_at_one_node_are_used_up_the_message_is_dead_and_redriven_for_that_node_alone() {
    let (world, _, is_down) = with_one_down(DeliverErrorKind::Unreachable).await;
    world.put(group(0..3)).await;
    world.settled(3).await;
    let letters = world.dead().await;
    assert_eq!(letters.len(), 3);
    let said = |name: &str| String::from_utf8(letters[0].fields.get(name).unwrap().to_vec()).unwrap();
    assert_eq!((said("gim_failed_targets"), said("gim_attempts")), (r#"["g"]"#.to_owned(), "30".to_owned()));
    is_down.store(false, Ordering::Relaxed);
    assert_eq!(world.queue.redrive(0, Selection::All).await.unwrap(), 3);
    world.settled(6).await;
    assert_eq!(world.nodes.numbers_at("down", "g"), all(0..3));
    assert_eq!(world.nodes.numbers_at("home", "g"), all(0..3));
}

#[tokio::test(start_paused = true)]
async fn who_was_not_reached_is_looked_up_as_the_directory_has_it_now() {
    let (world, _, _) = with_one_down(DeliverErrorKind::Unreachable).await;
    world.put(vec![to(1, "2")]).await;
    world.until(|stats| stats.pending == 1).await;
    world.connect(&["2"]).await;
    world.settled(1).await;
    assert_eq!(world.nodes.numbers_at("home", "2"), [1]);
    assert_eq!(world.directory.freshness(), [Freshness::Cached, Freshness::Current]);
}
