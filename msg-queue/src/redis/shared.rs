//! What reading, settling and renewing a lane have in common.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gim_proto::{EntryId, Incarnation, Keys};
use gim_proxy_sdk::store::{Link, Store};

use super::LaneOptions;
use super::chores::Chores;
use super::clock::RedisClock;
use super::lease::Lease;
use super::outstanding::Outstanding;
use super::ride::Ride;
use super::wake::Wake;
use crate::config::QueueSection;
use crate::observe::{Event, Observer};
use crate::source::Backlog;

/// The keys of a lane.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) lease: String,
    pub(super) term: String,
    pub(super) stream: String,
    pub(super) later: String,
    pub(super) body: String,
    pub(super) dead: String,
}

pub(super) struct Shared {
    pub(super) lane: u16,
    pub(super) owner: Incarnation,
    pub(super) section: QueueSection,
    pub(super) keys: Keys,
    pub(super) names: Names,
    pub(super) block: Duration,
    pub(super) lease_time: Duration,
    pub(super) store: Store,
    /// For everything but the reads that block.
    pub(super) link: Link,
    pub(super) clock: Arc<RedisClock>,
    pub(super) lease: Lease,
    pub(super) wake: Wake,
    pub(super) ride: Ride,
    /// Entries settled since the stream was last trimmed.
    pub(super) settled: AtomicU64,
    /// What was handed out before this source had the lane, or before it was rewound, has been read again.
    pub(super) caught_up: AtomicBool,
    unread: AtomicU64,
    scheduled: AtomicU64,
    /// The highest entry of the stream that was read.
    seen: Mutex<EntryId>,
    outstanding: Mutex<Outstanding>,
    chores: Mutex<Chores>,
    observer: Arc<dyn Observer>,
}

impl Shared {
    pub(super) fn new(store: &Store, options: LaneOptions, observer: Arc<dyn Observer>) -> Self {
        let LaneOptions { lane, owner, voided, section, keys, block, lease } = options;
        let names = Names::of(&keys, lane);
        Self {
            lane,
            owner,
            section,
            keys,
            link: store.link(names.stream.as_str()),
            names,
            block,
            lease_time: lease,
            store: store.clone(),
            clock: Arc::default(),
            lease: Lease::new(voided),
            wake: Wake::default(),
            ride: Ride::default(),
            settled: AtomicU64::new(0),
            caught_up: AtomicBool::new(false),
            unread: AtomicU64::new(0),
            scheduled: AtomicU64::new(0),
            seen: Mutex::default(),
            outstanding: Mutex::default(),
            chores: Mutex::default(),
            observer,
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        self.observer.record(self.lane, event);
    }

    /// Reports entries that were accepted and are gone.
    pub(super) fn tell_gone(&self, entries: u64, unread: bool, first: Option<EntryId>) {
        if entries > 0 {
            self.tell(&Event::EntriesGone { entries, unread, first });
        }
    }

    /// The highest entry of the stream that was read.
    pub(super) fn seen(&self) -> MutexGuard<'_, EntryId> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Every change under these locks is whole before the lock is given up, also by a panic.
    pub(super) fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn chores(&self) -> MutexGuard<'_, Chores> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn backlog(&self) -> Backlog {
        let Self { unread, scheduled, .. } = self;
        Backlog { unread: unread.load(Ordering::Relaxed), scheduled: scheduled.load(Ordering::Relaxed) }
    }

    pub(super) fn set_unread(&self, entries: u64) {
        self.unread.store(entries, Ordering::Relaxed);
    }

    pub(super) fn set_scheduled(&self, entries: u64) {
        self.scheduled.store(entries, Ordering::Relaxed);
    }
}

impl Names {
    fn of(keys: &Keys, lane: u16) -> Self {
        Self {
            lease: keys.lease(lane),
            term: keys.term(lane),
            stream: keys.queue(lane),
            later: keys.later(lane),
            body: keys.later_body(lane),
            dead: keys.dead(lane),
        }
    }

    /// The keys of a script that is about the lane, in the order they all have.
    pub(super) fn of_lane(&self) -> [&str; 5] {
        [&self.lease, &self.stream, &self.later, &self.body, &self.dead]
    }
}
