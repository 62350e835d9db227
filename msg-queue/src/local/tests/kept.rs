//! What of a queue is there for the next process, and what happens when its store takes nothing.

use std::sync::atomic::AtomicU64;

use futures_util::FutureExt;
use gim_proxy_sdk::journal::{Change, Journal, JournalErrorKind, Kept, Table};

use super::*;
use crate::config::LocalSection;
use crate::local::store::tests::Folder;
use crate::local::store::{LocalStore, Policy, StoreErrorKind};
use crate::source::SourceErrorKind;

/// A clock set by hand.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// One process after the other on the same store.
struct Process {
    setup: Setup,
    store: Arc<LocalStore>,
    clock: Arc<Hand>,
}

fn begin(folder: &Folder, section: QueueSection, now_ms: u64) -> Result<Process, StoreErrorKind> {
    let kind = |error: crate::local::store::StoreError| error.kind;
    let (store, rows) = LocalStore::open(&folder.0, Policy::from(&LocalSection::default())).map_err(kind)?;
    let clock = Arc::new(Hand(AtomicU64::new(now_ms)));
    let heard = Arc::new(Heard::default());
    let (time, observer) = (Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&heard) as Arc<dyn Observer>);
    let restored = LocalQueue::restored(section, time, observer, Arc::clone(&store) as Arc<dyn Journal>, &rows);
    let queue = restored.map_err(kind).inspect_err(|_| store.close())?;
    let sources = queue.sources();
    sources.iter().for_each(|source| source.stop_waiting());
    Ok(Process { setup: Setup { queue, heard, sources }, store, clock })
}

impl Process {
    /// As the end of the process: nothing in memory is left, what was submitted is written.
    fn end(self) {
        self.store.close();
    }
}

fn facts(read: &[Fetched]) -> Vec<(String, u32)> {
    read.iter().map(|fetched| (fetched.message_id.to_string(), fetched.attempts)).collect()
}

fn named(id: &str, uid: &str) -> Fields {
    entry(&[("to_uid", uid), ("id", id)])
}

#[tokio::test]
async fn what_was_not_settled_comes_again_and_what_was_read_counts_as_tried() {
    let folder = Folder::new();
    let first = begin(&folder, lanes(2), START_MS).unwrap();
    let entries = (0..6).map(|n| named(&format!("m{n}"), "1")).collect();
    first.setup.put(entries).await.unwrap();
    let lane = usize::from(lane_of(&Target::User(Uid::parse("1").unwrap()), NonZeroU16::new(2).unwrap()));
    let source = &first.setup.sources[lane];
    let read = source.fetch(Room { entries: 4, bytes: 1 << 20 }).await.unwrap();
    source.settle(&[(read[1].entry_id, Settlement::Ack)]).await.unwrap();
    assert!(source.keeps_unread());
    first.end();

    let second = begin(&folder, lanes(2), START_MS).unwrap();
    let read = second.setup.read(lane).await;
    let expected = [("m0", 1), ("m2", 1), ("m3", 1), ("m4", 0), ("m5", 0)];
    assert_eq!(facts(&read), expected.map(|(id, attempts)| (id.to_owned(), attempts)));
    second.end();
    let third = begin(&folder, lanes(2), START_MS).unwrap();
    let attempts: Vec<u32> = third.setup.read(lane).await.iter().map(|fetched| fetched.attempts).collect();
    assert_eq!(attempts, [2, 2, 2, 1, 1], "an entry that ends the process each time is given up some day");
}

#[tokio::test]
async fn schedules_and_what_was_put_aside_survive() {
    let folder = Folder::new();
    let first = begin(&folder, lanes(1), START_MS).unwrap();
    let due = START_MS + 60_000;
    let scheduled = entry(&[("to_uid", "1"), ("id", "later"), ("deliver_at_ms", &due.to_string())]);
    first.setup.put(vec![named("a", "1"), scheduled, named("b", "1")]).await.unwrap();
    let read = first.setup.read(0).await;
    let rest = Some(Rest::Users(vec![Uid::parse("1").unwrap()]));
    let aside = Settlement::Later { due_ms: START_MS + 90_000, attempts: 7, rest: rest.clone() };
    first.setup.settle(&read[0], aside).await;
    first.end();

    let second = begin(&folder, lanes(1), START_MS + 1_000).unwrap();
    let stats = second.setup.stats().await;
    assert_eq!((stats.later, stats.lag), (1, 2));
    let read = second.setup.read(0).await;
    assert_eq!(facts(&read), [("a".to_owned(), 7), ("b".to_owned(), 1)], "nobody knows what is held back behind it");
    assert_eq!(read[0].rest, rest);
    second.clock.0.store(due, Ordering::SeqCst);
    assert_eq!(facts(&second.setup.read(0).await), [("later".to_owned(), 0)]);
}

#[tokio::test]
async fn dead_letters_survive_and_can_be_redriven_and_purged() {
    let folder = Folder::new();
    let first = begin(&folder, lanes(1), START_MS).unwrap();
    first.setup.put(vec![named("a", "1"), named("b", "2"), named("c", "3")]).await.unwrap();
    for fetched in first.setup.read(0).await {
        first.setup.settle(&fetched, death(&["1"])).await;
    }
    let letters = first.setup.dead().await;
    first.end();

    let second = begin(&folder, lanes(1), START_MS + 5).unwrap();
    let again = second.setup.dead().await;
    let shown =
        |letters: &[DeadLetter]| letters.iter().map(|letter| (letter.id, letter.fields.clone())).collect::<Vec<_>>();
    assert_eq!(shown(&again), shown(&letters));
    assert_eq!(second.setup.queue.redrive(0, Selection::Ids(vec![letters[0].id])).await.unwrap(), 1);
    assert_eq!(second.setup.queue.purge(0, Selection::Ids(vec![letters[1].id])).await.unwrap(), 1);
    second.end();

    let third = begin(&folder, lanes(1), START_MS + 5).unwrap();
    assert_eq!(third.setup.dead().await.iter().map(|letter| letter.id).collect::<Vec<_>>(), [letters[2].id]);
    let read = third.setup.read(0).await;
    assert_eq!(read[0].message_id.as_str(), "a");
    assert_eq!(read[0].rest, Some(Rest::Users(vec![Uid::parse("1").unwrap()])), "for the target that failed");
}

#[tokio::test]
async fn the_oldest_dead_letters_are_gone_from_the_store_too() {
    let folder = Folder::new();
    let section = QueueSection { dead_letters: 2, ..lanes(1) };
    let first = begin(&folder, section.clone(), START_MS).unwrap();
    first.setup.put((0..5).map(|n| named(&format!("m{n}"), "1")).collect()).await.unwrap();
    for fetched in first.setup.read(0).await {
        first.setup.settle(&fetched, death(&["1"])).await;
    }
    first.end();
    let second = begin(&folder, QueueSection { dead_letters: 100, ..section }, START_MS).unwrap();
    assert_eq!(second.setup.dead().await.len(), 2);
}

#[tokio::test]
async fn ids_are_remembered_within_their_window() {
    let folder = Folder::new();
    let first = begin(&folder, lanes(1), START_MS).unwrap();
    first.setup.put(vec![named("a", "1")]).await.unwrap();
    first.clock.0.store(START_MS + 60_000, Ordering::SeqCst);
    first.setup.put(vec![named("b", "1")]).await.unwrap();
    for fetched in first.setup.read(0).await {
        first.setup.settle(&fetched, Settlement::Ack).await;
    }
    first.end();

    let window_ms = 10 * 60_000;
    let second = begin(&folder, lanes(1), START_MS + window_ms + 1).unwrap();
    second.setup.put(vec![named("a", "1"), named("b", "1")]).await.unwrap();
    assert_eq!(second.setup.stats().await.lag, 1, "b is a repeat");
    second.end();
    let third = begin(&folder, lanes(1), START_MS + 2 * window_ms).unwrap();
    third.setup.put(vec![named("a", "1"), named("b", "1")]).await.unwrap();
    assert_eq!(third.setup.stats().await.lag, 2, "the second a is a repeat");
}

#[tokio::test]
async fn ids_of_entries_rise_also_when_the_clock_has_fallen_back_and_all_was_settled() {
    let folder = Folder::new();
    let first = begin(&folder, lanes(1), START_MS).unwrap();
    let last = first.setup.put((0..3).map(|_| to("1")).collect()).await.unwrap().remove(2);
    for fetched in first.setup.read(0).await {
        first.setup.settle(&fetched, Settlement::Ack).await;
    }
    first.end();
    let second = begin(&folder, lanes(1), START_MS - 60_000).unwrap();
    assert_eq!(last.as_str(), format!("0-{START_MS}-2"));
    assert_eq!(second.setup.one(to("1")).await.as_str(), format!("0-{START_MS}-3"));
}

#[tokio::test]
async fn another_number_of_lanes_is_refused_while_something_waits() {
    let folder = Folder::new();
    let first = begin(&folder, lanes(4), START_MS).unwrap();
    first.setup.put((0..9).map(|n| to(&n.to_string())).collect()).await.unwrap();
    first.end();
    assert_eq!(begin(&folder, lanes(3), START_MS).err(), Some(StoreErrorKind::Lanes));
    let second = begin(&folder, lanes(4), START_MS).unwrap();
    for (lane, source) in second.setup.sources.iter().enumerate() {
        for fetched in second.setup.read(lane).await {
            source.settle(&[(fetched.entry_id, Settlement::Ack)]).await.unwrap();
        }
    }
    second.end();
    begin(&folder, lanes(3), START_MS).unwrap();
}

/// A journal that takes nothing when it is told so.
#[derive(Default)]
struct Moody {
    refuses: Mutex<Option<JournalErrorKind>>,
    taken: Mutex<Vec<Change>>,
}

impl Journal for Moody {
    fn submit(&self, changes: Vec<Change>) -> Kept {
        if let Some(kind) = *self.refuses.lock().unwrap() {
            return std::future::ready(Err(kind.into())).boxed();
        }
        self.taken.lock().unwrap().extend(changes);
        std::future::ready(Ok(())).boxed()
    }
}

impl Moody {
    fn is(&self, mood: Option<JournalErrorKind>) {
        *self.refuses.lock().unwrap() = mood;
    }

    /// The entries as they are kept.
    fn entries(&self) -> usize {
        let mut rows = std::collections::BTreeMap::new();
        let taken = self.taken.lock().unwrap();
        for change in taken.iter().filter(|change| change.table == Table::Entries) {
            match &change.value {
                Some(value) => drop(rows.insert(change.key.clone(), value.clone())),
                None => drop(rows.remove(&change.key)),
            }
        }
        rows.len()
    }
}

fn moody() -> (Setup, Arc<Moody>) {
    let folder = Folder::new();
    let (store, rows) = LocalStore::open(&folder.0, Policy::from(&LocalSection::default())).unwrap();
    let (journal, heard) = (Arc::new(Moody::default()), Arc::new(Heard::default()));
    let clock = Arc::new(Hand(AtomicU64::new(START_MS)));
    let (to, observer) = (Arc::clone(&journal) as Arc<dyn Journal>, Arc::clone(&heard) as Arc<dyn Observer>);
    let queue = LocalQueue::restored(lanes(1), clock, observer, to, &rows).unwrap();
    drop(rows);
    store.close();
    let sources = queue.sources();
    sources.iter().for_each(|source| source.stop_waiting());
    (Setup { queue, heard, sources }, journal)
}

#[tokio::test]
async fn what_the_store_does_not_take_is_not_accepted() {
    let (setup, journal) = moody();
    for (kind, answer) in
        [(JournalErrorKind::Full, QueueErrorKind::Full), (JournalErrorKind::Failed, QueueErrorKind::Unavailable)]
    {
        journal.is(Some(kind));
        assert_eq!(setup.put(vec![named("a", "1")]).await, Err(answer));
        assert_eq!(setup.stats().await.lag, 0);
    }
    assert_eq!(setup.heard(), [(0, Event::Refused { bound: "store" })]);
    journal.is(None);
    setup.put(vec![named("a", "1")]).await.unwrap();
    assert_eq!((setup.stats().await.lag, journal.entries()), (1, 1), "the id was not marked");
}

#[tokio::test]
async fn settlements_the_store_had_no_room_for_go_with_the_batch_that_is_repeated() {
    let (setup, journal) = moody();
    setup.put((0..3).map(|_| to("1")).collect()).await.unwrap();
    let read = setup.read(0).await;
    journal.is(Some(JournalErrorKind::Full));
    let batch = [(read[0].entry_id, Settlement::Ack), (read[1].entry_id, death(&["1"]))];
    let error = setup.sources[0].settle(&batch).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unavailable);
    assert_eq!(journal.entries(), 3);
    journal.is(None);
    setup.sources[0].settle(&batch).await.unwrap();
    assert_eq!((journal.entries(), setup.dead().await.len()), (1, 1));
}
