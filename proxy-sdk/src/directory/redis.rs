//! The directory that processes share through Redis.
//!
//! Owns the [`Directory`] over user records, groups and their index in Redis (`docs`: the formats; `*.lua` beside this
//! file: the rules, one step each). Which nodes live is told to it ([`LiveNodes`]), never found out here: a record of a
//! node that does not live counts as offline. A run that nobody has told it of is asked about first ([`Judge`]). Every call has the deadline of the connection's options, and one that was
//! given up takes no effect afterwards; a session whose claim or release stayed without an answer is taken off the
//! records by the sweep. While Redis is down calls fail at once, and go on when it is back.

mod cache;
mod durable;
mod fault;
mod groups;
mod leftovers;
mod lookups;
mod news;
mod record;
mod script;
mod sweep;
mod users;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use ::fred::types::Value;
use async_trait::async_trait;
use gim_proto::{Fence, Incarnation, Keys, SessionId, Tgid, Uid};
use tokio::sync::Mutex;

use self::cache::Owners;
use self::leftovers::Leftovers;
use self::news::News;
use self::sweep::Progress;
use super::{
    Claim, ClaimRequest, Directory, DirectoryError, Found, Freshness, Held, Here, NewsFigures, NodeRef, Owner,
};
use crate::lease::{Proof, Since};
pub use crate::members::LiveNodes;
use crate::members::{Judge, View};
use crate::scripts::{Calls, Command, Connection};
use crate::store::{CrowdedCalls, RedisOptions, StoreError};

/// What the directory is made of, beyond the connection.
#[derive(Clone, Debug)]
pub struct RedisDirectoryOptions {
    /// Spells the keys.
    pub keys: Keys,
    /// Owners remembered for look-ups that need not be current; about 200 B each.
    pub cache: usize,
    /// How long the groups of users are kept whose node died.
    pub grace: Duration,
    /// Confirms that what was not found was not there. None: it is believed.
    pub proof: Option<Arc<Proof>>,
    /// Finds out about runs that are not in the view, as in a cluster. None: they are dead.
    pub judge: Option<Arc<dyn Judge>>,
    /// Entries of the stream in which it is written down who comes and goes. None: it is not, and costs nothing. All
    /// processes that share a Redis have to agree on whether there is one.
    pub presence: Option<u64>,
    /// How long mailboxes are kept that nobody touches. None: they are not opened with the claim.
    pub mailboxes: Option<Duration>,
}

impl RedisDirectoryOptions {
    /// Takes the defaults: 100,000 owners, 30 s, mailboxes left alone.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            cache: 100_000,
            grace: Duration::from_secs(30),
            proof: None,
            judge: None,
            presence: None,
            mailboxes: None,
        }
    }
}

/// Who is where, in Redis.
pub struct RedisDirectory {
    options: RedisDirectoryOptions,
    keys: Keys,
    /// How long mailboxes are kept, in ms, if they are opened here.
    kept_ms: Option<String>,
    live: LiveNodes,
    calls: Arc<Calls<DirectoryError>>,
    connection: Connection,
    owners: Owners,
    /// The sessions of this process. They are not among the owners seen lately.
    here: OnceLock<Weak<dyn Here>>,
    leftovers: Leftovers,
    news: News,
    progress: Mutex<Progress>,
    /// Names this directory among all that sweep.
    sweeper: SessionId,
    swept: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Figures of a directory in Redis, counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisDirectoryStats {
    /// Calls refused because too many waited for an answer.
    pub refused: u64,
    /// Users looked up and found in this process or among the owners seen lately.
    pub hits: u64,
    /// Users looked up in Redis.
    pub misses: u64,
    /// Records of dead nodes deleted.
    pub swept: u64,
}

impl RedisDirectory {
    /// Connects. From then on the connection is kept up, however often it breaks.
    ///
    /// # Errors
    /// `Unavailable`: Redis cannot be reached within the connection's deadline, or does not let us in.
    pub async fn connect(
        options: &RedisOptions,
        live: LiveNodes,
        directory: RedisDirectoryOptions,
    ) -> Result<Arc<Self>, DirectoryError> {
        let calls = Arc::new(Calls::new(options)?);
        let connection = Connection::open(&calls).await?;
        calls.set_clock().await?;
        Ok(Arc::new(Self {
            keys: directory.keys.clone(),
            kept_ms: directory.mailboxes.map(|kept| kept.as_millis().to_string()),
            owners: Owners::new(directory.cache),
            here: OnceLock::new(),
            news: News::new(&calls, &directory.keys, directory.presence),
            options: directory,
            live,
            calls,
            connection,
            leftovers: Leftovers::default(),
            progress: Mutex::default(),
            sweeper: SessionId::mint(),
            swept: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }))
    }

    /// Calls of another port, over the connection of this one.
    pub(crate) fn beside<E: From<StoreError>>(&self) -> (Calls<E>, Keys) {
        (self.calls.beside(), self.keys.clone())
    }

    /// Ends the connection. Calls fail from then on.
    pub async fn close(&self) {
        self.news.flush().await;
        self.connection.close().await;
    }

    /// Counts what happened.
    #[must_use]
    pub fn stats(&self) -> RedisDirectoryStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RedisDirectoryStats {
            refused: read(&self.calls.refused),
            hits: read(&self.hits),
            misses: read(&self.misses),
            swept: read(&self.swept),
        }
    }

    /// Begins a look-up whose answer may have to be confirmed.
    fn begin(&self) -> Option<Since> {
        self.options.proof.as_ref().map(|proof| proof.begin())
    }

    /// Confirms that what a look-up did not find was not there: a Redis that lost its data finds nobody.
    async fn confirm(&self, since: Option<Since>) -> Result<(), DirectoryError> {
        let Some((proof, since)) = self.options.proof.as_ref().zip(since) else { return Ok(()) };
        let confirmed = proof.confirm(since).await;
        confirmed.map_err(|error| DirectoryError { source: Some(Box::new(error)), ..DirectoryError::unavailable() })
    }

    /// Whether what is not on the records is not there. Asks nobody.
    fn is_asserted(&self) -> bool {
        self.options.proof.as_ref().is_none_or(|proof| proof.is_asserted())
    }

    /// Has the view be of a moment after these runs were met, if it does not show them all: they may have just begun.
    async fn view_with(
        &self,
        view: Arc<View>,
        met: impl Iterator<Item = Incarnation> + Send,
    ) -> Result<Arc<View>, DirectoryError> {
        let Some(judge) = &self.options.judge else { return Ok(view) };
        let strangers: BTreeSet<Incarnation> = met.filter(|run| view.find(run).is_none()).collect();
        if strangers.is_empty() {
            return Ok(view);
        }
        let strangers: Vec<Incarnation> = strangers.into_iter().collect();
        let judged = judge.judge(&strangers).await;
        judged.map_err(|error| DirectoryError { source: Some(Box::new(error)), ..DirectoryError::unavailable() })?;
        self.view()
    }

    // Nobody is offline for want of knowledge.
    fn view(&self) -> Result<Arc<View>, DirectoryError> {
        let view = self.live.view();
        if view.is_known() { Ok(view) } else { Err(DirectoryError::unavailable()) }
    }
}

#[async_trait]
impl Directory for RedisDirectory {
    async fn claim(&self, request: ClaimRequest) -> Result<Claim, DirectoryError> {
        self.claim_uid(&request, false).await.map(|(claim, _found)| claim)
    }

    async fn claim_and_open(&self, request: ClaimRequest) -> Result<(Claim, Option<Found>), DirectoryError> {
        self.claim_uid(&request, true).await
    }

    async fn release(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        grace: Duration,
    ) -> Result<bool, DirectoryError> {
        self.release_uid(uid, session, fence, grace).await
    }

    async fn reassert(&self, node: &NodeRef, sessions: &[Held]) -> Result<Vec<bool>, DirectoryError> {
        self.reassert_all(node, sessions).await
    }

    async fn lookup(&self, uids: &[Uid], freshness: Freshness) -> Result<Vec<Option<Owner>>, DirectoryError> {
        match freshness {
            Freshness::Cached => self.look_up_cached(uids).await,
            Freshness::Current => self.look_up_current(uids).await,
        }
    }

    fn ask_first(&self, here: Weak<dyn Here>) {
        // Whoever comes second finds somebody asked already, as documented.
        let _ = self.here.set(here);
    }

    async fn record_join(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        self.join_recorded(uid, session, fence, tgid).await
    }

    async fn record_leave(
        &self,
        uid: &Uid,
        session: SessionId,
        fence: Fence,
        tgid: &Tgid,
    ) -> Result<bool, DirectoryError> {
        self.leave_recorded(uid, session, fence, tgid).await
    }

    async fn add_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError> {
        self.hold("SADD", tgid, node).await
    }

    async fn remove_holder(&self, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError> {
        self.hold("SREM", tgid, node).await
    }

    async fn holders(&self, tgids: &[Tgid]) -> Result<Vec<NodeRef>, DirectoryError> {
        self.holders_of(tgids).await
    }

    async fn join_durably(&self, uid: &Uid, tgid: &Tgid, most: usize) -> Result<bool, DirectoryError> {
        self.durable_join(uid, tgid, most).await
    }

    async fn leave_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, DirectoryError> {
        self.durable_leave(uid, tgid).await
    }

    async fn durable_members(&self, tgids: &[Tgid]) -> Result<Vec<Uid>, DirectoryError> {
        self.durable_members_of(tgids).await
    }

    async fn count_durable(&self, tgid: &Tgid) -> Result<usize, DirectoryError> {
        self.count(&self.keys.group_durable(tgid)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRef>, DirectoryError> {
        let since = self.begin();
        let nodes = self.view()?.members().iter().map(|member| member.node.clone()).collect();
        if self.options.judge.is_some() {
            // One that is about to come back with its users is missing, and the answer never shows it.
            self.confirm(since).await?;
        }
        Ok(nodes)
    }

    async fn reach(&self) -> Result<(), DirectoryError> {
        let ask = Command::new("EXISTS", [self.keys.meta()]);
        self.calls.together(vec![ask]).await.map(|_answer| ())
    }

    fn news(&self) -> NewsFigures {
        self.news.figures()
    }

    fn crowded(&self) -> Option<CrowdedCalls> {
        Some(self.calls.crowded())
    }

    async fn sweep(&self) -> Result<(), DirectoryError> {
        self.sweep_step().await
    }
}

/// A text in an answer.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}
