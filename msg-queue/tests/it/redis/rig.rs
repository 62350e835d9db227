//! A lane of its own in a real Redis, and what a test asks of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::redis::{FromRedisValue, Value};
use gim_msg_queue::config::QueueSection;
use gim_msg_queue::observe::{Event, Observer};
use gim_msg_queue::redis::{LaneOptions, RedisSource};
use gim_msg_queue::source::{Fetched, Room, Settlement, Source, SourceError};
use gim_proto::{EntryId, Fields, Incarnation, Keys};
use gim_proxy_sdk::store::{Link, Store};
use gim_proxy_sdk::testing::{DEADLINE, RedisServer, prefix, shared_redis};
use tokio::time::{Instant, timeout};

pub(crate) const LANE: u16 = 3;

/// Remembers what it heard.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn record(&self, _lane: u16, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Heard {
    pub(crate) fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| which(event)).count()
    }

    /// What was read of the lane and what Redis knew of it, each time it knew less.
    pub(crate) fn behind(&self) -> Vec<(EntryId, EntryId)> {
        let told = |event: &Event| match event {
            Event::LaneBehind { seen, last } => Some((*seen, *last)),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(told).collect()
    }

    /// Counts entries that are gone.
    pub(crate) fn gone(&self, of_unread: bool) -> u64 {
        let entries = |event: &Event| match event {
            Event::EntriesGone { entries, unread, .. } if *unread == of_unread => *entries,
            _ => 0,
        };
        self.0.lock().unwrap().iter().map(entries).sum()
    }
}

pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) heard: Arc<Heard>,
    link: Link,
}

impl Rig {
    /// A lane in the Redis that all tests share.
    pub(crate) async fn shared() -> Self {
        Self::on(shared_redis().await)
    }

    pub(crate) fn on(server: &RedisServer) -> Self {
        Self::over(server.store())
    }

    pub(crate) fn over(store: Store) -> Self {
        let keys = Keys::new(&prefix()).unwrap();
        let link = store.link(keys.queue(LANE));
        Self { store, keys, heard: Arc::default(), link }
    }

    /// Reaches a Redis that was restarted.
    pub(crate) fn reconnect(&mut self) {
        self.link = self.store.link(self.keys.queue(LANE));
    }

    pub(crate) fn options(&self) -> LaneOptions {
        LaneOptions {
            lane: LANE,
            owner: Incarnation::mint(),
            voided: Vec::new(),
            section: QueueSection::default(),
            keys: self.keys.clone(),
            block: Duration::from_secs(1),
            lease: Duration::from_secs(6),
        }
    }

    pub(crate) fn source(&self) -> Arc<RedisSource> {
        self.source_with(self.options())
    }

    pub(crate) fn source_with(&self, options: LaneOptions) -> Arc<RedisSource> {
        RedisSource::new(&self.store, options, Arc::clone(&self.heard) as Arc<dyn Observer>)
    }

    /// Sends one command, given as words.
    pub(crate) async fn ask<T: FromRedisValue + Send>(&self, words: &[&str]) -> T {
        let mut command = ::redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        self.link.query(&command).await.unwrap()
    }

    /// Puts an entry on the stream as anybody may.
    pub(crate) async fn add(&self, fields: &Fields) -> EntryId {
        let mut add = ::redis::cmd("XADD");
        add.arg(self.keys.queue(LANE)).arg("*");
        for (name, value) in fields.iter() {
            add.arg(name).arg(value.as_ref());
        }
        EntryId::parse(&self.link.query::<String>(&add).await.unwrap()).unwrap()
    }

    /// Puts so many on the stream, whose data are their numbers.
    pub(crate) async fn fill(&self, numbers: std::ops::Range<usize>) {
        let mut pipe = ::redis::Pipeline::new();
        for number in numbers {
            let data = format!(r#"{{"n":{number}}}"#);
            pipe.cmd("XADD").arg(self.keys.queue(LANE)).arg("*").arg("to_uid").arg("1").arg("data").arg(data).ignore();
        }
        self.link.pipe::<()>(&pipe).await.unwrap();
    }

    /// Counts entries that are read and not settled.
    pub(crate) async fn pending(&self) -> usize {
        let summary: Vec<Value> = self.ask(&["XPENDING", &self.keys.queue(LANE), "gim"]).await;
        let Some(Value::Int(count)) = summary.first() else { panic!("a count") };
        usize::try_from(*count).unwrap()
    }

    /// The dead letters of the lane.
    pub(crate) async fn letters(&self) -> Vec<Fields> {
        type Letter = (String, Vec<(String, Vec<u8>)>);
        let letters: Vec<Letter> = self.ask(&["XRANGE", &self.keys.dead(LANE), "-", "+"]).await;
        letters.into_iter().map(|(_, fields)| fields.into_iter().collect()).collect()
    }

    /// What is put aside: member and score.
    pub(crate) async fn aside(&self) -> Vec<(String, f64)> {
        self.ask(&["ZRANGE", &self.keys.later(LANE), "0", "-1", "WITHSCORES"]).await
    }

    /// Client id of the reader that the lease names.
    pub(crate) async fn reader(&self) -> String {
        self.ask(&["HGET", &self.keys.lease(LANE), "client"]).await
    }

    /// Waits until a reader of the lane waits in Redis.
    pub(crate) async fn blocked(&self) {
        let is_blocked = async {
            loop {
                let clients: String = self.ask(&["CLIENT", "LIST", "ID", &self.reader().await]).await;
                if clients.contains("flags=b") {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(DEADLINE, is_blocked).await.unwrap();
    }
}

pub(crate) const ROOM: Room = Room { entries: 1_000, bytes: 64 << 20 };

/// Fetches until so many entries have come.
pub(crate) async fn take(source: &RedisSource, entries: usize) -> Vec<Fetched> {
    let taking = async {
        let mut taken = Vec::new();
        while taken.len() < entries {
            taken.extend(source.fetch(ROOM).await.unwrap());
        }
        taken
    };
    let taken = timeout(DEADLINE, taking).await.unwrap();
    assert_eq!(taken.len(), entries, "{:?}", numbers(&taken));
    taken
}

/// Fetches until so many entries have come, however often it fails meanwhile.
pub(crate) async fn take_in_the_end(source: &RedisSource, entries: usize) -> Vec<Fetched> {
    let begun = Instant::now();
    let mut taken = Vec::new();
    while taken.len() < entries {
        assert!(begun.elapsed() < DEADLINE, "{:?}", numbers(&taken));
        match source.fetch(ROOM).await {
            Ok(entries) => taken.extend(entries),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    assert_eq!(taken.len(), entries, "{:?}", numbers(&taken));
    taken
}

/// Sees to it that nothing comes for a while in which it would.
pub(crate) async fn nothing(source: &RedisSource) {
    for _ in 0..2 {
        let fetched = source.fetch(ROOM).await.unwrap();
        assert!(fetched.is_empty(), "{:?}", numbers(&fetched));
    }
}

/// The numbers in the entries' data.
pub(crate) fn numbers(entries: &[Fetched]) -> Vec<usize> {
    entries.iter().map(number).collect()
}

pub(crate) fn number(fetched: &Fetched) -> usize {
    let Ok(entry) = &fetched.body else { return usize::MAX };
    let gim_proto::Payload::Json(json) = &entry.payload else { return usize::MAX };
    let digits: String = String::from_utf8_lossy(json).chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

pub(crate) fn attempts(entries: &[Fetched]) -> Vec<u32> {
    entries.iter().map(|fetched| fetched.attempts).collect()
}

pub(crate) async fn settle(source: &RedisSource, entries: &[Fetched], how: &Settlement) {
    let batch: Vec<(EntryId, Settlement)> = entries.iter().map(|fetched| (fetched.entry_id, how.clone())).collect();
    source.settle(&batch).await.unwrap();
}

pub(crate) async fn ack(source: &RedisSource, entries: &[Fetched]) {
    settle(source, entries, &Settlement::Ack).await;
}

pub(crate) async fn try_ack(source: &RedisSource, entries: &[Fetched]) -> Result<(), SourceError> {
    let batch: Vec<_> = entries.iter().map(|fetched| (fetched.entry_id, Settlement::Ack)).collect();
    source.settle(&batch).await
}

/// The machine's time, which is that of the Redis on it.
pub(crate) fn now_ms() -> u64 {
    use gim_msg_queue::clock::Clock;
    gim_msg_queue::clock::SystemClock.unix_ms()
}

pub(crate) fn to_one(number: usize, more: &[(&'static str, &str)]) -> Fields {
    let one = [("to_uid", "1")];
    crate::support::entry(number, &[&one[..], more].concat())
}
