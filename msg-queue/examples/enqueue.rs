//! How fast a queue in one process accepts, by what is made sure before it answers: nothing, the system, the disk.
//!
//! `cargo run --release -p gim-msg-queue --example enqueue --features measure [folder]`. Callers enqueue one entry at a time and wait for the
//! answer; a reader settles everything at once. The folder must be on the disk that is asked about.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gim_msg_queue::clock::SystemClock;
use gim_msg_queue::config::{Fsync, LocalSection, QueueSection};
use gim_msg_queue::local::LocalQueue;
use gim_msg_queue::local::store::{LocalStore, Policy};
use gim_msg_queue::observe::Silent;
use gim_msg_queue::source::{Room, Settlement, Source};
use gim_proto::Fields;
use gim_proxy_sdk::queue::Queue;
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const EACH: Duration = Duration::from_secs(3);
const ROOM: Room = Room { entries: 1_000, bytes: 4 << 20 };

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
async fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/enqueue".to_owned()));
    println!("| fsync | callers | entries/s | median | 99 % | entries per commit |");
    println!("|---|---|---|---|---|---|");
    for fsync in [None, Some(Fsync::Never), Some(Fsync::Interval), Some(Fsync::Always)] {
        for callers in [1, 16, 256] {
            println!("{}", measure(&folder, fsync, callers).await?);
        }
    }
    Ok(())
}

async fn measure(folder: &Path, fsync: Option<Fsync>, callers: usize) -> Result<String> {
    let _cleared = std::fs::remove_dir_all(folder);
    let (queue, store) = open(folder, fsync)?;
    let source = queue.sources().remove(0);
    let reader = tokio::spawn(settle_all(source));
    let end = Instant::now() + EACH;
    let callers_at_work = (0..callers).map(|_| tokio::spawn(call(Arc::clone(&queue), end)));
    let mut waits = Vec::new();
    for caller in callers_at_work.collect::<Vec<_>>() {
        waits.extend(caller.await??);
    }
    reader.abort();
    waits.sort_unstable();
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().unwrap_or_default();
    let commits = store.as_ref().map_or(0, |store| store.figures().commits);
    store.inspect(|store| store.close());
    let grouped = if commits == 0 { "-".to_owned() } else { format!("{:.1}", waits.len() as f64 / commits as f64) };
    let (rate, median, most) = (waits.len() as f64 / EACH.as_secs_f64(), at(0.5), at(0.99));
    let word = fsync.map_or("no store".to_owned(), |fsync| format!("{fsync:?}").to_lowercase());
    Ok(format!("| {word} | {callers} | {rate:.0} | {median:.1?} | {most:.1?} | {grouped} |"))
}

fn open(folder: &Path, fsync: Option<Fsync>) -> Result<(Arc<LocalQueue>, Option<Arc<LocalStore>>)> {
    let section = QueueSection::default();
    let Some(fsync) = fsync else { return Ok((LocalQueue::new(section), None)) };
    let (store, rows) = LocalStore::open(folder, Policy::from(&LocalSection { fsync, ..LocalSection::default() }))?;
    let journal = Arc::clone(&store) as Arc<_>;
    let queue = LocalQueue::restored(section, Arc::new(SystemClock), Arc::new(Silent), journal, &rows)?;
    Ok((queue, Some(store)))
}

async fn call(queue: Arc<LocalQueue>, end: Instant) -> Result<Vec<Duration>> {
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(150));
    let mut waits = Vec::new();
    while Instant::now() < end {
        let entry: Fields = [("to_uid", "42".to_owned()), ("data", data.clone())].into_iter().collect();
        let start = Instant::now();
        queue.enqueue(vec![entry]).await?;
        waits.push(start.elapsed());
        // Without a store the answer is there at once: others get their turn.
        tokio::task::yield_now().await;
    }
    Ok(waits)
}

async fn settle_all(source: Arc<dyn Source>) -> Result<()> {
    loop {
        let read = source.fetch(ROOM).await?;
        let batch: Vec<_> = read.iter().map(|fetched| (fetched.entry_id, Settlement::Ack)).collect();
        source.settle(&batch).await?;
    }
}
