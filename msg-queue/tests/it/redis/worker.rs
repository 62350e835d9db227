//! The whole worker on a lane in Redis.

use std::sync::Arc;
use std::time::Duration;

use gim_msg_queue::config::WorkerSection;
use gim_msg_queue::deliver::Deliver;
use gim_msg_queue::observe::{Event, Observer};
use gim_msg_queue::source::Source;
use gim_msg_queue::worker::{Ports, Worker, WorkerHandle};
use gim_proto::SessionId;
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::directory::{ClaimRequest, Directory, NodeRef, OnDuplicate};
use gim_proxy_sdk::testing::DEADLINE;
use tokio::time::{Instant, timeout};

use super::rig::{LANE, Rig, now_ms, to_one};
use crate::support::{Nodes, ledger, mailboxes, node, reports, text, uid};

pub(crate) async fn directory(home: &NodeRef) -> Arc<dyn Directory> {
    let directory = LocalDirectory::new(home.clone());
    let request = ClaimRequest {
        uid: uid("1"),
        node: home.clone(),
        session: SessionId::mint(),
        on_duplicate: OnDuplicate::Replace,
        resume: None,
    };
    directory.claim(request).await.unwrap();
    Arc::new(directory)
}

async fn start(rig: &Rig, nodes: &Arc<Nodes>) -> (Arc<gim_msg_queue::redis::RedisSource>, WorkerHandle) {
    let home = node("home");
    let source = rig.source();
    let ports = Ports {
        name: node("worker").id,
        directory: directory(&home).await,
        mailboxes: mailboxes(),
        ledger: ledger(),
        deliver: Arc::clone(nodes) as Arc<dyn Deliver>,
        observer: Arc::clone(&rig.heard) as Arc<dyn Observer>,
    };
    let worker = Worker::start(vec![Arc::clone(&source) as Arc<dyn Source>], &ports, &WorkerSection::default());
    (source, worker)
}

pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, looking).await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_worker_delivers_everything_once_and_in_order() {
    let rig = Rig::shared().await;
    let nodes = Arc::new(Nodes::willing());
    let (source, worker) = start(&rig, &nodes).await;
    rig.fill(0..3_000).await;
    let due_ms = now_ms() + 700;
    rig.add(&to_one(3_000, &[("deliver_at_ms", &due_ms.to_string())])).await;
    rig.add(&[("data", "{}")].into_iter().collect()).await;
    rig.add(&to_one(3_001, &[("id", "a")])).await;
    rig.add(&to_one(3_002, &[("id", "a")])).await;
    until("all are delivered", async || nodes.numbers("1").len() == 3_002).await;
    assert!(now_ms() >= due_ms);
    let expected: Vec<usize> = (0..3_000).chain([3_001, 3_000]).collect();
    assert_eq!(nodes.numbers("1"), expected);
    until("all are settled", async || rig.pending().await == 0 && rig.aside().await.is_empty()).await;
    assert_eq!(rig.letters().await.len(), 1);
    let report = worker.drain(Instant::now() + DEADLINE).await;
    assert_eq!((report.settled, report.unsettled, report.scheduled), (3_004, 0, 0));
    source.release().await;
    assert!(!rig.ask::<bool>(&["EXISTS", &rig.keys.lease(LANE)]).await);
}

#[tokio::test]
async fn a_message_that_brings_down_its_lane_dies_alone() {
    let rig = Rig::shared().await;
    let nodes = Arc::new(Nodes::scripted(|_, batch| {
        let poison = batch.deliveries.iter().any(|delivery| text(delivery).contains("666"));
        assert!(!poison, "a bug");
        Ok(reports(batch))
    }));
    let (_source, worker) = start(&rig, &nodes).await;
    rig.fill(0..10).await;
    rig.add(&to_one(666, &[])).await;
    rig.fill(10..20).await;
    until("one is dead", async || rig.letters().await.len() == 1).await;
    until("the others are settled", async || rig.pending().await == 0).await;
    let mut took = nodes.numbers("1");
    took.dedup();
    assert_eq!(took, (0..20).collect::<Vec<_>>());
    assert_eq!(rig.heard.count(|event| matches!(event, Event::Panicked { .. })), 30);
    worker.drain(Instant::now() + DEADLINE).await;
}
