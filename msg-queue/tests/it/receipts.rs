//! What is written down about messages that ask for it, and when.

use std::sync::Arc;

use gim_msg_queue::observe::{Event, Step};
use gim_proxy_sdk::ledger::{Ledger, ReceiptState};
use gim_proxy_sdk::mailbox::Mailboxes;

use crate::support::{Flakiness, Nodes, Plan, ShakyLedger, ShakyMailboxes, World, entry, to};

fn with(ledger: &Arc<ShakyLedger>) -> Plan {
    Plan { ledger: Some(Arc::clone(ledger) as Arc<dyn Ledger>), ..Plan::default() }
}

fn written(ledger: &ShakyLedger) -> Vec<(String, ReceiptState)> {
    ledger.receipts().into_iter().map(|receipt| (receipt.target.into_string(), receipt.state)).collect()
}

#[tokio::test(start_paused = true)]
async fn one_receipt_per_target_says_what_became_of_it() {
    let ledger = ShakyLedger::failing(0);
    let world = World::with(with(&ledger), Nodes::willing());
    world.connect(&["on"]).await;
    let receipt = ("receipt", "1");
    let durable = entry(1, &[("to_uids", r#"["on","off"]"#), ("class", "durable"), receipt]);
    let ids = world.put(vec![durable, entry(2, &[("to_uid", "off"), receipt]), entry(3, &[("to_uid", "on"), receipt])]);
    let ids = ids.await;
    world.put(vec![entry(4, &[("tgid", "nobody"), receipt]), to(5, "off")]).await;
    world.settled(5).await;
    let mut written = written(&ledger);
    written.sort_by(|one, other| (&one.0, one.1.as_str()).cmp(&(&other.0, other.1.as_str())));
    let expected = [
        ("nobody", ReceiptState::Offline),
        ("off", ReceiptState::Offline),
        ("off", ReceiptState::Stored),
        ("on", ReceiptState::Stored),
    ];
    assert_eq!(written, expected.map(|(target, state)| (target.to_owned(), state)));
    let receipts = ledger.receipts();
    let told = receipts.iter().find(|receipt| &*receipt.target == "on").unwrap();
    assert_eq!((&told.id, &*told.node), (&ids[0], "worker"));
    assert!(told.at_ms >= crate::support::START_MS);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_settled_before_its_receipts_are_written() {
    let ledger = ShakyLedger::failing(7);
    let world = World::with(with(&ledger), Nodes::willing());
    world.put(vec![entry(1, &[("to_uid", "1"), ("receipt", "1")])]).await;
    world.settled(1).await;
    assert_eq!(world.count(|event| matches!(event, Event::Paused { step: Step::Settle, .. })), 7);
    assert_eq!(written(&ledger), [("1".to_owned(), ReceiptState::Offline)]);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_is_repeated_writes_no_receipt_again() {
    let ledger = ShakyLedger::failing(0);
    let source = Some(Flakiness { settles: 5, ..Flakiness::default() });
    let world = World::with(Plan { source, ..with(&ledger) }, Nodes::willing());
    world.put(vec![entry(1, &[("to_uid", "1"), ("receipt", "1")])]).await;
    world.settled(1).await;
    assert_eq!(written(&ledger).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_mailbox_lets_go_is_told_before_what_needed_its_room_is_settled() {
    let ledger = ShakyLedger::failing(3);
    let mailboxes = Some(ShakyMailboxes::of(1) as Arc<dyn Mailboxes>);
    let world = World::with(Plan { mailboxes, ..with(&ledger) }, Nodes::willing());
    let durable = ("class", "durable");
    let first = world.put(vec![entry(1, &[("to_uids", r#"["a","b"]"#), durable, ("receipt", "1")])]).await;
    world.put(vec![entry(2, &[("to_uid", "a"), durable]), entry(3, &[("to_uid", "a"), durable])]).await;
    world.settled(3).await;
    let trimmed: Vec<_> =
        ledger.receipts().into_iter().filter(|receipt| receipt.state == ReceiptState::Trimmed).collect();
    let [trimmed] = trimmed.as_slice() else { panic!("{trimmed:?}") };
    assert_eq!((&trimmed.id, &*trimmed.target, trimmed.reason.as_deref()), (&first[0], "a", Some("full")));
    assert_eq!(written(&ledger).len(), 3, "and that it was stored for both");
}

#[tokio::test(start_paused = true)]
async fn what_was_let_go_is_told_by_whoever_repeats_the_append() {
    let ledger = ShakyLedger::failing(0);
    // The first append of the second message takes effect, and its answer is lost.
    let mut calls = 0;
    let mailboxes = Some(ShakyMailboxes::of_fate(1, move |_| {
        calls += 1;
        (calls == 2).then_some(1)
    }) as Arc<dyn Mailboxes>);
    let world = World::with(Plan { mailboxes, ..with(&ledger) }, Nodes::willing());
    let durable = ("class", "durable");
    world.put(vec![entry(1, &[("to_uid", "a"), durable, ("receipt", "1")])]).await;
    world.settled(1).await;
    world.put(vec![entry(2, &[("to_uid", "a"), durable])]).await;
    world.settled(2).await;
    let a = |state| ("a".to_owned(), state);
    assert_eq!(written(&ledger), [a(ReceiptState::Stored), a(ReceiptState::Trimmed)]);
}

#[tokio::test(start_paused = true)]
async fn the_journey_of_a_message_that_is_followed_is_noted() {
    let ledger = ShakyLedger::failing(0);
    let world = World::with(with(&ledger), Nodes::willing());
    world.connect(&["1"]).await;
    let followed = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let ids = world.put(vec![entry(1, &[("to_uid", "1"), ("class", "durable"), followed]), to(2, "1")]).await;
    world.settled(2).await;
    let hops = ledger.journey(&ids[0]).await.unwrap();
    assert_eq!(hops.iter().map(|hop| &*hop.hop).collect::<Vec<_>>(), ["read", "stored", "routed", "settled"]);
    assert_eq!(hops[1].detail.as_deref(), Some("offset 1"));
    assert!(hops[2].detail.as_deref().unwrap().contains("home"));
    assert!(hops.iter().all(|hop| &*hop.node == "worker" && hop.at_us > 0));
    assert!(ledger.journey(&ids[1]).await.unwrap().is_empty());
    assert!(ledger.receipts().is_empty());
}
