//! The ledger on a real Redis: what stands on its streams, what is bounded, and what becomes of it when Redis is away.

use std::sync::Arc;
use std::time::Duration;

use gim_proto::{EntryId, Fence, Keys, MessageId, NodeId, SessionId, Uid};
use gim_proxy_sdk::ledger::{
    Hop, Ledger, LedgerBounds, LedgerErrorKind, Log, Presence, Receipt, ReceiptState, RedisLedger,
};
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::testing::{RedisCluster, RedisServer, prefix};
use tokio::time::sleep;

use crate::support::streams::Outside;
use crate::support::within;

fn id(name: &str) -> MessageId {
    MessageId::parse(name).unwrap()
}

fn receipt(name: &str, state: ReceiptState) -> Receipt {
    Receipt { id: id(name), target: "42".into(), state, reason: None, node: "n-1".into(), at_ms: 5 }
}

fn hop(name: &str, word: &str, at_us: u64) -> Hop {
    Hop { id: id(name), hop: word.into(), target: None, detail: None, node: "n-1".into(), at_us }
}

fn ledger(outside: &Outside) -> Arc<RedisLedger> {
    RedisLedger::new(&outside.store, outside.keys.clone(), LedgerBounds::default())
}

/// Waits until a journey has so many hops.
async fn journey(ledger: &RedisLedger, name: &str, hops: usize) -> Vec<Hop> {
    let reading = async {
        loop {
            match ledger.journey(&id(name)).await {
                Ok(found) if found.len() >= hops => return found,
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within("the journey", reading).await
}

#[tokio::test]
async fn receipts_stand_on_the_stream_with_the_fields_of_the_wire() {
    let outside = Outside::shared().await;
    let late = Receipt { reason: Some("ttl".into()), ..receipt("m-2", ReceiptState::Expired) };
    ledger(&outside).receipts(&[receipt("m-1", ReceiptState::Stored), late]).await.unwrap();
    let found = outside.stream(&outside.keys.receipts()).await;
    assert_eq!(found[0].1, ["id", "m-1", "target", "42", "state", "stored", "node", "n-1", "at_ms", "5"]);
    let second = ["id", "m-2", "target", "42", "state", "expired", "reason", "ttl", "node", "n-1", "at_ms", "5"];
    assert_eq!(found[1].1, second);
}

#[tokio::test]
async fn presence_stands_on_its_own_stream() {
    let outside = Outside::shared().await;
    let session = SessionId::mint();
    let news = Presence {
        uid: Uid::parse("42").unwrap(),
        is_online: true,
        fence: Fence(7),
        node: NodeId::parse("n-1").unwrap(),
        session,
        reason: "login".into(),
        at_ms: 5,
    };
    let ledger = ledger(&outside);
    ledger.presence(&[news]).await.unwrap();
    let session = session.to_string();
    let expected = [
        ["uid", "42"],
        ["state", "online"],
        ["fence", "7"],
        ["node", "n-1"],
        ["session", &session],
        ["reason", "login"],
        ["at_ms", "5"],
    ];
    assert_eq!(outside.stream(&outside.keys.presence()).await[0].1, expected.concat());
    assert_eq!((ledger.written().presence, ledger.written().receipts), (1, 0));
}

#[tokio::test]
async fn a_log_is_read_page_by_page() {
    let outside = Outside::shared().await;
    let ledger = ledger(&outside);
    let receipts: Vec<Receipt> = (0..2_500).map(|n| receipt(&format!("m-{n}"), ReceiptState::Acked)).collect();
    ledger.receipts(&receipts).await.unwrap();
    assert_eq!(ledger.written().receipts, 2_500);
    let (mut after, mut seen): (Option<EntryId>, Vec<String>) = (None, Vec::new());
    loop {
        let page = ledger.read(Log::Receipts, after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|noted| noted.fields[0].1.to_string()));
    }
    assert_eq!(seen, (0..2_500).map(|n| format!("m-{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_oldest_receipts_go_when_there_are_too_many() {
    let outside = Outside::shared().await;
    let bounds = LedgerBounds { receipts: 100, ..LedgerBounds::default() };
    let ledger = RedisLedger::new(&outside.store, outside.keys.clone(), bounds);
    let receipts: Vec<Receipt> = (0..1_000).map(|n| receipt(&format!("m-{n}"), ReceiptState::Acked)).collect();
    ledger.receipts(&receipts).await.unwrap();
    let kept = outside.length(&outside.keys.receipts()).await;
    // Redis drops whole blocks of a hundred.
    assert!((100..=200).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_journey_is_kept_for_its_time_and_told_in_the_order_of_time() {
    let outside = Outside::shared().await;
    let ledger = ledger(&outside);
    let target = Hop { target: Some("42".into()), detail: Some("to n-1".into()), ..hop("m", "routed", 30) };
    ledger.note(vec![hop("m", "read", 20), target.clone(), hop("other", "read", 1)]);
    ledger.note(vec![hop("m", "accepted", 10)]);
    let found = journey(&ledger, "m", 3).await;
    assert_eq!(found, [hop("m", "accepted", 10), hop("m", "read", 20), target]);
    let left: i64 = outside.send(&["PTTL", &outside.keys.journey(&id("m"))]).await;
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");
    assert!(ledger.journey(&id("nobody")).await.unwrap().is_empty());
    assert_eq!((ledger.written().hops, ledger.dropped()), (4, 0));
}

#[tokio::test]
async fn a_journey_that_is_too_long_keeps_its_beginning() {
    let outside = Outside::shared().await;
    let bounds = LedgerBounds { hops: 3, ..LedgerBounds::default() };
    let ledger = RedisLedger::new(&outside.store, outside.keys.clone(), bounds);
    ledger.note((0..2).map(|n| hop("m", "retry", n)).collect());
    journey(&ledger, "m", 2).await;
    ledger.note((2..9).map(|n| hop("m", "retry", n)).collect());
    within("hops to be dropped", async {
        while ledger.dropped() < 6 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let times: Vec<u64> = ledger.journey(&id("m")).await.unwrap().iter().map(|hop| hop.at_us).collect();
    assert_eq!((times, ledger.dropped(), ledger.written().hops), (vec![0, 1, 2], 6, 3));
}

#[tokio::test]
async fn without_redis_hops_are_dropped_and_receipts_refused_and_both_are_counted() {
    let mut server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let ledger = ledger(&outside);
    ledger.receipts(&[receipt("m", ReceiptState::Stored)]).await.unwrap();
    server.stop();
    let refused = ledger.receipts(&[receipt("m", ReceiptState::Acked)]).await.unwrap_err();
    assert!(matches!(refused.kind, LedgerErrorKind::Unavailable | LedgerErrorKind::Timeout), "{refused:?}");
    ledger.note(vec![hop("m", "read", 1)]);
    within("the hop to be dropped", async {
        while ledger.dropped() < 1 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(ledger.written().failures, 1);
    server.restart().await;
    ledger.receipts(&[receipt("m", ReceiptState::Acked)]).await.unwrap();
    ledger.note(vec![hop("m", "read", 1)]);
    assert_eq!(journey(&ledger, "m", 1).await.len(), 1);
}

#[tokio::test]
async fn a_full_redis_refuses_receipts_and_drops_hops() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let ledger = ledger(&outside);
    outside.send::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let receipts = [receipt("m", ReceiptState::Stored), receipt("m", ReceiptState::Acked)];
    assert_eq!(ledger.receipts(&receipts).await.unwrap_err().kind, LedgerErrorKind::Unavailable);
    ledger.note(vec![hop("m", "read", 1)]);
    within("the hop to be dropped", async {
        while ledger.dropped() < 1 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    outside.send::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    ledger.receipts(&receipts).await.unwrap();
    assert_eq!(outside.length(&outside.keys.receipts()).await, 2);
}

#[tokio::test]
async fn more_hops_than_can_wait_are_dropped_and_nobody_waits() {
    let mut server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let ledger = ledger(&outside);
    server.stop();
    ledger.note((0..40_000).map(|n| hop(&format!("m-{n}"), "read", n)).collect());
    assert!(ledger.dropped() >= 20_000, "{}", ledger.dropped());
}

#[tokio::test]
async fn on_a_redis_cluster_journeys_lie_on_every_master() {
    let cluster = RedisCluster::start().await;
    let keys = Keys::new(&prefix()).unwrap();
    let ledger = RedisLedger::new(&Store::new(cluster.options()), keys, LedgerBounds::default());
    ledger.receipts(&[receipt("m", ReceiptState::Stored)]).await.unwrap();
    assert_eq!(ledger.read(Log::Receipts, None, 10).await.unwrap().len(), 1);
    ledger.note((0..200).map(|n| hop(&format!("m-{n}"), "read", n)).collect());
    for number in 0..200 {
        assert_eq!(journey(&ledger, &format!("m-{number}"), 1).await[0].at_us, number);
    }
    assert_eq!((ledger.written().hops, ledger.dropped()), (200, 0));
}
