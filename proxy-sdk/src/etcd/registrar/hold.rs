//! Holding the key: one way into etcd, as long as it lasts, and what remains when it has ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::Client;
use gim_proto::{Keys, NodeId};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::key::{Entry, Stand};
use super::lease::{Lease, Pulse};
use super::{Facts, RegistrarState, Wanted};
use crate::etcd::backoff::Backoff;
use crate::etcd::fault::{EtcdError, EtcdErrorKind};
use crate::etcd::options::EtcdOptions;
use crate::etcd::registration::Registration;

/// What a registrar's task stands on.
pub(super) struct Holder {
    options: EtcdOptions,
    /// What all nodes' keys begin with.
    prefix: String,
    key: String,
    ttl: Duration,
    wanted: watch::Receiver<Wanted>,
    facts: Arc<Facts>,
    state: watch::Sender<RegistrarState>,
    client: Option<Client>,
    lease: Option<Lease>,
    /// What was written last, by whatever lease.
    written: Option<Registration>,
}

impl Holder {
    pub(super) fn new(
        options: EtcdOptions,
        (keys, id): (&Keys, &NodeId),
        ttl: Duration,
        wanted: watch::Receiver<Wanted>,
        facts: Arc<Facts>,
        state: watch::Sender<RegistrarState>,
    ) -> Self {
        let (prefix, key) = (keys.etcd_nodes(), keys.etcd_node(id));
        Self { options, prefix, key, ttl, wanted, facts, state, client: None, lease: None, written: None }
    }

    /// Holds the key until that fails. The lease is kept in mind for the next way.
    pub(super) async fn hold(&mut self, backoff: &mut Backoff) -> EtcdError {
        let Err(error) = self.try_to_hold(backoff).await;
        self.client = None;
        self.facts.failures.fetch_add(1, Ordering::Relaxed);
        if error.kind == EtcdErrorKind::LeaseLost {
            self.lease = None;
            self.facts.ends();
            self.seek();
        }
        error
    }

    async fn try_to_hold(&mut self, backoff: &mut Backoff) -> Result<Infallible, EtcdError> {
        let mut client = self.options.open(&self.prefix).await?;
        self.client = Some(client.clone());
        let lease = self.lease(&mut client).await?;
        let mut pulse = Pulse::begin(&self.options, &mut client, lease, &self.facts).await?;
        loop {
            self.stand(&mut client, lease).await?;
            select! {
                beat = pulse.beat(&self.facts) => {
                    beat?;
                    backoff.reset();
                }
                changed = self.wanted.changed() => changed.map_err(|_| EtcdError::unavailable())?,
            }
        }
    }

    /// The lease that was granted before, or a new one.
    async fn lease(&mut self, client: &mut Client) -> Result<Lease, EtcdError> {
        if let Some(lease) = self.lease {
            return Ok(lease);
        }
        let lease = Lease::grant(&self.options, client, self.ttl, &self.facts).await?;
        self.facts.grants.fetch_add(1, Ordering::Relaxed);
        self.lease = Some(lease);
        Ok(lease)
    }

    /// Sees to it that the key stands as wanted now. It is looked at with every answer of the lease: somebody may have
    /// deleted it.
    async fn stand(&mut self, client: &mut Client, lease: Lease) -> Result<(), EtcdError> {
        let wanted = self.wanted.borrow_and_update().registration.clone();
        let is_fresh = self.written.as_ref() != Some(&wanted);
        let entry = Entry { key: &self.key, registration: &wanted, is_fresh };
        let revision = match entry.stand(&self.options, client, lease).await? {
            Stand::Stood(revision) => revision,
            Stand::Written(revision) => {
                self.facts.puts.fetch_add(1, Ordering::Relaxed);
                revision
            }
            Stand::Taken => {
                self.yielded();
                return Ok(());
            }
        };
        self.written = Some(wanted);
        self.registered(lease, revision);
        Ok(())
    }

    fn registered(&self, lease: Lease, revision: i64) {
        let now = RegistrarState::Registered { lease: lease.id(), revision };
        let changed = self.state.send_if_modified(|state| {
            let differs = *state != now;
            *state = now;
            differs
        });
        if changed {
            tracing::info!(key = %self.key, revision, "this node is registered in etcd");
        }
    }

    fn yielded(&self) {
        if self.seek() {
            tracing::warn!(key = %self.key, "a process of the same name that started later is registered in etcd");
        }
    }

    /// Takes back that the key stands. False: that was so already.
    fn seek(&self) -> bool {
        self.state.send_if_modified(|state| {
            let was = matches!(state, RegistrarState::Registered { .. });
            if was {
                *state = RegistrarState::Seeking { since: Instant::now() };
            }
            was
        })
    }

    /// Gives the lease back, within the bound on one call.
    pub(super) async fn leave(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let (known, options) = (self.client.take(), self.options.clone());
        let revoked = async {
            // The way that is open may lead to a member that is frozen.
            if let Some(mut client) = known
                && let Ok(Ok(())) = timeout(options.deadline() / 3, lease.revoke(&options, &mut client)).await
            {
                return Ok(());
            }
            let mut client = options.open(&self.prefix).await?;
            lease.revoke(&options, &mut client).await
        };
        let revoked = timeout(options.deadline(), revoked).await.unwrap_or(Err(EtcdError::unanswered()));
        if let Err(error) = revoked.or_else(gone) {
            tracing::warn!(%error, key = %self.key, "this node's key in etcd stays until its lease ends");
        }
    }
}

/// A lease that is no more need not be given back.
fn gone(error: EtcdError) -> Result<(), EtcdError> {
    if error.kind == EtcdErrorKind::LeaseLost { Ok(()) } else { Err(error) }
}
