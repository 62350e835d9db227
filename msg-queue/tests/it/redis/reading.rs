//! What is read, in which order, and as what.

use gim_msg_queue::source::{Room, Source};
use gim_proto::{DeadReason, EntryId, Fields, MalformedKind};
use gim_proxy_sdk::store::Store;
use gim_proxy_sdk::testing::RedisServer;

use super::rig::{LANE, ROOM, Rig, ack, attempts, nothing, numbers, take, to_one};

#[tokio::test]
async fn entries_come_in_order_and_once() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..2_500).await;
    assert_eq!(source.term(), 0);
    let taken = take(&source, 2_500).await;
    assert_eq!(numbers(&taken), (0..2_500).collect::<Vec<_>>());
    assert!(taken.iter().all(|fetched| fetched.attempts == 0 && fetched.rest.is_none() && !fetched.duplicate));
    assert!(taken[0].message_id.as_str().starts_with(&format!("{LANE}-{}", taken[0].entry_id.ms)));
    assert!(source.term() > 1_700_000_000_000_000);
    nothing(&source).await;
    assert_eq!(rig.pending().await, 2_500);
    ack(&source, &taken).await;
    assert_eq!(rig.pending().await, 0);
    rig.fill(2_500..2_510).await;
    assert_eq!(numbers(&take(&source, 10).await), (2_500..2_510).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_read_stays_within_its_room() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..100).await;
    // Nothing is known of their size yet: as many as fit if they were as large as may be.
    let first = source.fetch(Room { entries: 1_000, bytes: 1 << 20 }).await.unwrap();
    assert_eq!(numbers(&first), (0..4).collect::<Vec<_>>());
    ack(&source, &first).await;
    let few = source.fetch(Room { entries: 3, bytes: 1 << 20 }).await.unwrap();
    assert_eq!(numbers(&few), [4, 5, 6]);
    let one = source.fetch(Room { entries: 7, bytes: 1 }).await.unwrap();
    assert_eq!(numbers(&one), [7], "one is read however large it is");
    take(&source, 92).await;
    for number in 100..120 {
        rig.fill(number..number + 1).await;
        take(&source, 1).await;
    }

    let large = "x".repeat(200_000);
    for number in 0..60 {
        rig.add(&to_one(number, &[("more", &large)])).await;
    }
    let bytes = |read: &[gim_msg_queue::source::Fetched]| read.iter().map(|fetched| fetched.size).sum::<usize>();
    let room = Room { entries: 1_000, bytes: 2 << 20 };
    let surprised = source.fetch(room).await.unwrap();
    assert!(bytes(&surprised) > 2 << 20, "the first large ones are not expected");
    rig.fill(0..1).await;
    for number in 0..60 {
        rig.add(&to_one(number, &[("more", &large)])).await;
    }
    let learned = source.fetch(room).await.unwrap();
    assert!(bytes(&learned) < 3 << 20, "{}", bytes(&learned));
}

#[tokio::test]
async fn what_is_malformed_is_read_as_such() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.add(&[("data", "{}")].into_iter().collect()).await;
    rig.add(&[("to_uid", "1"), ("data", "{")].into_iter().collect()).await;
    rig.add(&to_one(1, &[("id", "not an id")])).await;
    rig.add(&to_one(2, &[("more", &"x".repeat(300_000))])).await;
    let far = (super::rig::now_ms() + 31 * 24 * 3_600_000).to_string();
    rig.add(&to_one(3, &[("deliver_at_ms", &far)])).await;
    rig.ask::<String>(&["XADD", &rig.keys.queue(LANE), "*", "to_uid", "1", "data", "{}", "id", "good"]).await;
    let taken = take(&source, 6).await;
    let kinds: Vec<_> = taken.iter().map(|fetched| fetched.body.as_ref().err().map(|error| error.kind)).collect();
    use MalformedKind::{Name, NoTarget, NotJson, OutOfRange, TooLarge};
    assert_eq!(kinds, [Some(NoTarget), Some(NotJson), Some(Name), Some(TooLarge), Some(OutOfRange), None]);
    assert_eq!(DeadReason::from(TooLarge), DeadReason::TooLarge);
    assert_eq!(taken[5].message_id.as_str(), "good");
}

#[tokio::test]
async fn field_names_of_any_bytes_are_read() {
    let rig = Rig::shared().await;
    let source = rig.source();
    let mut add = ::redis::cmd("XADD");
    add.arg(rig.keys.queue(LANE)).arg("*").arg(b"\xff\xfe").arg(b"\xfd").arg("to_uid").arg("1").arg("data").arg("{}");
    rig.store.link(rig.keys.queue(LANE)).query::<String>(&add).await.unwrap();
    assert!(take(&source, 1).await[0].body.is_ok());
}

#[tokio::test]
async fn of_two_with_one_id_the_later_is_a_duplicate() {
    the_later_of_two_is_a_duplicate(Rig::shared().await).await;
}

#[tokio::test]
async fn a_user_of_redis_that_was_made_for_an_earlier_version_notes_ids_too() {
    let server = RedisServer::start().await;
    server.set_user("earlier on >secret ~* +@all -mget").await;
    let rig = Rig::over(Store::new(server.options().username("earlier").password("secret")));
    the_later_of_two_is_a_duplicate(rig).await;
    assert!(server.denials().await.iter().any(|denial| denial.object == "mget"), "it was asked for them all at once");
}

async fn the_later_of_two_is_a_duplicate(rig: Rig) {
    let source = rig.source();
    let msg: Fields = [("msg", r#"{"to_uid":"1","data":{},"id":"b"}"#)].into_iter().collect();
    for fields in [to_one(0, &[("id", "a")]), to_one(1, &[("id", "b")]), to_one(2, &[("id", "a")]), msg] {
        rig.add(&fields).await;
    }
    let taken = take(&source, 4).await;
    let duplicates: Vec<bool> = taken.iter().map(|fetched| fetched.duplicate).collect();
    assert_eq!(duplicates, [false, false, true, true]);
    let mark = rig.keys.idempotency(LANE, &taken[0].message_id);
    assert_eq!(rig.ask::<String>(&["GET", &mark]).await, taken[0].entry_id.to_string());
    let left_ms: u64 = rig.ask(&["PTTL", &mark]).await;
    assert!((500_000..=600_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test]
async fn an_entry_read_again_is_no_duplicate_of_itself() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.add(&to_one(0, &[("id", "a")])).await;
    let first = take(&source, 1).await;
    rig.add(&to_one(1, &[("id", "a")])).await;
    assert!(take(&source, 1).await[0].duplicate);
    assert_eq!(source.rewind().await.unwrap(), 2);
    let again = take(&source, 2).await;
    assert_eq!(again[0].entry_id, first[0].entry_id);
    assert_eq!([again[0].duplicate, again[1].duplicate], [false, true]);

    // Its mark has expired, and an entry that came after the window has set its own: the first is still none of it.
    let mark = rig.keys.idempotency(LANE, &first[0].message_id);
    let later = EntryId { ms: first[0].entry_id.ms + 600_000, seq: 0 };
    rig.ask::<()>(&["SET", &mark, &later.to_string()]).await;
    source.rewind().await.unwrap();
    assert!(!take(&source, 2).await[0].duplicate);
}

#[tokio::test]
async fn an_entry_whose_id_was_noted_by_a_later_one_before_it_was_read_is_a_duplicate() {
    let rig = Rig::shared().await;
    let source = rig.source();
    let by_hand = rig.add(&to_one(0, &[("id", "a")])).await;
    // As a producer does that notes the id with the entry it appends.
    let noted = rig.add(&to_one(0, &[("id", "a")])).await;
    let mark = rig.keys.idempotency(LANE, &"a".parse().unwrap());
    rig.ask::<()>(&["SET", &mark, &noted.to_string()]).await;
    let taken = take(&source, 2).await;
    let found: Vec<_> = taken.iter().map(|fetched| (fetched.entry_id, fetched.duplicate)).collect();
    assert_eq!(found, [(by_hand, true), (noted, false)]);
}

#[tokio::test]
async fn many_ids_are_noted_in_few_calls() {
    let rig = Rig::shared().await;
    let source = rig.source();
    for number in 0..1_100 {
        rig.add(&to_one(number, &[("id", &format!("i{}", number % 1_050))])).await;
    }
    let taken = take(&source, 1_100).await;
    let duplicates = taken.iter().filter(|fetched| fetched.duplicate).count();
    assert_eq!(duplicates, 50);
    assert!(taken[..1_050].iter().all(|fetched| !fetched.duplicate));
}

#[tokio::test]
async fn each_time_an_entry_comes_again_counts_as_an_attempt() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..3).await;
    take(&source, 3).await;
    for count in 1..12 {
        assert_eq!(source.rewind().await.unwrap(), 3);
        let again = take(&source, 3).await;
        assert_eq!((numbers(&again), attempts(&again)), (vec![0, 1, 2], vec![count; 3]));
    }
    rig.fill(3..4).await;
    let fresh = take(&source, 1).await;
    assert_eq!((numbers(&fresh), attempts(&fresh)), (vec![3], vec![0]));
}

#[tokio::test]
async fn a_rewind_comes_before_what_is_new_and_page_by_page() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..2_300).await;
    let taken = take(&source, 2_300).await;
    rig.fill(2_300..2_400).await;
    ack(&source, &taken[500..600]).await;
    assert_eq!(source.rewind().await.unwrap(), 2_200);
    let mut again = Vec::new();
    while again.len() < 2_300 {
        let read = source.fetch(Room { entries: 300, ..ROOM }).await.unwrap();
        assert!(!read.is_empty() && read.len() <= 300);
        again.extend(read);
    }
    assert_eq!(numbers(&again), (0..500).chain(600..2_400).collect::<Vec<_>>());
}

#[tokio::test]
async fn backlog_tells_what_was_not_read_and_what_waits() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.fill(0..50).await;
    let later = (super::rig::now_ms() + 3_600_000).to_string();
    rig.ask::<()>(&["ZADD", &rig.keys.later(LANE), &later, "0000000000000001-0000000000000001"]).await;
    // The first look is before the first read.
    source.fetch(Room { entries: 10, ..ROOM }).await.unwrap();
    let backlog = source.backlog();
    assert_eq!((backlog.unread, backlog.scheduled), (50, 1));
    let taken = take(&source, 40).await;
    ack(&source, &taken).await;
    let looking = async {
        while source.backlog().unread > 0 {
            source.fetch(ROOM).await.unwrap();
        }
    };
    tokio::time::timeout(gim_proxy_sdk::testing::DEADLINE, looking).await.unwrap();
    assert_eq!(source.backlog().scheduled, 1);
    assert!(source.keeps_unread());
}

#[tokio::test]
async fn entry_ids_given_by_hand_are_read() {
    let rig = Rig::shared().await;
    let source = rig.source();
    for id in ["1-1", "1-18446744073709551615", "9007199254740991-5"] {
        rig.ask::<String>(&["XADD", &rig.keys.queue(LANE), id, "to_uid", "1", "data", r#"{"n":1}"#]).await;
    }
    let taken = take(&source, 3).await;
    assert_eq!(taken[1].entry_id, EntryId { ms: 1, seq: u64::MAX });
    ack(&source, &taken).await;
    assert_eq!(rig.pending().await, 0);
}
