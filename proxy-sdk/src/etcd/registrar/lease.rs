//! A lease, and etcd's answers to the question whether it lasts.
//!
//! To ask is not to know: a question to an etcd that is frozen, and one about a lease that is long gone, are both sent
//! without an error.

use std::time::Duration;

use etcd_client::{Client, LeaseKeepAliveResponse, LeaseKeepAliveStream, LeaseKeeper};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::Facts;
use crate::etcd::fault::EtcdError;
use crate::etcd::options::EtcdOptions;
use crate::lease::boot::BootClock;

/// A lease that etcd has granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    id: i64,
    ttl: Duration,
}

impl Lease {
    /// Asks for one.
    pub(super) async fn grant(
        options: &EtcdOptions,
        client: &mut Client,
        ttl: Duration,
        facts: &Facts,
    ) -> Result<Self, EtcdError> {
        let asked_ms = BootClock::now_ms();
        let seconds = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let granted = options.bounded(client.lease_grant(seconds, None)).await?;
        // Etcd may have given a longer one than was asked for.
        let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(1));
        facts.lasts(asked_ms, ttl);
        Ok(Self { id: granted.id(), ttl })
    }

    pub(super) const fn id(self) -> i64 {
        self.id
    }

    /// Gives it back, and with it the keys that stand under it.
    pub(super) async fn revoke(self, options: &EtcdOptions, client: &mut Client) -> Result<(), EtcdError> {
        options.bounded(client.lease_revoke(self.id)).await.map(|_| ())
    }
}

/// A lease's stream of questions and answers.
pub(super) struct Pulse {
    lease: Lease,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    /// When the question was sent that is not answered yet, on the boot clock.
    asked_ms: Option<u64>,
    /// When to ask, or when to give up waiting for the answer.
    due: Instant,
}

impl Pulse {
    /// Begins with a first question and its answer.
    pub(super) async fn begin(
        options: &EtcdOptions,
        client: &mut Client,
        lease: Lease,
        facts: &Facts,
    ) -> Result<Self, EtcdError> {
        let asked_ms = BootClock::now_ms();
        let (keeper, answers) = options.bounded(client.lease_keep_alive(lease.id)).await?;
        facts.lasts(asked_ms, lease.ttl);
        Ok(Self { lease, keeper, answers, asked_ms: None, due: Instant::now() + lease.ttl / 3 })
    }

    /// Waits until it is time to ask, asks, and waits for the answer. May be given up and begun again at any point.
    pub(super) async fn beat(&mut self, facts: &Facts) -> Result<(), EtcdError> {
        loop {
            select! {
                biased;
                answer = self.answers.message() => return self.take(answer?, facts),
                () = sleep_until(self.due) => self.ask().await?,
            }
        }
    }

    async fn ask(&mut self) -> Result<(), EtcdError> {
        if self.asked_ms.is_some() {
            return Err(EtcdError::unanswered());
        }
        self.asked_ms = Some(BootClock::now_ms());
        self.due = Instant::now() + self.lease.ttl / 3;
        Ok(self.keeper.keep_alive().await?)
    }

    fn take(&mut self, answer: Option<LeaseKeepAliveResponse>, facts: &Facts) -> Result<(), EtcdError> {
        let Some(answer) = answer else { return Err(EtcdError::unavailable()) };
        if answer.ttl() <= 0 {
            return Err(EtcdError::lease_lost());
        }
        if let Some(asked_ms) = self.asked_ms.take() {
            facts.lasts(asked_ms, self.lease.ttl);
        }
        self.due = Instant::now() + self.lease.ttl / 3;
        Ok(())
    }
}
