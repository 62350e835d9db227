use std::time::Duration;

use super::*;
use crate::ledger::ReceiptState;

fn id(name: &str) -> MessageId {
    MessageId::parse(name).unwrap()
}

fn hop(name: &str, at_us: u64) -> Hop {
    Hop { id: id(name), hop: "read".into(), target: None, detail: None, node: "n".into(), at_us }
}

fn receipt(number: u64) -> Receipt {
    let id = id(&format!("m-{number}"));
    Receipt { id, target: "42".into(), state: ReceiptState::Stored, reason: None, node: "n".into(), at_ms: number }
}

fn bounds() -> LedgerBounds {
    LedgerBounds { receipts: 3, presence: 3, hops: 2, journey: Duration::from_mins(1) }
}

#[tokio::test]
async fn the_oldest_receipts_go_and_ids_rise() {
    let ledger = LocalLedger::new(bounds());
    let receipts: Vec<Receipt> = (0..5).map(receipt).collect();
    ledger.receipts(&receipts).await.unwrap();
    let kept = ledger.read(Log::Receipts, None, 10).await.unwrap();
    let names: Vec<&str> = kept.iter().map(|noted| &*noted.fields[0].1).collect();
    assert_eq!(names, ["m-2", "m-3", "m-4"]);
    assert!(kept.windows(2).all(|two| two[0].id < two[1].id), "{kept:?}");
    assert!(kept[0].id.ms > 1_700_000_000_000, "{kept:?}");
    assert_eq!(ledger.written().receipts, 5);
    let rest = ledger.read(Log::Receipts, Some(kept[0].id), 1).await.unwrap();
    assert_eq!(rest, kept[1..2]);
    assert!(ledger.read(Log::Receipts, Some(kept[2].id), 10).await.unwrap().is_empty());
    assert!(ledger.read(Log::Presence, None, 10).await.unwrap().is_empty());
}

#[test]
fn an_id_is_higher_than_the_one_before_whatever_the_clock_says() {
    let last = EntryId { ms: 10, seq: 3 };
    assert_eq!(after(last, 11), EntryId { ms: 11, seq: 0 });
    assert_eq!(after(last, 10), EntryId { ms: 10, seq: 4 });
    assert_eq!(after(last, 2), EntryId { ms: 10, seq: 4 });
}

#[tokio::test(start_paused = true)]
async fn a_journey_is_told_in_the_order_of_time_until_its_time_has_passed() {
    let ledger = LocalLedger::new(bounds());
    ledger.note(vec![hop("a", 20), hop("a", 10), hop("a", 30), hop("b", 5)]);
    let times: Vec<u64> = ledger.journey(&id("a")).await.unwrap().iter().map(|hop| hop.at_us).collect();
    assert_eq!((times, ledger.dropped(), ledger.written().hops), (vec![10, 20], 1, 3));
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(ledger.journey(&id("b")).await.unwrap().len(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(ledger.journey(&id("b")).await.unwrap().is_empty());
    ledger.note(vec![hop("c", 1)]);
    assert_eq!(ledger.journeys().kept.len(), 1);
    assert_eq!(ledger.journeys().begun.len(), 1);
}

#[tokio::test]
async fn the_journey_that_began_first_goes_when_there_are_too_many() {
    let ledger = LocalLedger::new(bounds());
    for number in 0..=JOURNEYS {
        ledger.note(vec![hop(&format!("m-{number}"), 1)]);
    }
    assert!(ledger.journey(&id("m-0")).await.unwrap().is_empty());
    assert_eq!(ledger.journey(&id("m-1")).await.unwrap().len(), 1);
    assert_eq!(ledger.journeys().kept.len(), JOURNEYS);
}
