//! Whose the lane is: taking, renewing and giving back its lease.
//!
//! A lease counts only as long as Redis was heard to confirm it, less a margin, on a clock of this machine that goes on
//! while the process is frozen and while the machine sleeps. A source that
//! found somebody else to own its lane has lost it for ever; one whose lease is merely gone takes it again under a new
//! term, unless others had the lane in between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::Value;
use gim_proto::Incarnation;
use gim_proxy_sdk::lease::BootClock;
use gim_proxy_sdk::store::{StoreErrorKind, Topology};
use tokio::time::Instant;

use super::chores::ReaderId;
use super::clock::machine_us;
use super::reply;
use super::scripts::{ACQUIRE, Args, RELEASE, RENEW};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::observe::Event;

/// Owners known to be dead that are remembered. More cannot have the lane: each had it once.
const MOST_VOID: usize = 64;

/// Whether the lane may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// It is this source's.
    Held,
    /// Somebody living has it, for this long unless it is renewed.
    Waits(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewed {
    Kept,
    /// Nobody has it, or it was taken anew by a call whose answer was lost.
    Gone,
}

#[derive(Debug)]
pub(super) struct Lease {
    term: AtomicU64,
    state: Mutex<State>,
    /// Held while the lane is taken.
    taking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    void: Vec<Incarnation>,
    lost: bool,
    /// When the call that was confirmed last was sent, on the boot clock.
    confirmed_ms: Option<u64>,
    /// The run of Redis that answered last, and when.
    run: Option<(Box<str>, Instant)>,
    /// How often it was another one than before.
    changes: u64,
}

impl Lease {
    pub(super) fn new(void: Vec<Incarnation>) -> Self {
        let state = State { void, lost: false, confirmed_ms: None, run: None, changes: 0 };
        Self { term: AtomicU64::new(0), state: Mutex::new(state), taking: tokio::sync::Mutex::default() }
    }

    /// Number of this ownership. 0: there was none yet.
    pub(super) fn term(&self) -> u64 {
        self.term.load(Ordering::SeqCst)
    }

    pub(super) fn void(&self, owner: Incarnation) {
        let mut state = self.state();
        if !state.void.contains(&owner) {
            if state.void.len() == MOST_VOID {
                state.void.remove(0);
            }
            state.void.push(owner);
        }
    }

    /// Leaves the lane alone from now on.
    pub(super) fn lose(&self) {
        self.state().lost = true;
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state().lost
    }

    /// Makes the next look at the lease one in Redis.
    pub(super) fn doubt(&self) {
        self.state().confirmed_ms = None;
    }

    fn is_fresh(&self, for_time: Duration) -> bool {
        let since = |at_ms: u64| Duration::from_millis(BootClock::now_ms().saturating_sub(at_ms));
        let state = self.state();
        self.term() > 0 && !state.lost && state.confirmed_ms.is_some_and(|at_ms| since(at_ms) < for_time)
    }

    fn confirm(&self, sent_ms: u64) {
        let mut state = self.state();
        state.confirmed_ms = state.confirmed_ms.max(Some(sent_ms));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Tells whether Redis has confirmed the lease so lately that it lasts. Asks nobody.
    pub(super) fn is_owned(&self) -> bool {
        self.lease.is_fresh(self.trusted())
    }

    /// A sixth of the lease is the margin for what is on its way: 1 s of 6 s.
    fn trusted(&self) -> Duration {
        self.lease_time * 5 / 6
    }

    /// Makes sure that the lane is this source's, and takes it if nobody has it.
    pub(super) async fn own(&self) -> Result<Own, Trouble> {
        let trusted = self.trusted();
        if self.lease.is_lost() {
            return Err(Trouble::Lost);
        }
        if self.lease.is_fresh(trusted) {
            return Ok(Own::Held);
        }
        let _taking = self.lease.taking.lock().await;
        if self.lease.is_fresh(trusted) {
            return Ok(Own::Held);
        }
        if self.lease.term() > 0 && self.renew_lease().await? == Renewed::Kept {
            return Ok(Own::Held);
        }
        self.acquire().await
    }

    /// Prolongs the lease and notices when another run of Redis answers.
    pub(super) async fn renew(&self) -> Result<(), Trouble> {
        if self.renew_lease().await? == Renewed::Gone {
            self.lease.doubt();
        }
        self.meet_run().await
    }

    /// Gives the lease back.
    pub(super) async fn release(&self) {
        // What cannot be given back expires.
        let _ = self.fenced::<Value>(&RELEASE, &Args::default()).await;
        self.lease.lose();
    }

    async fn acquire(&self) -> Result<Own, Trouble> {
        let before = self.lease.term();
        let sent = BootClock::now_ms();
        let args = Args::default().with(self.owner).with(self.lease_time.as_millis()).with(before);
        let args = self.lease.state().void.iter().fold(args, |args, owner| args.with(owner));
        let mut call = ACQUIRE.prepare_invoke();
        call.key(&[&self.names.lease, &self.names.term]);
        args.iter().for_each(|arg| {
            call.arg(arg);
        });
        let answer = reply::list(self.link.script(&call).await?, "a lease")?;
        let mut answer = answer.into_iter();
        let state = reply::text(answer.next().unwrap_or_default(), "a lease")?;
        match (state.as_str(), answer.next(), answer.next(), answer.next()) {
            ("taken", Some(term), Some(client), Some(run)) => {
                let term = reply::number(&term, "a term")?;
                let former = former(&client, run)?;
                self.taken(term, before == 0, former, sent);
                self.renew().await.map(|()| Own::Held)
            }
            ("held", Some(Value::Int(left_ms)), ..) if before == 0 => {
                Ok(Own::Waits(u64::try_from(left_ms).map_or(self.block, Duration::from_millis)))
            }
            ("held" | "passed", ..) => {
                self.lease.lose();
                Err(Trouble::Lost)
            }
            _ => Err(Trouble::Odd("a lease")),
        }
    }

    fn taken(&self, term: u64, anew: bool, former: Option<ReaderId>, sent_ms: u64) {
        let mut chores = self.chores();
        chores.taken(anew);
        former.into_iter().for_each(|reader| chores.end_reader(reader));
        drop(chores);
        self.lease.term.store(term, Ordering::SeqCst);
        self.lease.confirm(sent_ms);
        self.tell(&Event::Taken { term });
    }

    async fn renew_lease(&self) -> Result<Renewed, Trouble> {
        let sent = BootClock::now_ms();
        let before_us = machine_us();
        let args = Args::default().with(self.lease.term()).with(self.owner).with(self.lease_time.as_millis());
        let mut call = RENEW.prepare_invoke();
        call.key(&self.names.lease);
        args.iter().for_each(|arg| {
            call.arg(arg);
        });
        let answer = self.link.script(&call).await?;
        let [state, seconds, micros] = reply::exactly(answer, "a renewal")?;
        let told_us = reply::number(&seconds, "a time")?.saturating_mul(1_000_000) + reply::number(&micros, "a time")?;
        self.clock.learn(i64::try_from(told_us).unwrap_or(i64::MAX), before_us, machine_us());
        match reply::text(state, "a renewal")?.as_str() {
            "kept" => {
                self.lease.confirm(sent);
                Ok(Renewed::Kept)
            }
            "other" => {
                self.lease.lose();
                Err(Trouble::Lost)
            }
            _ => Ok(Renewed::Gone),
        }
    }

    pub(super) async fn meet_run(&self) -> Result<(), Trouble> {
        match self.link.query::<String>(::redis::cmd("INFO").arg("server")).await {
            Ok(info) => self.met_run(run_of(&info)),
            // Whoever may not ask does without: connections break too when Redis restarts.
            Err(error) if error.kind == StoreErrorKind::Denied => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes note of the run of Redis that answers.
    pub(super) fn met_run(&self, run: &str) {
        let now = Instant::now();
        let met = Some((run.into(), now));
        let changed = {
            let mut state = self.lease.state();
            let before = std::mem::replace(&mut state.run, met).filter(|(before, _)| **before != *run);
            state.changes += u64::from(before.is_some());
            before
        };
        if let Some((_, heard)) = changed {
            self.chores().run_changed();
            self.tell(&Event::StoreReplaced { silent: now - heard });
        }
    }

    /// Counts runs. In a cluster mailboxes are with other masters than the lane: there every change of any counts.
    pub(super) fn run(&self) -> u64 {
        self.lease.state().changes + self.changes_elsewhere()
    }

    /// Names the run of Redis that holds the lane, if it is still the one of that number.
    pub(super) fn name_of_run(&self, run: u64) -> Option<Box<str>> {
        let state = self.lease.state();
        let is_still = state.changes + self.changes_elsewhere() == run;
        is_still.then(|| state.run.as_ref().map(|(name, _)| name.clone()).unwrap_or_default())
    }

    fn changes_elsewhere(&self) -> u64 {
        match self.store.options().topology() {
            Topology::Cluster { .. } => self.store.losses().count(),
            Topology::Standalone { .. } | Topology::Sentinel { .. } => 0,
        }
    }
}

/// Finds the run in what INFO tells. Empty: it does not say.
pub(super) fn run_of(info: &str) -> &str {
    info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().trim()
}

fn former(client: &Value, run: Value) -> Result<Option<ReaderId>, Trouble> {
    let run = reply::text(run, "a run")?;
    let client = reply::number(client, "a client id").ok();
    Ok(client.map(|client| ReaderId { client, run: run.into() }))
}
