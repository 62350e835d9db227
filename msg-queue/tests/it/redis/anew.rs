//! A Redis that comes back without what was stored last, while the entries it was stored for are not settled.

use std::sync::Arc;

use gim_msg_queue::config::WorkerSection;
use gim_msg_queue::deliver::Deliver;
use gim_msg_queue::observe::{Event, Observer};
use gim_msg_queue::source::{Settlement, Source, SourceErrorKind};
use gim_msg_queue::worker::{Ports, Worker, WorkerHandle};
use gim_proto::{Fields, SessionId};
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::directory::{ClaimRequest, Directory, OnDuplicate};
use gim_proxy_sdk::ledger::ReceiptState;
use gim_proxy_sdk::mailbox::{Item, MailboxBounds, Mailboxes, PageBounds, Position, RedisMailboxes};
use gim_proxy_sdk::testing::{DEADLINE, RedisServer};
use tokio::time::Instant;

use super::rig::{Rig, take, take_in_the_end, to_one, try_ack};
use super::worker::until;
use crate::support::{Nodes, ShakyLedger, entry, node, uid};

struct Stage {
    rig: Rig,
    nodes: Arc<Nodes>,
    mailboxes: Arc<RedisMailboxes>,
    ledger: Arc<ShakyLedger>,
    worker: WorkerHandle,
}

impl Stage {
    /// Users 1 and 3 are connected, to a node each that lets nothing through yet.
    async fn on(server: &RedisServer) -> Self {
        let rig = Rig::on(server);
        let nodes = Arc::new(Nodes::willing().shut());
        let (options, ledger) = (server.options(), ShakyLedger::failing(0));
        let mailboxes = RedisMailboxes::connect(&options, rig.keys.clone(), MailboxBounds::default()).await.unwrap();
        let directory = LocalDirectory::new(node("home"));
        for (name, home) in [("1", "home"), ("3", "other")] {
            let (uid, node, session) = (uid(name), node(home), SessionId::mint());
            let on_duplicate = OnDuplicate::Replace;
            directory.claim(ClaimRequest { uid, node, session, on_duplicate, resume: None }).await.unwrap();
        }
        let ports = Ports {
            name: node("worker").id,
            directory: Arc::new(directory) as Arc<dyn Directory>,
            mailboxes: Arc::clone(&mailboxes) as Arc<dyn Mailboxes>,
            ledger: Arc::clone(&ledger) as _,
            deliver: Arc::clone(&nodes) as Arc<dyn Deliver>,
            observer: Arc::clone(&rig.heard) as Arc<dyn Observer>,
        };
        let worker = Worker::start(vec![rig.source() as Arc<dyn Source>], &ports, &WorkerSection::default());
        Self { rig, nodes, mailboxes, ledger, worker }
    }

    /// The numbers of the messages in the mailbox of user 1.
    async fn letters(&self) -> Vec<String> {
        let all = PageBounds { messages: 1_000, bytes: 1 << 20 };
        let Ok(page) = self.mailboxes.read(&uid("1"), Position::default(), all).await else { return Vec::new() };
        let letter = |item: Item| match item {
            Item::Letter { offset, message, .. } => {
                let gim_proto::Payload::Json(json) = &message.payload else { panic!("{message:?}") };
                format!("{}@{offset}", String::from_utf8_lossy(json))
            }
            Item::Gap { .. } => panic!("a gap"),
        };
        page.items.into_iter().map(letter).collect()
    }

    fn anew(&self) -> usize {
        self.rig.heard.count(|event| matches!(event, Event::StoredAnew { .. }))
    }
}

fn durable(number: usize) -> Fields {
    to_one(number, &[("class", "durable"), ("receipt", "1")])
}

#[tokio::test]
async fn what_redis_lost_of_a_mailbox_is_stored_anew_before_it_is_settled() {
    let mut server = RedisServer::start().await;
    let mut stage = Stage::on(&server).await;
    // Held behind the first, which is at its node, the second is read and not stored: so Redis has it on its disk.
    stage.rig.add(&to_one(1, &[])).await;
    stage.rig.add(&durable(2)).await;
    until("the first is at its node", async || stage.nodes.batches().len() == 1).await;
    until("both are read", async || stage.rig.pending().await == 2).await;
    let _: String = stage.rig.ask(&["SAVE"]).await;
    stage.nodes.open(1);
    until("the second is stored", async || stage.letters().await.len() == 1).await;
    // What comes now is not on the disk at all.
    stage.rig.add(&durable(4)).await;
    stage.rig.add(&entry(3, &[("to_uid", "3")])).await;
    until("the third is at its node, too", async || stage.nodes.batches().len() == 3).await;
    server.stop();
    server.restart().await;
    stage.rig.reconnect();
    assert_eq!(stage.rig.pending().await, 2, "redis has the entries, as they were before anything was stored");
    stage.nodes.open(1_000);
    let both = [r#"{"n":2}@1"#, r#"{"n":4}@2"#];
    until("both are stored", async || stage.letters().await == both).await;
    until("all is settled", async || stage.rig.pending().await == 0).await;
    assert!(stage.anew() > 0);
    assert_eq!(stage.nodes.numbers("3"), [3], "nothing else comes twice");
    assert_eq!(stage.letters().await, both);
    let receipts = stage.ledger.receipts();
    assert!(receipts.len() >= 2 && receipts.iter().all(|receipt| receipt.state == ReceiptState::Stored));
    let report = stage.worker.drain(Instant::now() + DEADLINE).await;
    assert_eq!(report.unsettled, 0);
}

#[tokio::test]
async fn what_was_stored_in_another_run_is_not_settled_however_early_it_is_tried() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut rig = Rig::on(&server);
    let source = rig.source();
    rig.fill(0..3).await;
    let taken = take(&source, 3).await;
    let run = source.run();
    let settle = |n: usize| [(taken[n].entry_id, Settlement::Ack)];
    source.settle_in(run, &settle(0)).await.unwrap();
    server.stop();
    server.restart().await;
    rig.reconnect();
    // Nobody here has met the other run when it is tried first, unless the lease was renewed just now.
    let refused = loop {
        match source.settle_in(run, &settle(1)).await.unwrap_err().kind {
            SourceErrorKind::Unavailable | SourceErrorKind::Timeout => {}
            kind => break kind,
        }
    };
    assert_eq!(refused, SourceErrorKind::Replaced);
    assert_eq!(rig.pending().await, 2);
    assert!(source.run() > run, "and then it is known");
    source.look_again();
    assert!(!source.has_caught_up());
    source.settle_in(source.run(), &settle(1)).await.unwrap();
    try_ack(&source, &taken[2..]).await.unwrap();
    rig.fill(3..4).await;
    take_in_the_end(&source, 1).await;
    assert!(source.has_caught_up());
}
