//! A node's own key in etcd.
//!
//! Owns a task that keeps the key standing under a lease whatever happens to etcd: restarted, emptied, frozen, replaced
//! by another member. The lease is judged by etcd's answers alone. Never deletes a key that another process has written:
//! a node that leaves gives back its own lease and nothing else.

mod hold;
mod key;
mod lease;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gim_proto::{Keys, NodeId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::hold::Holder;
use super::options::EtcdOptions;
use super::registration::Registration;
use crate::lease::boot::BootClock;

/// Keeps a node registered, until it leaves or its last handle is gone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registrar(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wanted: watch::Sender<Wanted>,
    state: watch::Receiver<RegistrarState>,
    facts: Arc<Facts>,
    call_timeout: Duration,
}

/// Whether a node is registered, as far as this side knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrarState {
    /// Its key stands.
    Registered {
        /// The lease that it stands under.
        lease: i64,
        /// The revision it was written at.
        revision: i64,
    },
    /// It is not known to stand, and is seen to.
    Seeking {
        /// Since when.
        since: Instant,
    },
    /// It has left. Final.
    Left,
}

/// What a registrar went through, for metrics. Counted since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrarStats {
    /// Leases after the first.
    pub regrants: u64,
    /// Times the key was written.
    pub puts: u64,
    /// Ways into etcd that have failed or ended.
    pub failures: u64,
    /// Whether the node is registered.
    pub is_registered: bool,
}

/// What the handles want.
#[derive(Clone, Debug)]
struct Wanted {
    registration: Registration,
    leave: bool,
}

/// What the task leaves behind for its handles.
#[derive(Debug, Default)]
struct Facts {
    grants: AtomicU64,
    puts: AtomicU64,
    failures: AtomicU64,
    /// Until when etcd keeps the lease if it hears nothing more, on the boot clock. 0: there is none.
    until_ms: AtomicU64,
}

impl Registrar {
    /// Begins to keep a node registered. Returns at once; an etcd that is away is waited for in the background. Whole
    /// seconds of `ttl` count, 1 at least.
    #[must_use]
    pub fn start(options: &EtcdOptions, keys: &Keys, id: NodeId, registration: Registration, ttl: Duration) -> Self {
        let facts = Arc::new(Facts::default());
        let (told, state) = watch::channel(RegistrarState::Seeking { since: Instant::now() });
        let (wanted, orders) = watch::channel(Wanted { registration, leave: false });
        let kept = (orders.clone(), Arc::clone(&facts), told.clone());
        let holder = Holder::new(options.clone(), (keys, &id), ttl, kept.0, kept.1, kept.2);
        tokio::spawn(task::run(holder, Arc::clone(&facts), orders, told));
        Self(Arc::new(Inner { wanted, state, facts, call_timeout: options.call_timeout }))
    }

    /// Says something else from now on, such as a new incarnation. It is written at once, or as soon as etcd is there.
    pub fn change(&self, registration: Registration) {
        self.0.wanted.send_modify(|wanted| wanted.registration = registration);
    }

    /// Deregisters the node. Final; returns within the bound on a call. If etcd is away, the key ends with its lease.
    pub async fn leave(&self) {
        self.0.wanted.send_modify(|wanted| wanted.leave = true);
        let mut state = self.state();
        // The task gives up by itself at the same bound.
        let left = state.wait_for(|state| *state == RegistrarState::Left);
        let _ = timeout(self.0.call_timeout + Duration::from_millis(100), left).await;
    }

    /// Waits until the node is registered. False: it was not in this time, or has left.
    pub async fn standing(&self, within: Duration) -> bool {
        let mut state = self.state();
        let settled = state.wait_for(|state| !matches!(state, RegistrarState::Seeking { .. }));
        let settled = timeout(within, settled).await;
        matches!(settled, Ok(Ok(state)) if *state != RegistrarState::Left)
    }

    /// Watches whether the node is registered.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<RegistrarState> {
        self.0.state.clone()
    }

    /// Tells whether etcd keeps the node's key at this moment, as far as this side can know: it is false from the last
    /// answer plus the time to live on, even right after this process was frozen.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(*self.0.state.borrow(), RegistrarState::Registered { .. }) && !self.0.facts.is_past()
    }

    /// Tells what it went through.
    #[must_use]
    pub fn stats(&self) -> RegistrarStats {
        let facts = &self.0.facts;
        RegistrarStats {
            regrants: facts.grants.load(Ordering::Relaxed).saturating_sub(1),
            puts: facts.puts.load(Ordering::Relaxed),
            failures: facts.failures.load(Ordering::Relaxed),
            is_registered: self.is_registered(),
        }
    }
}

impl Facts {
    /// Takes note that etcd keeps the lease for so long after this moment of the boot clock.
    fn lasts(&self, since_ms: u64, ttl: Duration) {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.store(since_ms.saturating_add(ttl), Ordering::Relaxed);
    }

    fn ends(&self) {
        self.until_ms.store(0, Ordering::Relaxed);
    }

    /// How long the lease still lasts. None: it is past.
    fn remaining(&self) -> Option<Duration> {
        let until = self.until_ms.load(Ordering::Relaxed);
        until.checked_sub(BootClock::now_ms()).filter(|left| *left > 0).map(Duration::from_millis)
    }

    fn is_past(&self) -> bool {
        self.remaining().is_none()
    }
}
