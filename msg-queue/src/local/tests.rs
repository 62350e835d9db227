//! What the queue of one process promises, without a worker: its source is read by hand.

mod kept;

use std::num::NonZeroU16;
use std::sync::Mutex;
use std::time::Duration;

use gim_proto::{DeadReason, Target, Uid, lane_of};
use tokio::time::{Instant, advance};

use super::packed::pack;
use super::*;
use crate::clock::TokioClock;
use crate::config::ByteSize;
use crate::observe::Event;
use crate::source::{Death, Fetched, Rest, Room, Settlement};

const START_MS: u64 = 1_700_000_000_000;
const ROOM: Room = Room { entries: 1_000, bytes: 1 << 20 };

#[derive(Default)]
struct Heard(Mutex<Vec<(u16, Event)>>);

impl Observer for Heard {
    fn record(&self, lane: u16, event: &Event) {
        self.0.lock().unwrap().push((lane, event.clone()));
    }
}

struct Setup {
    queue: Arc<LocalQueue>,
    heard: Arc<Heard>,
    sources: Vec<Arc<dyn Source>>,
}

fn setup(section: QueueSection) -> Setup {
    let heard = Arc::new(Heard::default());
    let clock = Arc::new(TokioClock::starting_at(START_MS));
    let queue = LocalQueue::with(section, clock, Arc::clone(&heard) as Arc<dyn Observer>);
    let sources = queue.sources();
    sources.iter().for_each(|source| source.stop_waiting());
    Setup { queue, heard, sources }
}

fn lanes(lanes: u16) -> QueueSection {
    QueueSection { lanes: NonZeroU16::new(lanes).unwrap(), ..QueueSection::default() }
}

fn entry(pairs: &[(&'static str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (name, (*value).to_owned())).chain([(&"data", "{}".to_owned())]).collect()
}

fn to(uid: &str) -> Fields {
    entry(&[("to_uid", uid)])
}

impl Setup {
    async fn put(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, QueueErrorKind> {
        self.queue.enqueue(entries).await.map_err(|error| error.kind)
    }

    async fn one(&self, fields: Fields) -> MessageId {
        self.put(vec![fields]).await.unwrap().remove(0)
    }

    async fn read(&self, lane: usize) -> Vec<Fetched> {
        self.sources[lane].fetch(ROOM).await.unwrap()
    }

    async fn settle(&self, fetched: &Fetched, how: Settlement) {
        self.sources[0].settle(&[(fetched.entry_id, how)]).await.unwrap();
    }

    async fn stats(&self) -> LaneStats {
        self.queue.stats().await.unwrap().remove(0)
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        self.queue.dead(0, None, 1_000).await.unwrap()
    }

    fn heard(&self) -> Vec<(u16, Event)> {
        self.heard.0.lock().unwrap().clone()
    }
}

fn death(failed: &[&str]) -> Settlement {
    Settlement::Dead(Box::new(Death {
        reason: DeadReason::Attempts,
        attempts: 10,
        error: "unreachable".into(),
        failed_targets: failed.iter().map(|name| (*name).into()).collect(),
        rest: Some(Rest::Users(failed.iter().map(|name| Uid::parse(name).unwrap()).collect())),
    }))
}

fn users(fetched: &Fetched) -> Vec<String> {
    match &fetched.body.as_ref().unwrap().target {
        Target::User(uid) => vec![uid.to_string()],
        Target::Users(uids) => uids.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn entries_come_in_order_with_rising_ids() {
    let setup = setup(lanes(1));
    let mut ids = setup.put((0..50).map(|n| to(&n.to_string())).collect()).await.unwrap();
    advance(Duration::from_millis(3)).await;
    ids.extend(setup.put((50..100).map(|n| to(&n.to_string())).collect()).await.unwrap());
    let read = setup.read(0).await;
    let users: Vec<String> = read.iter().flat_map(users).collect();
    assert_eq!(users, (0..100).map(|n: u32| n.to_string()).collect::<Vec<_>>());
    assert!(read.is_sorted_by(|a, b| a.entry_id < b.entry_id));
    assert_eq!(read[99].entry_id, EntryId { ms: START_MS + 3, seq: 49 });
    assert_eq!(ids[99].as_str(), format!("0-{}-49", START_MS + 3));
    assert_eq!(read.iter().map(|fetched| fetched.message_id.clone()).collect::<Vec<_>>(), ids);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_accepted_whole_or_not_at_all() {
    let setup = setup(lanes(1));
    let error = setup.queue.enqueue(vec![to("1"), entry(&[]), to("2")]).await.unwrap_err();
    assert_eq!((error.kind, error.index), (QueueErrorKind::Malformed, Some(1)));
    assert_eq!(setup.stats().await.lag, 0);
    let large = entry(&[("to_uid", "1"), ("x", &"x".repeat(262_144))]);
    assert_eq!(setup.put(vec![to("1"), large]).await, Err(QueueErrorKind::TooLarge));
    assert_eq!(setup.stats().await.lag, 0);
}

#[tokio::test(start_paused = true)]
async fn every_class_and_receipts_are_accepted() {
    let setup = setup(lanes(1));
    for (name, value) in [("class", "durable"), ("receipt", "1")] {
        assert!(setup.put(vec![entry(&[("to_uid", "1"), (name, value)])]).await.is_ok());
    }
    let error = setup.queue.enqueue(vec![entry(&[("all", "1"), ("class", "durable")])]).await.unwrap_err();
    assert_eq!((error.kind, error.field.as_deref()), (QueueErrorKind::Malformed, Some("class")));
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_of_entries_nothing_more_is_accepted() {
    let setup = setup(QueueSection { entries: 3, ..lanes(1) });
    setup.put(vec![to("1"), to("2")]).await.unwrap();
    assert_eq!(setup.put(vec![to("3"), to("4")]).await, Err(QueueErrorKind::Full));
    setup.put(vec![to("3")]).await.unwrap();
    assert_eq!(setup.put(vec![to("4")]).await, Err(QueueErrorKind::Full));
    assert_eq!(setup.heard(), vec![(0, Event::Refused { bound: "entries" }); 2]);
    setup.read(0).await;
    setup.put(vec![to("4")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_of_schedules_only_scheduled_entries_are_refused() {
    let setup = setup(QueueSection { later: 1, ..lanes(1) });
    let due = (START_MS + 1_000).to_string();
    let scheduled = entry(&[("to_uid", "1"), ("deliver_at_ms", &due)]);
    setup.put(vec![scheduled.clone()]).await.unwrap();
    assert_eq!(setup.put(vec![scheduled]).await, Err(QueueErrorKind::Full));
    setup.put(vec![to("1")]).await.unwrap();
    assert_eq!(setup.heard(), [(0, Event::Refused { bound: "later" })]);
}

/// As many bytes as entries of [`sized`] take up.
fn room_for(entries: u64) -> QueueSection {
    QueueSection { bytes: ByteSize(entries * pack(&sized("1")).len() as u64), ..lanes(1) }
}

/// An entry of a fixed size.
fn sized(uid: &str) -> Fields {
    entry(&[("to_uid", uid), ("deliver_at_ms", &(START_MS + 1).to_string())])
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_of_bytes_nothing_more_is_accepted_until_something_is_settled() {
    let setup = setup(room_for(3));
    setup.put(vec![sized("1"), sized("2")]).await.unwrap();
    let error = setup.queue.enqueue(vec![sized("3"), sized("4")]).await.unwrap_err();
    assert_eq!((error.kind, error.index), (QueueErrorKind::Full, Some(1)));
    assert_eq!(setup.heard(), [(0, Event::Refused { bound: "bytes" })]);
    advance(Duration::from_millis(1)).await;
    setup.put(vec![sized("3")]).await.unwrap();
    // Neither being read nor being put aside makes room.
    let read = setup.read(0).await;
    assert_eq!(read.len(), 3);
    setup.settle(&read[0], Settlement::Later { due_ms: START_MS + 9_000, attempts: 1, rest: None }).await;
    assert_eq!(setup.put(vec![sized("4")]).await, Err(QueueErrorKind::Full));
    setup.settle(&read[1], Settlement::Ack).await;
    setup.settle(&read[1], Settlement::Ack).await;
    setup.put(vec![sized("4")]).await.unwrap();
    assert_eq!(setup.put(vec![sized("5")]).await, Err(QueueErrorKind::Full));
    setup.settle(&read[2], death(&["3"])).await;
    setup.put(vec![sized("5")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dead_letters_have_a_bound_of_bytes_of_their_own_and_redrive_keeps_to_that_of_the_lane() {
    let setup = setup(room_for(2));
    advance(Duration::from_millis(1)).await;
    for uid in ["1", "2", "3"] {
        setup.put(vec![sized(uid)]).await.unwrap();
        let read = setup.read(0).await;
        setup.settle(&read[0], death(&[uid])).await;
    }
    let left = setup.dead().await;
    assert_eq!(left.len(), 2);
    assert_eq!(setup.heard(), [(0, Event::DeadLettersDropped { letters: 1 })]);
    setup.put(vec![sized("4")]).await.unwrap();
    assert_eq!(setup.queue.redrive(0, Selection::All).await.unwrap(), 1);
    assert_eq!(setup.dead().await[0].id, left[1].id, "the oldest went");
    for which in [Selection::All, Selection::Ids(vec![left[1].id])] {
        assert_eq!(setup.queue.redrive(0, which).await.unwrap_err().kind, QueueErrorKind::Full);
    }
    assert_eq!(setup.queue.redrive(0, Selection::Ids(vec![left[0].id])).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_too_far_ahead_is_malformed() {
    let setup = setup(QueueSection { schedule_ahead: Duration::from_secs(1), ..lanes(1) });
    let at = |ms: u64| entry(&[("to_uid", "1"), ("deliver_at_ms", &(START_MS + ms).to_string())]);
    setup.put(vec![at(1_000)]).await.unwrap();
    let error = setup.queue.enqueue(vec![at(1_001)]).await.unwrap_err();
    assert_eq!((error.kind, error.field.as_deref()), (QueueErrorKind::Malformed, Some("deliver_at_ms")));
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_entry_comes_at_its_time_and_not_before() {
    let setup = setup(lanes(1));
    let due = (START_MS + 5_000).to_string();
    let id = setup.one(entry(&[("to_uid", "1"), ("deliver_at_ms", &due)])).await;
    setup.one(to("2")).await;
    assert_eq!(setup.read(0).await.len(), 1);
    assert_eq!(setup.stats().await.later, 1);
    advance(Duration::from_millis(4_999)).await;
    assert!(setup.read(0).await.is_empty());
    advance(Duration::from_millis(1)).await;
    assert_eq!(setup.stats().await.lag, 1);
    let read = setup.read(0).await;
    assert_eq!((read[0].message_id.clone(), read[0].entry_id.ms), (id, START_MS));
    assert_eq!(setup.stats().await.oldest_pending_ms, 5_000, "the other one");
    setup.settle(&read[0], Settlement::Ack).await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reader_is_woken_by_what_comes_and_by_what_becomes_due() {
    let queue = LocalQueue::with(lanes(1), Arc::new(TokioClock::starting_at(START_MS)), Arc::new(Silent));
    let source = queue.sources().remove(0);
    let reader = || {
        let source = Arc::clone(&source);
        tokio::spawn(async move { source.fetch(ROOM).await.unwrap().len() })
    };
    let reading = reader();
    tokio::task::yield_now().await;
    queue.enqueue(vec![to("1"), to("2")]).await.unwrap();
    assert_eq!(reading.await.unwrap(), 2);

    let begun = Instant::now();
    let reading = reader();
    tokio::task::yield_now().await;
    let due = (START_MS + 90_000).to_string();
    queue.enqueue(vec![entry(&[("to_uid", "1"), ("deliver_at_ms", &due)])]).await.unwrap();
    assert_eq!(reading.await.unwrap(), 1);
    assert_eq!(begun.elapsed(), Duration::from_secs(90));

    let reading = reader();
    tokio::task::yield_now().await;
    source.stop_waiting();
    assert_eq!(reading.await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_id_has_no_effect_within_the_window() {
    let setup = setup(lanes(1));
    let mine = || entry(&[("to_uid", "1"), ("id", "order-1")]);
    let ids = setup.put(vec![mine(), to("2"), mine()]).await.unwrap();
    assert_eq!((ids[0].as_str(), &ids[2]), ("order-1", &ids[0]));
    assert_eq!(setup.read(0).await.len(), 2);
    advance(Duration::from_mins(10)).await;
    assert_eq!(setup.one(mine()).await, ids[0]);
    assert!(setup.read(0).await.is_empty());
    advance(Duration::from_millis(1)).await;
    setup.one(mine()).await;
    assert_eq!(setup.read(0).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_marks_no_id() {
    let setup = setup(QueueSection { entries: 1, ..lanes(1) });
    let mine = |id: &str| entry(&[("to_uid", "1"), ("id", id)]);
    assert_eq!(setup.put(vec![mine("a"), mine("b")]).await, Err(QueueErrorKind::Full));
    setup.put(vec![mine("b"), mine("b")]).await.unwrap();
    assert_eq!(setup.stats().await.lag, 1);
}

#[tokio::test(start_paused = true)]
async fn ids_beyond_the_bound_are_forgotten_and_counted() {
    let setup = setup(QueueSection { idempotency_ids: 2, ..lanes(1) });
    let mine = |n: u32| entry(&[("to_uid", "1"), ("id", &format!("m{n}"))]);
    setup.put((0..5).map(mine).collect()).await.unwrap();
    let forgotten: u64 = setup
        .heard()
        .into_iter()
        .map(|(_, event)| match event {
            Event::IdsForgotten { ids } => ids,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(forgotten, 3);
    setup.put(vec![mine(0), mine(4)]).await.unwrap();
    assert_eq!(setup.stats().await.lag, 6);
}

#[tokio::test(start_paused = true)]
async fn users_of_several_lanes_are_split_under_one_id() {
    let setup = setup(lanes(4));
    let uids: Vec<String> = (0..40).map(|n| format!("user-{n}")).collect();
    let list = serde_json::to_string(&uids).unwrap();
    let id = setup.one(entry(&[("to_uids", &list), ("except_uid", "user-3")])).await;
    assert_eq!(id.as_str().len(), 26, "a minted id");
    let mut found = Vec::new();
    for lane in 0..4 {
        let read = setup.read(lane).await;
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].message_id, id);
        assert_eq!(read[0].body.as_ref().unwrap().except.len(), 1);
        for uid in users(&read[0]) {
            let target = Target::User(Uid::parse(&uid).unwrap());
            assert_eq!(usize::from(lane_of(&target, NonZeroU16::new(4).unwrap())), lane);
            found.push(uid);
        }
    }
    found.sort();
    let mut uids = uids;
    uids.sort();
    assert_eq!(found, uids);
}

#[tokio::test(start_paused = true)]
async fn a_split_entry_keeps_the_id_it_was_given_and_its_repeat_has_no_effect() {
    let setup = setup(lanes(4));
    let uids: Vec<String> = (0..40).map(|n| format!("user-{n}")).collect();
    let msg =
        serde_json::json!({"to_uids": uids, "data": {"n": 1}, "mol": "chat", "id": "x", "own": "kept"}).to_string();
    let given = || [("msg", msg.clone())].into_iter().collect::<Fields>();
    assert_eq!(setup.one(given()).await.as_str(), "x");
    assert_eq!(setup.one(given()).await.as_str(), "x");
    for lane in 0..4 {
        let read = setup.read(lane).await;
        assert_eq!((read.len(), read[0].message_id.as_str()), (1, "x"));
    }
}

#[tokio::test(start_paused = true)]
async fn groups_stay_whole_in_the_lane_of_the_first() {
    let setup = setup(lanes(4));
    let groups: Vec<String> = (0..40).map(|n| format!("g{n}")).collect();
    let list = serde_json::to_string(&groups).unwrap();
    setup.one(entry(&[("tgid_list", &list)])).await;
    let first = Target::Group(gim_proto::Tgid::parse("g0").unwrap());
    let lane = lane_of(&first, NonZeroU16::new(4).unwrap());
    let lags: Vec<u64> = setup.queue.stats().await.unwrap().iter().map(|stats| stats.lag).collect();
    assert_eq!((lags[usize::from(lane)], lags.iter().sum::<u64>()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_accepts_nothing_and_keeps_what_it_has() {
    let setup = setup(lanes(1));
    setup.one(to("1")).await;
    setup.queue.close();
    assert_eq!(setup.put(vec![to("2")]).await, Err(QueueErrorKind::Unavailable));
    let read = setup.read(0).await;
    assert_eq!(read.len(), 1);
    setup.settle(&read[0], death(&["1"])).await;
    let redrive = setup.queue.redrive(0, Selection::All).await;
    assert_eq!(redrive.unwrap_err().kind, QueueErrorKind::Unavailable, "it would be lost, or delivered too late");
    assert_eq!(setup.dead().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_takes_no_more_than_there_is_room_for() {
    let setup = setup(lanes(1));
    setup.put((0..10).map(|n| to(&n.to_string())).collect()).await.unwrap();
    let read = |entries, bytes| setup.sources[0].fetch(Room { entries, bytes });
    assert_eq!(read(3, 1 << 20).await.unwrap().len(), 3);
    assert_eq!(read(9, 0).await.unwrap().len(), 1, "one is read however large it is");
    let size = read(1, 0).await.unwrap()[0].size;
    assert_eq!(read(9, 2 * size).await.unwrap().len(), 2);
    let stats = setup.stats().await;
    assert_eq!((stats.lag, stats.pending), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn figures_follow_an_entry_through_its_life() {
    let setup = setup(lanes(1));
    setup.put(vec![to("1"), to("2")]).await.unwrap();
    advance(Duration::from_millis(70)).await;
    let waiting = setup.stats().await;
    assert_eq!((waiting.lag, waiting.pending, waiting.oldest_pending_ms), (2, 0, 70));
    let read = setup.read(0).await;
    setup.settle(&read[0], Settlement::Ack).await;
    setup.settle(&read[0], Settlement::Ack).await;
    let stats = setup.stats().await;
    assert_eq!((stats.lag, stats.pending, stats.settled), (0, 1, 1));
    setup.settle(&read[1], death(&["2"])).await;
    let stats = setup.stats().await;
    assert_eq!((stats.pending, stats.dead, stats.settled, stats.oldest_pending_ms), (0, 1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_aside_comes_back_in_order_under_its_id_with_what_is_left_of_it() {
    let setup = setup(lanes(1));
    let ids = setup.put(vec![to("1"), entry(&[("to_uids", r#"["1","2"]"#)])]).await.unwrap();
    let read = setup.read(0).await;
    let rest = Some(Rest::Users(vec![Uid::parse("1").unwrap()]));
    let due_ms = START_MS + 40_000;
    setup.settle(&read[1], Settlement::Later { due_ms, attempts: 1, rest: rest.clone() }).await;
    setup.settle(&read[0], Settlement::Later { due_ms, attempts: 3, rest: None }).await;
    setup.one(to("1")).await;
    advance(Duration::from_secs(40)).await;
    let again = setup.read(0).await;
    let facts: Vec<_> = again.iter().map(|f| (f.message_id.clone(), f.attempts, f.rest.clone())).collect();
    assert_eq!(facts[..2], [(ids[0].clone(), 3, None), (ids[1].clone(), 1, rest)]);
    assert_eq!(again.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_its_fields_and_says_why() {
    let setup = setup(lanes(1));
    let fields = entry(&[("to_uids", r#"["1","2"]"#), ("own", "kept"), ("id", "m")]);
    setup.one(fields.clone()).await;
    let read = setup.read(0).await;
    advance(Duration::from_secs(1)).await;
    setup.settle(&read[0], death(&["2"])).await;
    let letter = setup.dead().await.remove(0);
    for (name, value) in fields.iter() {
        assert_eq!(letter.fields.get(name), Some(value), "{name}");
    }
    let said = |name: &str| String::from_utf8(letter.fields.get(name).unwrap().to_vec()).unwrap();
    let names = ["gim_reason", "gim_attempts", "gim_error", "gim_entry", "gim_at_ms", "gim_failed_targets"];
    let entry = format!("{START_MS}-0");
    let at = (START_MS + 1_000).to_string();
    assert_eq!(names.map(said), ["attempts", "10", "unreachable", &entry, &at, r#"["2"]"#].map(str::to_owned));
}

#[tokio::test(start_paused = true)]
async fn redriven_letters_come_again_under_their_id_for_the_targets_that_failed() {
    let setup = setup(lanes(1));
    let id = setup.one(entry(&[("to_uids", r#"["1","2"]"#), ("id", "m")])).await;
    let read = setup.read(0).await;
    setup.settle(&read[0], death(&["2"])).await;
    assert_eq!(setup.queue.redrive(0, Selection::All).await.unwrap(), 1);
    let again = setup.read(0).await.remove(0);
    assert_eq!((again.message_id.clone(), again.attempts), (id, 0));
    assert_eq!(again.rest, Some(Rest::Users(vec![Uid::parse("2").unwrap()])));
    assert!(setup.dead().await.is_empty());
    setup.settle(&again, death(&["2"])).await;
    assert_eq!(setup.dead().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_paged_selected_and_purged() {
    let setup = setup(lanes(1));
    setup.put((0..6).map(|n| to(&n.to_string())).collect()).await.unwrap();
    for fetched in setup.read(0).await {
        setup.settle(&fetched, death(&["1"])).await;
    }
    let page = setup.queue.dead(0, None, 4).await.unwrap();
    let next = setup.queue.dead(0, Some(page[3].id), 4).await.unwrap();
    assert_eq!((page.len(), next.len()), (4, 2));
    let some = Selection::Ids(vec![page[1].id, next[0].id, EntryId { ms: 1, seq: 1 }]);
    assert_eq!(setup.queue.redrive(0, some.clone()).await.unwrap(), 2);
    assert_eq!(setup.queue.purge(0, some).await.unwrap(), 0);
    assert_eq!(setup.queue.purge(0, Selection::Ids(vec![page[0].id])).await.unwrap(), 1);
    assert_eq!(setup.queue.purge(0, Selection::All).await.unwrap(), 3);
    assert_eq!(setup.queue.dead(1, None, 4).await.unwrap_err().kind, QueueErrorKind::NoSuchLane);
}

#[tokio::test(start_paused = true)]
async fn redrive_stops_at_the_bound_of_entries() {
    let setup = setup(QueueSection { entries: 2, ..lanes(1) });
    for round in 0..2 {
        setup.put(vec![to("1"), to("2")]).await.unwrap();
        for fetched in setup.read(0).await {
            setup.settle(&fetched, death(&["1"])).await;
        }
        assert_eq!(setup.dead().await.len(), 2 * (round + 1));
    }
    assert_eq!(setup.queue.redrive(0, Selection::All).await.unwrap(), 2);
    assert_eq!(setup.queue.redrive(0, Selection::All).await.unwrap_err().kind, QueueErrorKind::Full);
    assert_eq!(setup.dead().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_dead_letters_go_at_the_bound_and_are_counted() {
    let setup = setup(QueueSection { dead_letters: 2, ..lanes(1) });
    setup.put((0..5).map(|n| entry(&[("to_uid", "1"), ("id", &format!("m{n}"))])).collect()).await.unwrap();
    for fetched in setup.read(0).await {
        setup.settle(&fetched, death(&["1"])).await;
    }
    let kept: Vec<_> = setup.dead().await.iter().map(|letter| letter.fields.get("id").unwrap().to_vec()).collect();
    assert_eq!(kept, [b"m3", b"m4"]);
    assert_eq!(setup.heard(), vec![(0, Event::DeadLettersDropped { letters: 1 }); 3]);
}

#[tokio::test(start_paused = true)]
async fn rewound_entries_come_first_in_order_each_with_one_more_attempt() {
    let setup = setup(lanes(1));
    setup.put((0..4).map(|n| to(&n.to_string())).collect()).await.unwrap();
    let first = setup.sources[0].fetch(Room { entries: 3, bytes: 1 << 20 }).await.unwrap();
    setup.settle(&first[1], Settlement::Ack).await;
    assert_eq!(setup.sources[0].rewind().await.unwrap(), 2);
    let again: Vec<_> = setup.read(0).await.iter().map(|f| (users(f)[0].clone(), f.attempts)).collect();
    assert_eq!(again, [("0".to_owned(), 1), ("2".to_owned(), 1), ("3".to_owned(), 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_put_aside_comes_again_in_its_place_when_others_are_rewound() {
    let setup = setup(lanes(1));
    setup.put((0..4).map(|n| to(&n.to_string())).collect()).await.unwrap();
    let later = (START_MS + 9_000).to_string();
    setup.put(vec![entry(&[("to_uid", "9"), ("deliver_at_ms", &later)]), to("4")]).await.unwrap();
    let read = setup.sources[0].fetch(Room { entries: 4, bytes: 1 << 20 }).await.unwrap();
    let aside = |due_ms| Settlement::Later { due_ms, attempts: 5, rest: None };
    setup.settle(&read[0], aside(START_MS + 40_000)).await;
    setup.settle(&read[2], aside(START_MS)).await;
    assert_eq!(setup.stats().await.lag, 2, "the third is due again already");
    assert_eq!(setup.sources[0].rewind().await.unwrap(), 4);
    let facts = |read: Vec<Fetched>| read.iter().map(|f| (users(f)[0].clone(), f.attempts)).collect::<Vec<_>>();
    let again = facts(setup.read(0).await);
    let expected = [("0", 5), ("1", 1), ("2", 5), ("3", 1), ("4", 0)];
    assert_eq!(again, expected.map(|(uid, attempts)| (uid.to_owned(), attempts)));
    advance(Duration::from_secs(9)).await;
    assert_eq!(facts(setup.read(0).await), [("9".to_owned(), 0)], "a schedule is kept");
}

#[tokio::test(start_paused = true)]
async fn ids_rise_also_when_the_clock_does_not() {
    struct Stuck;
    impl Clock for Stuck {
        fn unix_ms(&self) -> u64 {
            7
        }
    }
    let queue = LocalQueue::with(lanes(1), Arc::new(Stuck), Arc::new(Silent));
    let ids = queue.enqueue(vec![to("1"), to("2")]).await.unwrap();
    let more = queue.enqueue(vec![to("3")]).await.unwrap();
    let ids: Vec<&str> = ids.iter().chain(&more).map(MessageId::as_str).collect();
    assert_eq!(ids, ["0-7-0", "0-7-1", "0-7-2"]);
}

#[test]
fn an_entry_costs_little_more_than_its_bytes() {
    assert!(size_of::<super::lane::Slot>() <= 72);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_read_is_taken_back() {
    let setup = setup(lanes(1));
    let far = (START_MS + 60_000).to_string();
    let scheduled = setup.one(entry(&[("to_uid", "1"), ("id", "mine"), ("deliver_at_ms", &far)])).await;
    let read = setup.one(to("1")).await;
    let fetched = setup.read(0).await.remove(0);
    let unread = setup.one(to("1")).await;
    for id in [&scheduled, &unread] {
        let cancelled = setup.queue.cancel(id).await.unwrap();
        let Cancelled::Done(entries) = cancelled else { panic!("{id}: {cancelled:?}") };
        assert_eq!(entries.len(), 1);
        assert_eq!(setup.queue.cancel(id).await.unwrap(), Cancelled::TooLate, "{id}");
    }
    assert_eq!(setup.queue.cancel(&read).await.unwrap(), Cancelled::TooLate);
    setup.settle(&fetched, Settlement::Ack).await;
    assert_eq!(setup.queue.cancel(&read).await.unwrap(), Cancelled::TooLate);
    for name in ["other", "7-1-1"] {
        assert_eq!(setup.queue.cancel(&MessageId::parse(name).unwrap()).await.unwrap(), Cancelled::Unknown, "{name}");
    }
    let stats = setup.stats().await;
    assert_eq!((stats.lag, stats.pending, stats.later), (0, 0, 0));
}
