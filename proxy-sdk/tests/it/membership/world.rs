//! Nodes and workers as they are in processes of their own, and what is asked of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gim_proto::{Incarnation, Keys, NodeId, SessionId, Tgid, Uid};
use gim_proxy_sdk::directory::redis::{RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::directory::{
    Claim, ClaimRequest, Directory, DirectoryError, DirectoryErrorKind, Freshness, Held, NodeRef, OnDuplicate, Owner,
};
use gim_proxy_sdk::lease::{LeaseOptions, LeaseState, NodeLease, NodeRecord, Probe};
use gim_proxy_sdk::membership::{Membership, MembershipOptions};
use gim_proxy_sdk::store::{RedisOptions, Store};
use gim_proxy_sdk::testing::{RedisServer, prefix};
use redis::{FromRedisValue, cmd};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::directory::world::{eventually, tgid, uid};

pub(crate) use crate::directory::world::eventually as until;

/// Short enough to wait for, and far above what a busy machine makes of a renewal.
pub(crate) const TTL: Duration = Duration::from_millis(2_000);
pub(crate) const MARGIN: Duration = Duration::from_millis(500);
pub(crate) const EVERY: Duration = Duration::from_millis(50);
/// Longer than any test.
pub(crate) const NEVER: Duration = Duration::from_hours(1);

pub(crate) type Named = watch::Receiver<Arc<BTreeSet<NodeId>>>;

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// Nobody answers: whoever holds a place can be replaced.
struct Silent;

#[async_trait]
impl Probe for Silent {
    async fn answers(&self, _record: &NodeRecord, _most: Duration) -> bool {
        false
    }
}

/// A Redis and a prefix.
pub(crate) struct Cluster {
    pub(crate) options: RedisOptions,
    pub(crate) store: Store,
    pub(crate) keys: Keys,
}

impl Cluster {
    pub(crate) fn on(server: &RedisServer) -> Self {
        // Soon noticed that it does not answer.
        Self::with(server.options().call_timeout(TTL / 2).connect_timeout(TTL / 2))
    }

    pub(crate) fn with(options: RedisOptions) -> Self {
        Self { store: Store::new(options.clone()), options, keys: Keys::new(&prefix()).unwrap() }
    }

    pub(crate) fn watching(&self) -> MembershipOptions {
        MembershipOptions { every: EVERY, ttl: TTL, margin: MARGIN, ..MembershipOptions::new(self.keys.clone()) }
    }

    /// A process that routes and is no node.
    pub(crate) async fn worker(&self) -> Party {
        self.worker_with(self.watching(), None).await
    }

    pub(crate) async fn worker_with(&self, options: MembershipOptions, named: Option<Named>) -> Party {
        Party::start(self, named, None, options).await
    }

    pub(crate) async fn node(&self, name: &str) -> Node {
        let options = LeaseOptions {
            ttl: TTL,
            renew: EVERY,
            ..LeaseOptions::clustered(id(name), format!("{name}:8091"), format!("{name}:8080"))
        };
        let (lease, _) = NodeLease::acquire(&self.store, &self.keys, options, &Silent).await.unwrap();
        let party = Party::start(self, None, Some(lease.clone()), self.watching()).await;
        Node { lease, party, held: Vec::new(), groups: Vec::new() }
    }

    pub(crate) async fn nodes<const N: usize>(&self, names: [&str; N]) -> Vec<Node> {
        let nodes = futures_util::future::join_all(names.iter().map(|name| self.node(name))).await;
        for node in &nodes {
            node.party.sees(&names).await;
        }
        nodes
    }

    pub(crate) async fn ask<T: FromRedisValue + Send>(&self, words: &[&str]) -> T {
        let (name, rest) = words.split_first().unwrap();
        self.store.link(rest.first().copied().unwrap_or_default()).query(cmd(name).arg(rest)).await.unwrap()
    }
}

/// What a process of a cluster has.
pub(crate) struct Party {
    pub(crate) membership: Arc<Membership>,
    pub(crate) directory: Arc<RedisDirectory>,
}

impl Party {
    async fn start(
        cluster: &Cluster,
        named: Option<Named>,
        own: Option<NodeLease>,
        options: MembershipOptions,
    ) -> Self {
        let membership = Membership::start(&cluster.store, named, own, options).await.unwrap();
        let settings = RedisDirectoryOptions {
            proof: Some(Arc::clone(membership.proof())),
            judge: Some(Arc::clone(&membership) as _),
            ..RedisDirectoryOptions::new(cluster.keys.clone())
        };
        let live = membership.live().clone();
        let directory = RedisDirectory::connect(&cluster.options, live, settings).await.unwrap();
        Self { membership, directory }
    }

    pub(crate) fn living(&self) -> BTreeSet<String> {
        let view = self.membership.live().view();
        view.members().iter().map(|member| member.node.id.to_string()).collect()
    }

    /// Waits until exactly these live, as far as it sees.
    pub(crate) async fn sees(&self, names: &[&str]) {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        eventually("the view", async || self.living() == names).await;
    }

    /// Waits until nobody is waited for.
    pub(crate) async fn stands(&self) {
        eventually("everybody", async || self.membership.proof().is_asserted()).await;
    }

    /// Waits until it waits for exactly these.
    pub(crate) async fn waits_for(&self, names: &[&str]) {
        let names: Vec<NodeId> = names.iter().map(|name| id(name)).collect();
        eventually("the wait", async || self.membership.stats().awaited.nodes == names).await;
    }

    /// Waits until Redis has answered long enough that whoever is missing is dead.
    pub(crate) async fn settles(&self) {
        tokio::time::sleep(TTL + MARGIN).await;
        self.membership.look().await.unwrap();
        self.stands().await;
    }

    pub(crate) async fn try_owner(&self, name: &str) -> Result<Option<Owner>, DirectoryError> {
        Ok(self.directory.lookup(&[uid(name)], Freshness::Current).await?.remove(0))
    }

    pub(crate) async fn owner(&self, name: &str) -> Option<Owner> {
        self.try_owner(name).await.unwrap()
    }

    pub(crate) async fn cannot_tell(&self, name: &str) {
        let error = self.try_owner(name).await.unwrap_err();
        assert!(matches!(error.kind, DirectoryErrorKind::Unavailable | DirectoryErrorKind::Timeout), "{error:?}");
    }

    pub(crate) async fn claim(&self, name: &str, node: &NodeRef, on_duplicate: OnDuplicate) -> Claim {
        let (uid, node, session) = (uid(name), node.clone(), SessionId::mint());
        self.directory.claim(ClaimRequest { uid, node, session, on_duplicate, resume: None }).await.unwrap()
    }

    /// Looks up again and again until it is dropped, and fails if any of these users is ever said to be offline, any of
    /// these nodes to hold no member of the group, or not to be there. Not to be able to tell is no lie.
    pub(crate) fn never_misses(&self, users: &[&str], group: &str, nodes: usize) -> Vigil {
        let directory = Arc::clone(&self.directory);
        let (users, group): (Vec<Uid>, Tgid) = (users.iter().map(|name| uid(name)).collect(), tgid(group));
        let told = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&told);
        let task = tokio::spawn(async move {
            loop {
                if let Ok(owners) = directory.lookup(&users, Freshness::Current).await {
                    assert!(owners.iter().all(Option::is_some), "offline: {owners:?}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
                if let Ok(holders) = directory.holders(std::slice::from_ref(&group)).await {
                    assert_eq!(holders.len(), nodes, "{holders:?}");
                }
                if let Ok(living) = directory.nodes().await {
                    assert_eq!(living.len(), nodes, "{living:?}");
                }
                tokio::task::yield_now().await;
            }
        });
        Vigil { task, told }
    }
}

/// See [`Party::never_misses`].
pub(crate) struct Vigil {
    task: JoinHandle<()>,
    told: Arc<AtomicU64>,
}

impl Vigil {
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// It has had answers, and none of them was a lie.
    pub(crate) async fn ends(self) {
        assert!(self.told() > 0);
        self.task.abort();
        let ended = self.task.await.unwrap_err();
        assert!(ended.is_cancelled(), "{ended}");
    }
}

/// A node with its sessions.
pub(crate) struct Node {
    pub(crate) lease: NodeLease,
    pub(crate) party: Party,
    held: Vec<Held>,
    groups: Vec<Tgid>,
}

impl Node {
    pub(crate) fn run(&self) -> Incarnation {
        self.lease.node().incarnation
    }

    pub(crate) async fn connect(&mut self, name: &str) -> Option<Owner> {
        let (uid, node, session) = (uid(name), NodeRef::clone(&self.lease.node()), SessionId::mint());
        let request = ClaimRequest { uid, node, session, on_duplicate: OnDuplicate::Replace, resume: None };
        let claim = self.party.directory.claim(request.clone()).await.unwrap();
        let Claim::Granted { fence, previous, groups } = claim else { panic!("{claim:?}") };
        self.held.push(Held { uid: request.uid, session, fence, groups });
        previous
    }

    pub(crate) async fn holds(&mut self, group: &str) {
        self.party.directory.add_holder(&tgid(group), &self.lease.node()).await.unwrap();
        self.groups.push(tgid(group));
    }

    /// Waits until it lives as another run than this.
    pub(crate) async fn lives_on(&self, before: Incarnation) {
        eventually("another incarnation", async || self.run() != before).await;
    }

    /// Records everything it holds under its present incarnation, as a node does after it took another one.
    pub(crate) async fn records_all(&self) {
        eventually("everything to be recorded", async || self.try_to_record().await.is_ok()).await;
    }

    async fn try_to_record(&self) -> Result<(), DirectoryError> {
        let since = self.lease.proof().begin();
        let LeaseState::Held { node, runs } = self.lease.state().borrow().clone() else { panic!("lost") };
        let kept = self.party.directory.reassert(&node, &self.held).await?;
        assert!(kept.iter().all(|kept| *kept));
        for group in &self.groups {
            self.party.directory.add_holder(group, &node).await?;
        }
        self.lease.proof().assert(since, runs);
        Ok(())
    }

    /// Ends as a killed process does. Its lease stays until it passes.
    pub(crate) fn dies(self) {
        drop(self);
    }
}
