//! The store on a real disk: what it keeps, what it refuses, how it groups.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gim_proxy_sdk::testing::prefix;

use super::*;

const ALWAYS: Policy = Policy {
    fsync: Fsync::Always,
    interval: Duration::from_secs(1),
    waiting: WaitingBounds { rows: 100_000, bytes: 64 << 20 },
};

/// A folder of its own, gone with the test.
pub(in crate::local) struct Folder(pub(in crate::local) PathBuf);

impl Folder {
    pub(in crate::local) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("gim-store-{}", prefix())))
    }

    fn open(&self, policy: Policy) -> Result<(Arc<LocalStore>, Rows), StoreErrorKind> {
        LocalStore::open(&self.0, policy).map_err(|error| error.kind)
    }

    /// What the table holds for the next process.
    fn entries(&self) -> Result<BTreeMap<Bytes, Bytes>, StoreErrorKind> {
        let (store, rows) = self.open(ALWAYS)?;
        let found = rows.of(Table::Entries).map_err(|error| error.kind);
        drop(rows);
        store.close();
        Ok(found?.into_iter().collect())
    }

    fn log(&self) -> PathBuf {
        let files = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn put(number: u64, value: &'static str) -> Vec<Change> {
    vec![Change::put(Table::Entries, key(number), value.into())]
}

async fn fill(folder: &Folder, commits: u64) {
    let (store, rows) = folder.open(ALWAYS).unwrap();
    drop(rows);
    for number in 0..commits {
        store.submit(put(number, "something to be kept")).await.unwrap();
    }
    store.close();
}

#[tokio::test]
async fn what_was_kept_is_there_for_the_next_process() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        let folder = Folder::new();
        let (store, rows) = folder.open(Policy { fsync, ..ALWAYS }).unwrap();
        assert!(rows.of(Table::Entries).unwrap().is_empty());
        drop(rows);
        store.submit([put(1, "a"), put(2, "b")].concat()).await.unwrap();
        store.submit(vec![Change::delete(Table::Entries, key(1))]).await.unwrap();
        store.submit(vec![Change::put(Table::Dead, key(1), "other table".into())]).await.unwrap();
        store.close();
        assert_eq!(folder.entries().unwrap(), BTreeMap::from([(key(2), Bytes::from("b"))]), "{fsync:?}");
    }
}

#[tokio::test]
async fn of_changes_of_one_row_in_one_commit_the_last_counts() {
    let folder = Folder::new();
    let (store, rows) = folder.open(ALWAYS).unwrap();
    drop(rows);
    let gone = |number| vec![Change::delete(Table::Entries, key(number))];
    let changes = [put(1, "a"), gone(1), put(2, "a"), gone(2), put(2, "b"), put(3, "a"), put(3, "c")].concat();
    store.submit(changes).await.unwrap();
    store.close();
    let expected = BTreeMap::from([(key(2), Bytes::from("b")), (key(3), Bytes::from("c"))]);
    assert_eq!(folder.entries().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_together_is_one_commit() {
    let folder = Folder::new();
    let (store, rows) = folder.open(ALWAYS).unwrap();
    drop(rows);
    let writers = (0..64).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0..50 {
                store.submit(put(writer * 1_000 + number, "x")).await.unwrap();
            }
        })
    });
    futures_util::future::join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    let figures = store.figures();
    assert_eq!((figures.rows, figures.waiting), (64 * 50, 0));
    assert!(figures.commits * 8 < figures.rows, "{figures:?}");
    store.close();
    assert_eq!(folder.entries().unwrap().len(), 64 * 50);
}

#[tokio::test]
async fn nothing_new_to_keep_waits_for_what_was_submitted_before() {
    let folder = Folder::new();
    let (store, rows) = folder.open(ALWAYS).unwrap();
    drop(rows);
    let first = store.submit(put(1, "x"));
    let nothing = store.submit(Vec::new());
    nothing.await.unwrap();
    assert!(first.now_or_never().is_some_and(|kept| kept.is_ok()), "it is kept by then");
    assert!(store.submit(Vec::new()).now_or_never().is_some_and(|kept| kept.is_ok()));
}

#[tokio::test]
async fn too_much_at_once_is_refused_and_what_was_taken_is_kept() {
    let folder = Folder::new();
    let waiting = WaitingBounds { rows: 3, bytes: 1 << 20 };
    let (store, rows) = folder.open(Policy { waiting, ..ALWAYS }).unwrap();
    drop(rows);
    let mut taken = Vec::new();
    let mut refused = 0;
    for number in 0..2_000 {
        match store.take(put(number, "x")) {
            Ok(kept) => taken.push((number, kept)),
            Err(error) => {
                assert_eq!(error.kind, JournalErrorKind::Full);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    assert_eq!(store.figures().refused, refused);
    let mut numbers = Vec::new();
    for (number, kept) in taken {
        kept.await.unwrap();
        numbers.push(key(number));
    }
    store.submit((9_000..9_010).flat_map(|number| put(number, "more than the bound")).collect()).await.unwrap();
    numbers.extend((9_000..9_010).map(key));
    store.close();
    assert_eq!(folder.entries().unwrap().into_keys().collect::<Vec<_>>(), numbers);
}

#[tokio::test]
async fn a_store_has_one_process_at_a_time() {
    let folder = Folder::new();
    let (store, rows) = folder.open(ALWAYS).unwrap();
    let error = LocalStore::open(&folder.0, ALWAYS).err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Taken);
    assert!(error.to_string().contains("another process has it"), "{error}");
    drop(rows);
    store.close();
    assert!(folder.entries().unwrap().is_empty());
    assert!(store.submit(put(1, "x")).await.is_err(), "it is closed");
}

#[tokio::test]
async fn an_unfinished_last_commit_is_left_out() {
    let folder = Folder::new();
    fill(&folder, 50).await;
    let log = folder.log();
    let bytes = std::fs::read(&log).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in [1, 20, 40] {
        std::fs::write(&log, &bytes[..written - cut]).unwrap();
        assert_eq!(folder.entries().unwrap().len(), 49, "{cut}");
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_stays_as_it_is() {
    let folder = Folder::new();
    fill(&folder, 50).await;
    let log = folder.log();
    let bytes = std::fs::read(&log).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut refused = 0;
    for at in (0..written / 2).step_by(37) {
        let mut damaged = bytes[..written].to_vec();
        damaged[at] ^= 0x55;
        std::fs::write(&log, &damaged).unwrap();
        match folder.entries() {
            // Damage of what nobody needs.
            Ok(entries) => assert_eq!(entries.len(), 50, "{at}"),
            Err(kind) => {
                refused += 1;
                assert!(matches!(kind, StoreErrorKind::Corrupt | StoreErrorKind::Disk), "{at}: {kind:?}");
                let after = std::fs::read(&log).unwrap();
                assert!(after == damaged, "{at}: it was changed, {} bytes of {written} are left", after.len());
                assert!(folder.entries().is_err(), "{at}: it is refused once and then empty");
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn a_log_that_is_gone_is_no_empty_store() {
    let folder = Folder::new();
    fill(&folder, 5).await;
    std::fs::remove_file(folder.log()).unwrap();
    assert_eq!(folder.entries(), Err(StoreErrorKind::Corrupt));
}

#[tokio::test]
async fn another_schema_is_refused() {
    let folder = Folder::new();
    let (store, rows) = folder.open(ALWAYS).unwrap();
    drop(rows);
    store.submit(vec![Change::put(Table::Meta, "schema".into(), "2".into())]).await.unwrap();
    store.close();
    assert_eq!(folder.entries(), Err(StoreErrorKind::Other));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused() {
    let folder = Folder::new();
    std::fs::write(&folder.0, "a file").unwrap();
    assert_eq!(folder.entries(), Err(StoreErrorKind::Disk));
    std::fs::remove_file(&folder.0).unwrap();
}
