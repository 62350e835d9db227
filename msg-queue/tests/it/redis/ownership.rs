//! Whether a lane is its source's, as far as it may know without asking.

use std::sync::Arc;
use std::time::Duration;

use gim_msg_queue::config::WorkerSection;
use gim_msg_queue::deliver::{Deliver, DeliverErrorKind};
use gim_msg_queue::observe::Observer;
use gim_msg_queue::redis::LaneOptions;
use gim_msg_queue::source::{Room, Settlement, Source, SourceErrorKind};
use gim_msg_queue::worker::{Ports, Worker};
use gim_proto::Incarnation;
use gim_proxy_sdk::testing::{DEADLINE, RedisServer};
use tokio::time::{Instant, timeout};

use super::rig::{ROOM, Rig, ack, now_ms, numbers, settle, take};
use super::worker::{directory, until};
use crate::support::{Nodes, ledger, mailboxes, node, reports};

const LEASE: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_lane_is_its_owners_only_as_long_as_redis_confirms_it() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source_with(LaneOptions { lease: LEASE, ..rig.options() });
    assert!(!source.is_owned());
    rig.fill(0..1).await;
    take(&source, 1).await;
    assert!(source.is_owned());
    // Renewed all the time.
    tokio::time::sleep(LEASE).await;
    assert!(source.is_owned());
    server.freeze();
    let frozen = Instant::now();
    until("nobody believes it any more", async || !source.is_owned()).await;
    assert!(frozen.elapsed() < LEASE, "before it is over");
    server.thaw();
    until("Redis has confirmed it", async || source.confirm().await.is_ok()).await;
    assert!(source.is_owned());
}

#[tokio::test]
async fn a_worker_sends_nothing_while_nobody_confirms_its_lane() {
    let server = RedisServer::start().await;
    let rig = Rig::on(&server);
    let source = rig.source_with(LaneOptions { lease: LEASE, ..rig.options() });
    let (works, does_it) = tokio::sync::watch::channel(false);
    let nodes = Arc::new(Nodes::scripted(move |_, batch| match *does_it.borrow() {
        true => Ok(reports(batch)),
        false => Err(DeliverErrorKind::Unreachable),
    }));
    let ports = Ports {
        name: node("worker").id,
        directory: directory(&node("home")).await,
        mailboxes: mailboxes(),
        ledger: ledger(),
        deliver: Arc::clone(&nodes) as Arc<dyn Deliver>,
        observer: Arc::clone(&rig.heard) as Arc<dyn Observer>,
    };
    let often = Duration::from_millis(20);
    let section =
        WorkerSection { attempts: 1_000, backoff_first: often, backoff_max: often, ..WorkerSection::default() };
    let lane = Worker::start_lane(Arc::clone(&source) as Arc<dyn Source>, &ports, &section);
    rig.fill(0..3).await;
    until("it is tried", async || nodes.batches().len() > 3).await;
    server.freeze();
    until("nobody believes it any more", async || !source.is_owned()).await;
    let sent = nodes.batches().len();
    works.send_replace(true);
    tokio::time::sleep(often * 20).await;
    assert_eq!(nodes.batches().len(), sent);
    server.thaw();
    until("all are delivered", async || nodes.numbers("1") == [0, 1, 2]).await;
    lane.drain(Instant::now() + DEADLINE).await;
}

#[tokio::test]
async fn a_doubt_is_settled_by_redis() {
    let rig = Rig::shared().await;
    let owner = Incarnation::mint();
    let source = rig.source_with(LaneOptions { owner, ..rig.options() });
    rig.fill(0..1).await;
    take(&source, 1).await;
    let term = source.term();
    source.doubt();
    assert!(!source.is_owned());
    source.confirm().await.unwrap();
    assert_eq!((source.is_owned(), source.term()), (true, term));

    let next = rig.source_with(LaneOptions { voided: vec![owner], ..rig.options() });
    take(&next, 1).await;
    source.doubt();
    assert_eq!(source.confirm().await.unwrap_err().kind, SourceErrorKind::Lost);
    assert!(!source.is_owned() && next.is_owned());
}

#[tokio::test]
async fn a_lane_that_is_given_back_is_nobodys() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..1).await;
    let taken = take(&source, 1).await;
    ack(&source, &taken).await;
    source.release().await;
    assert!(!source.is_owned());
}

#[tokio::test]
async fn a_new_owner_has_caught_up_once_all_that_was_tried_before_is_read_again() {
    let rig = Rig::shared().await;
    let dead = Incarnation::mint();
    let first = rig.source_with(LaneOptions { owner: dead, ..rig.options() });
    rig.fill(0..10).await;
    let taken = take(&first, 10).await;
    let later = Settlement::Later { due_ms: now_ms() + 3_600_000, attempts: 1, rest: None };
    settle(&first, &taken[6..8], &later).await;

    let second = rig.source_with(LaneOptions { voided: vec![dead], ..rig.options() });
    let mut again = Vec::new();
    while again.len() < 10 {
        assert!(!second.has_caught_up(), "{} of 10", again.len());
        let read = timeout(DEADLINE, second.fetch(Room { entries: 3, ..ROOM })).await.unwrap().unwrap();
        again.extend(numbers(&read));
    }
    again.sort_unstable();
    assert_eq!(again, (0..10).collect::<Vec<_>>());
    rig.fill(10..11).await;
    assert_eq!(numbers(&take(&second, 1).await), [10]);
    assert!(second.has_caught_up());
    second.rewind().await.unwrap();
    assert!(!second.has_caught_up());
}
