//! The end of a worker in good order.

use std::time::Duration;

use gim_msg_queue::deliver::DeliverErrorKind;
use gim_msg_queue::worker::DrainReport;

use crate::support::{Flakiness, Nodes, Plan, START_MS, World, entry, lanes, reports, to};

const LONG: Duration = Duration::from_mins(5);

#[tokio::test(start_paused = true)]
async fn everything_accepted_and_due_is_settled_before_the_end() {
    let world = World::with(Plan { queue: lanes(3), ..Plan::default() }, Nodes::willing());
    let users: Vec<String> = (0..30).map(|n| format!("u{n}")).collect();
    world.connect(&users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.put((0..5_000).map(|number| to(number, &users[number % 30])).collect()).await;
    let due = (START_MS + 3_600_000).to_string();
    world.put(vec![entry(1, &[("to_uid", "u1"), ("deliver_at_ms", &due)])]).await;
    let (report, nodes) = world.drain(LONG).await;
    assert_eq!(report, DrainReport { settled: 5_000, unsettled: 0, scheduled: 1 });
    assert_eq!(nodes.took().len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_retries() {
    let mut failures = 4;
    let world = World::start(Nodes::scripted(move |_, batch| {
        failures -= i32::from(failures > 0);
        if failures > 0 { Err(DeliverErrorKind::Unknown) } else { Ok(reports(batch)) }
    }));
    world.connect(&["1"]).await;
    world.put(vec![to(1, "1"), to(2, "1")]).await;
    let (report, nodes) = world.drain(LONG).await;
    assert_eq!(report, DrainReport { settled: 2, unsettled: 0, scheduled: 0 });
    assert_eq!(nodes.numbers("1"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_is_counted() {
    let world = World::start(Nodes::willing().shut());
    world.connect(&["1"]).await;
    world.put((0..30).map(|number| to(number, "1")).collect()).await;
    let begun = tokio::time::Instant::now();
    let (report, _) = world.drain(Duration::from_secs(3)).await;
    assert_eq!(report, DrainReport { settled: 0, unsettled: 30, scheduled: 0 });
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn what_outlives_the_process_is_not_read_any_more() {
    let source = Some(Flakiness { kept: true, ..Flakiness::default() });
    let mut plan = Plan { source, ..Plan::default() };
    plan.worker.unsettled_messages = 10;
    let world = World::with(plan, Nodes::willing().shut());
    world.connect(&["1"]).await;
    world.put((0..30).map(|number| to(number, "1")).collect()).await;
    world.until(|stats| stats.pending == 10).await;
    world.nodes.open(100);
    let (report, nodes) = world.drain(LONG).await;
    assert_eq!(report, DrainReport { settled: 10, unsettled: 0, scheduled: 0 }, "it is not left behind");
    assert_eq!(nodes.took().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_ends_at_once() {
    let world = World::start(Nodes::willing());
    let begun = tokio::time::Instant::now();
    let (report, _) = world.drain(LONG).await;
    assert_eq!((report, begun.elapsed()), (DrainReport::default(), Duration::ZERO));
}
