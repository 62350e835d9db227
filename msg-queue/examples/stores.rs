//! Compares two embedded stores on what a queue does to one: small rows put and soon deleted, some of them per commit.
//!
//! `cargo run --release -p gim-msg-queue --example stores --features measure [folder]`. The folder must be on the
//! disk that is asked about. Both stores get the same rows; a run of a store is killed with all its rows in it to see how
//! long the next takes to read them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const EACH: Duration = Duration::from_secs(2);
/// Rows that live at a time: the oldest goes for each that comes.
const LIVE: u64 = 1_000;
const KEPT: u64 = 100_000;
const CHURN: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fsync {
    Always,
    Interval,
    Never,
}

/// One commit: rows that come, and how many of the oldest go.
trait Store {
    fn commit(&mut self, put: std::ops::Range<u64>, gone: std::ops::Range<u64>, value: &[u8], sync: bool)
    -> Result<()>;
    fn count(&self) -> Result<u64>;
}

struct Redb(redb::Database);

const ROWS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("rows");

impl Store for Redb {
    fn commit(
        &mut self,
        put: std::ops::Range<u64>,
        gone: std::ops::Range<u64>,
        value: &[u8],
        sync: bool,
    ) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        // What is not synced is not written either: this store has no other way.
        transaction.set_durability(if sync { redb::Durability::Immediate } else { redb::Durability::None })?;
        {
            let mut rows = transaction.open_table(ROWS)?;
            for key in put {
                rows.insert(key.to_be_bytes().as_slice(), value)?;
            }
            for key in gone {
                rows.remove(key.to_be_bytes().as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn count(&self) -> Result<u64> {
        use redb::{ReadableDatabase, ReadableTable};
        let rows = self.0.begin_read()?.open_table(ROWS)?;
        let mut count = 0;
        for row in rows.iter()? {
            count += u64::from(!row?.1.value().is_empty());
        }
        Ok(count)
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Store for Fjall {
    fn commit(
        &mut self,
        put: std::ops::Range<u64>,
        gone: std::ops::Range<u64>,
        value: &[u8],
        sync: bool,
    ) -> Result<()> {
        let mode = if sync { fjall::PersistMode::SyncData } else { fjall::PersistMode::Buffer };
        let mut batch = self.0.batch().durability(Some(mode));
        put.for_each(|key| batch.insert(&self.1, key.to_be_bytes(), value));
        gone.for_each(|key| batch.remove(&self.1, key.to_be_bytes()));
        Ok(batch.commit()?)
    }

    fn count(&self) -> Result<u64> {
        let mut count = 0;
        for row in self.1.iter() {
            count += u64::from(!row.value()?.is_empty());
        }
        Ok(count)
    }
}

fn open(store: &str, folder: &Path) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(folder)?;
    match store {
        "redb" => Ok(Box::new(Redb(redb::Builder::new().set_cache_size(64 << 20).create(folder.join("rows"))?))),
        _ => {
            let database = fjall::Database::builder(folder).worker_threads(1).open()?;
            let rows =
                database.keyspace("rows", || fjall::KeyspaceCreateOptions::default().max_memtable_size(16 << 20))?;
            Ok(Box::new(Fjall(database, rows)))
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "target/stores".to_owned()));
    if let (Some(store), Some(bytes)) = (arguments.next(), arguments.next()) {
        fill(&store, &folder, bytes.parse()?)?;
        // As a kill does: nothing is closed.
        std::process::abort();
    }
    rates(&folder)?;
    recoveries(&folder)
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn rates(folder: &Path) -> Result<()> {
    println!("| bytes | fsync | rows per commit | redb: commits/s | rows/s | fjall: commits/s | rows/s |");
    println!("|---|---|---|---|---|---|---|");
    for bytes in [128, 4_096] {
        for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
            for rows in [1, 16, 256] {
                let rate = |store| measure(store, folder, bytes, fsync, rows);
                let (redb, fjall) = (rate("redb")?, rate("fjall")?);
                let (word, many) = (format!("{fsync:?}").to_lowercase(), rows as f64);
                let figures = format!("{redb:.0} | {:.0} | {fjall:.0} | {:.0}", redb * many, fjall * many);
                println!("| {bytes} | {word} | {rows} | {figures} |");
            }
        }
    }
    Ok(())
}

fn measure(store: &str, folder: &Path, bytes: usize, fsync: Fsync, rows: u64) -> Result<f64> {
    clear(folder)?;
    let mut store = open(store, folder)?;
    let value = vec![7_u8; bytes];
    store.commit(0..LIVE, 0..0, &value, true)?;
    let (start, mut synced, mut commits) = (Instant::now(), Instant::now(), 0);
    while start.elapsed() < EACH {
        let due = fsync == Fsync::Interval && synced.elapsed() > Duration::from_secs(1);
        let next = LIVE + commits * rows;
        store.commit(next..next + rows, next - LIVE..next - LIVE + rows, &value, due || fsync == Fsync::Always)?;
        synced = if due { Instant::now() } else { synced };
        commits += 1;
    }
    Ok(commits as f64 / start.elapsed().as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn recoveries(folder: &Path) -> Result<()> {
    let sizes = format!("size after {CHURN} rows, {KEPT} at a time | the same, {LIVE} at a time");
    println!("\n| bytes | store | size with {KEPT} rows | opened after a kill in | {sizes} |");
    println!("|---|---|---|---|---|---|");
    for bytes in [128, 4_096] {
        for store in ["redb", "fjall"] {
            clear(folder)?;
            let program = std::env::current_exe()?;
            std::process::Command::new(program).arg(folder).args([store, &bytes.to_string()]).status()?;
            let size = mib(folder)?;
            let start = Instant::now();
            let mut open = open(store, folder)?;
            let count = open.count()?;
            let took = start.elapsed().as_secs_f64();
            assert_eq!(count, KEPT, "{store}");
            churn(&mut *open, bytes, KEPT)?;
            let many = mib(folder)?;
            drop(open);
            let few = soon_gone(store, folder, bytes)?;
            println!("| {bytes} | {store} | {size} MiB | {took:.2} s | {many} MiB | {few} MiB |");
        }
    }
    clear(folder)
}

fn fill(store: &str, folder: &Path, bytes: usize) -> Result<()> {
    let mut store = open(store, folder)?;
    let value = vec![7_u8; bytes];
    for first in (0..KEPT).step_by(500) {
        store.commit(first..first + 500, 0..0, &value, true)?;
    }
    // So that the store is in the middle of something.
    for first in (0..10_000).step_by(500) {
        store.commit(KEPT + first..KEPT + first + 500, first..first + 500, &value, true)?;
    }
    Ok(())
}

/// Tells the size after rows that were gone soon.
fn soon_gone(store: &str, folder: &Path, bytes: usize) -> Result<u64> {
    clear(folder)?;
    let mut open = open(store, folder)?;
    churn(&mut *open, bytes, LIVE)?;
    mib(folder)
}

/// Has rows come and go, so many at a time. At the end there is one.
fn churn(store: &mut dyn Store, bytes: usize, live: u64) -> Result<()> {
    let value = vec![7_u8; bytes];
    let (mut next, mut oldest) = (10_000 + live, 10_000);
    while next < CHURN {
        store.commit(next..next + 500, oldest..oldest + 500, &value, false)?;
        (next, oldest) = (next + 500, oldest + 500);
    }
    store.commit(0..0, oldest..next, &value, true)?;
    store.commit(next..next + 1, 0..0, &value, true)
}

fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn mib(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { mib(&entry.path())? << 20 } else { about.blocks() * 512 };
    }
    Ok(bytes >> 20)
}
