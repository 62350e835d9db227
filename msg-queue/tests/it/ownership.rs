//! A lane that may be somebody else's by now, and lanes that begin and end by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gim_msg_queue::clock::TokioClock;
use gim_msg_queue::config::WorkerSection;
use gim_msg_queue::deliver::{Deliver, DeliverErrorKind};
use gim_msg_queue::local::LocalQueue;
use gim_msg_queue::observe::{Event, Silent, Step};
use gim_msg_queue::source::Source;
use gim_msg_queue::worker::{DrainReport, Ports, Worker};
use gim_proto::EntryId;
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::queue::Queue;
use tokio::time::{Instant, timeout};

use crate::support::{
    Flakiness, FlakySource, Nodes, Plan, START_MS, Tenure, World, entry, lanes, ledger, mailboxes, node, reports, to,
};

const LONG: Duration = Duration::from_mins(5);

fn world(tenure: &Arc<Tenure>, nodes: Nodes) -> World {
    let source = Some(Flakiness { kept: true, tenure: Arc::clone(tenure), ..Flakiness::default() });
    World::with(Plan { source, ..Plan::default() }, nodes)
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_not_confirmed_lately_sends_nothing_before_it_is() {
    let tenure = Tenure::doubtful();
    tenure.silent.store(20, Ordering::Relaxed);
    let world = world(
        &tenure,
        Nodes::scripted({
            let tenure = Arc::clone(&tenure);
            move |_, batch| {
                assert!(tenure.is_owned());
                Ok(reports(batch))
            }
        }),
    );
    world.connect(&["1"]).await;
    world.put((0..30).map(|number| to(number, "1")).collect()).await;
    world.settled(30).await;
    assert_eq!(world.nodes.numbers("1"), (0..30).collect::<Vec<_>>());
    assert_eq!(tenure.confirmations(), 1);
    assert_eq!(world.count(|event| matches!(event, Event::Paused { step: Step::Own, .. })), 20);
    assert_eq!(world.count(|event| matches!(event, Event::Retry { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_sent_while_the_process_stands_still_waits_for_the_lane() {
    let tenure = Arc::new(Tenure::default());
    let begun = Arc::new(AtomicUsize::new(0));
    let world = world(
        &tenure,
        Nodes::scripted({
            let (tenure, begun) = (Arc::clone(&tenure), Arc::clone(&begun));
            move |_, batch| {
                // Behind each batch, the process is frozen for longer than its lease lasts.
                assert!(tenure.is_owned());
                tenure.doubt();
                begun.fetch_add(1, Ordering::Relaxed);
                Ok(reports(batch))
            }
        }),
    );
    world.connect(&["1", "2", "3"]).await;
    for number in 0..30 {
        world.put(vec![to(number, ["1", "2", "3"][number % 3])]).await;
        tokio::task::yield_now().await;
    }
    world.settled(30).await;
    assert_eq!(world.nodes.took().len(), 30);
    assert!(tenure.confirmations() + 1 >= begun.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_costs_no_attempt_and_has_the_lease_looked_at() {
    let tenure = Arc::new(Tenure::default());
    let mut batches = 0;
    let world = world(
        &tenure,
        Nodes::scripted(move |_, batch| {
            batches += 1;
            if batches <= 20 { Err(DeliverErrorKind::Refused) } else { Ok(reports(batch)) }
        }),
    );
    world.connect(&["1"]).await;
    world.put((0..30).map(|number| to(number, "1")).collect()).await;
    world.settled(30).await;
    assert_eq!(world.nodes.numbers("1"), (0..30).collect::<Vec<_>>());
    assert_eq!(tenure.confirmations(), 20);
    assert_eq!(world.count(|event| matches!(event, Event::Retry { .. } | Event::Dead { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_found_to_be_somebody_elses_is_left_at_once() {
    let tenure = Arc::new(Tenure::default());
    tenure.moved.store(true, Ordering::Relaxed);
    let world = world(&tenure, Nodes::scripted(|_, _| Err(DeliverErrorKind::Refused)));
    world.connect(&["1"]).await;
    world.put((0..30).map(|number| to(number, "1")).collect()).await;
    let lost = async {
        while world.count(|event| *event == Event::Lost) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, lost).await.unwrap();
    assert_eq!(world.nodes.batches().len(), 1);
    let (report, _) = world.drain(LONG).await;
    assert_eq!(report.settled, 0);
}

#[tokio::test(start_paused = true)]
async fn batches_name_the_lowest_entry_that_may_come_again() {
    let source = Some(Flakiness { settles: 3, ..Flakiness::default() });
    let world = World::with(Plan { source, ..Plan::default() }, Nodes::willing());
    world.connect(&["1"]).await;
    let mut first = Vec::new();
    for number in 0..20 {
        first.extend(world.put(vec![to(number, "1")]).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.settled(20).await;
    let lows: Vec<EntryId> = world.nodes.origins().iter().map(|origin| origin.low_water.unwrap()).collect();
    let entry_id = |at: usize| EntryId::parse(first[at].as_str().split_once('-').unwrap().1).unwrap();
    assert!(lows.is_sorted());
    // Delivered long ago, and its settlement is on its way again.
    assert_eq!(lows[1], entry_id(0));
    assert_eq!(*lows.last().unwrap(), entry_id(19));
}

#[tokio::test(start_paused = true)]
async fn lanes_of_one_worker_begin_and_end_one_by_one() {
    let queue = LocalQueue::with(lanes(2), Arc::new(TokioClock::starting_at(START_MS)), Arc::new(Silent));
    let nodes = Arc::new(Nodes::willing());
    let ports = Ports {
        name: node("worker").id,
        directory: Arc::new(LocalDirectory::new(node("home"))),
        mailboxes: mailboxes(),
        ledger: ledger(),
        deliver: Arc::clone(&nodes) as Arc<dyn Deliver>,
        observer: Arc::new(Silent),
    };
    let moved = Arc::new(Tenure::default());
    let lost = Flakiness { kept: true, tenure: Arc::clone(&moved), ..Flakiness::default() };
    let mut sources = queue.sources().into_iter();
    let (first, second) = (sources.next().unwrap(), sources.next().unwrap());
    let second: Arc<dyn Source> = Arc::new(FlakySource::new(second, &lost));
    let first = Worker::start_lane(first, &ports, &WorkerSection::default());
    let second = Worker::start_lane(second, &ports, &WorkerSection::default());
    assert_eq!((first.lane(), second.lane()), (0, 1));

    let to_all = |number| {
        let entries = (0..8).map(|user| entry(number, &[("to_uid", format!("u{user}").as_str())]));
        queue.enqueue(entries.collect())
    };
    moved.doubt();
    moved.moved.store(true, Ordering::Relaxed);
    to_all(1).await.unwrap();
    timeout(LONG, second.ended()).await.unwrap();
    assert!(timeout(LONG, first.ended()).await.is_err());
    to_all(2).await.unwrap();
    let lost = second.drain(Instant::now() + LONG).await;
    assert_eq!((lost.settled, lost.scheduled), (0, 0));
    let report = first.drain(Instant::now() + LONG).await;
    assert!(report.settled > 0);
    assert_eq!(report, DrainReport { settled: report.settled, unsettled: 0, scheduled: 0 });
}
