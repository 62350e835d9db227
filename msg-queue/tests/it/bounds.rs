//! What happens at the bounds of a lane.

use gim_msg_queue::config::WorkerSection;
use gim_msg_queue::deliver::DeliverErrorKind;

use crate::support::{Nodes, Plan, World, node, reports, to};

fn worker(change: impl FnOnce(&mut WorkerSection)) -> Plan {
    let mut worker = WorkerSection::default();
    change(&mut worker);
    Plan { worker, ..Plan::default() }
}

#[tokio::test(start_paused = true)]
async fn a_lane_stops_reading_at_its_bound_of_messages_and_its_lag_shows() {
    let world = World::with(worker(|worker| worker.unsettled_messages = 50), Nodes::willing().shut());
    world.connect(&["1"]).await;
    world.put((0..200).map(|number| to(number, "1")).collect()).await;
    world.until(|stats| stats.pending == 50 && stats.lag == 150).await;
    world.nodes.open(1_000);
    world.settled(200).await;
    assert_eq!(world.nodes.numbers("1"), (0..200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_holds_too_much_stops_the_lane_and_one_that_holds_less_stops_nobody() {
    let failing = node("failing");
    let world = World::with(
        worker(|worker| worker.held_per_target = 20),
        Nodes::scripted(|node, batch| match node.id.as_str() {
            "failing" => Err(DeliverErrorKind::Unreachable),
            _ => Ok(reports(batch)),
        }),
    );
    world.connect(&["fine"]).await;
    world.connect_at("stuck", &failing).await;
    world.put((0..10).map(|number| to(number, "stuck")).collect()).await;
    world.put((0..100).map(|number| to(number, "fine")).collect()).await;
    world.settled(100).await;
    assert_eq!(world.nodes.numbers("fine").len(), 100);
    assert!(world.nodes.numbers("stuck").is_empty());

    world.put((10..60).map(|number| to(number, "stuck")).collect()).await;
    world.until(|stats| stats.pending >= 20).await;
    world.put((100..200).map(|number| to(number, "fine")).collect()).await;
    world.until(|stats| stats.lag == 100).await;
    // Its attempts end, the dead make room, and the others are served after all.
    world.settled(260).await;
    assert_eq!(world.nodes.numbers("fine"), (0..200).collect::<Vec<_>>());
    assert_eq!(world.stats().await.dead, 60);
}

#[tokio::test(start_paused = true)]
async fn one_message_larger_than_the_bound_of_bytes_still_passes() {
    let plan = worker(|worker| worker.unsettled_bytes = gim_msg_queue::config::ByteSize(10));
    let world = World::with(plan, Nodes::willing());
    world.connect(&["1"]).await;
    world.put((0..20).map(|number| to(number, "1")).collect()).await;
    world.settled(20).await;
    assert_eq!(world.nodes.numbers("1"), (0..20).collect::<Vec<_>>());
}
