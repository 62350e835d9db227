//! Schedules, expiry, priority.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use gim_msg_queue::backoff::Jitter;
use gim_msg_queue::clock::{Clock, TokioClock};
use gim_msg_queue::deliver::DeliverErrorKind;
use gim_proxy_sdk::Outcome;
use tokio::time::{Instant, advance};

use crate::support::{Nodes, Plan, START_MS, World, entry, reports, to};

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_goes_out_at_its_time() {
    let world = World::start(Nodes::willing());
    world.connect(&["1"]).await;
    let begun = Instant::now();
    let at = |number, ms: u64| entry(number, &[("to_uid", "1"), ("deliver_at_ms", &(START_MS + ms).to_string())]);
    world.put(vec![at(3, 7_200_000), at(2, 60_000), to(1, "1")]).await;
    world.settled(1).await;
    assert_eq!((begun.elapsed(), world.stats().await.later), (Duration::ZERO, 2));
    world.settled(2).await;
    assert_eq!(begun.elapsed(), Duration::from_mins(1));
    world.settled(3).await;
    assert_eq!(begun.elapsed(), Duration::from_hours(2));
    assert_eq!(world.nodes.numbers("1"), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_expires_before_its_turn_is_not_delivered() {
    let world = World::start(Nodes::willing().shut());
    world.connect(&["1", "2"]).await;
    world.put(vec![to(1, "1")]).await;
    world.until(|stats| stats.pending == 1).await;
    let short = |number, uid| entry(number, &[("to_uid", uid), ("ttl_ms", "5000")]);
    world.put(vec![short(2, "1"), short(3, "2"), to(4, "1")]).await;
    world.until(|stats| stats.lag == 0).await;
    advance(Duration::from_secs(6)).await;
    world.nodes.open(100);
    world.settled(4).await;
    assert_eq!(world.nodes.numbers("1"), [1, 4]);
    assert!(world.nodes.numbers("2").is_empty());
    assert_eq!(world.outcomes(Outcome::Expired), 2);
}

#[tokio::test(start_paused = true)]
async fn urgent_messages_pass_those_of_other_targets_that_wait_with_them() {
    let world = World::start(Nodes::willing().shut());
    world.connect(&["1", "2", "3", "first"]).await;
    world.put(vec![to(0, "first")]).await;
    world.until(|stats| stats.pending == 1).await;
    let with = |number, uid, priority| entry(number, &[("to_uid", uid), ("priority", priority)]);
    let waiting = vec![with(1, "1", "low"), to(2, "2"), to(3, "3"), with(4, "3", "high"), with(5, "1", "normal")];
    world.put(waiting).await;
    world.until(|stats| stats.lag == 0).await;
    world.nodes.open(100);
    world.settled(6).await;
    let order: Vec<usize> = world.nodes.took().iter().map(|took| took.number).collect();
    assert_eq!(order, [0, 3, 4, 1, 2, 5]);
}

/// Time goes on a little with each look at it, as it does outside of tests.
struct Ticking(TokioClock);

impl Clock for Ticking {
    fn unix_ms(&self) -> u64 {
        advance(Duration::from_micros(700)).now_or_never();
        self.0.unix_ms()
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_falls_due_while_the_lane_looks_around_is_not_slept_over() {
    let clock = Some(Arc::new(Ticking(TokioClock::starting_at(START_MS))) as Arc<dyn Clock>);
    for seed in 0..20 {
        let mut dice = Jitter::seeded(seed);
        let nodes = Nodes::scripted(move |_, batch| match dice.up_to(2) {
            0 => Ok(reports(batch)),
            _ => Err(DeliverErrorKind::Unreachable),
        });
        let world = World::with(Plan { clock: clock.clone(), ..Plan::default() }, nodes);
        let users: Vec<String> = (0..40).map(|user| format!("u{user}")).collect();
        for user in &users {
            world.connect(&[user]).await;
        }
        let begun = Instant::now();
        for (number, user) in users.iter().enumerate() {
            world.put(vec![to(number, user)]).await;
            advance(Duration::from_millis(1)).await;
        }
        world.settled(users.len()).await;
        assert!(begun.elapsed() < Duration::from_mins(10), "{:?}", begun.elapsed());
    }
}
