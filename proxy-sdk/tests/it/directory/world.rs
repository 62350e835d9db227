//! A directory to test, with two nodes that live, and what the tests of all adapters say to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gim_proto::{Fence, Incarnation, Keys, NodeId, SessionId, Tgid, Uid};
use gim_proxy_sdk::directory::local::LocalDirectory;
use gim_proxy_sdk::directory::redis::{LiveNodes, RedisDirectory, RedisDirectoryOptions};
use gim_proxy_sdk::directory::{Claim, ClaimRequest, Directory, Freshness, NodeRef, OnDuplicate, Owner};
use gim_proxy_sdk::store::{Link, RedisOptions, Store, Topology};
use gim_proxy_sdk::testing::{RedisCluster, RedisServer, prefix, shared_redis};
use redis::FromRedisValue;
use tokio::sync::OnceCell;

use crate::support::{LONG, within};

pub(crate) fn node(name: &str) -> NodeRef {
    NodeRef { id: NodeId::parse(name).unwrap(), incarnation: Incarnation::mint() }
}

pub(crate) fn uid(name: &str) -> Uid {
    Uid::parse(name).unwrap()
}

pub(crate) fn tgid(name: &str) -> Tgid {
    Tgid::parse(name).unwrap()
}

/// What a session knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) fence: Fence,
}

/// A directory in its surroundings.
pub(crate) trait World {
    /// How long groups are kept after a release here.
    const GRACE: Duration;

    fn directory(&self) -> &dyn Directory;
    fn here(&self) -> &NodeRef;
    fn there(&self) -> &NodeRef;
    /// Waits until the grace after the user's release is over.
    async fn grace_passes(&self, name: &str);
    /// The groups recorded for a user.
    async fn groups_of(&self, name: &str) -> HashSet<Tgid>;

    async fn claim(
        &self,
        name: &str,
        node: &NodeRef,
        policy: OnDuplicate,
        resume: Option<SessionId>,
    ) -> (SessionId, Claim) {
        let session = SessionId::mint();
        let request = ClaimRequest { uid: uid(name), node: node.clone(), session, on_duplicate: policy, resume };
        (session, self.directory().claim(request).await.unwrap())
    }

    async fn connect_at(
        &self,
        name: &str,
        node: &NodeRef,
        resume: Option<SessionId>,
    ) -> (Session, Option<Owner>, Vec<Tgid>) {
        match self.claim(name, node, OnDuplicate::Replace, resume).await {
            (id, Claim::Granted { fence, previous, groups }) => (Session { id, fence }, previous, groups),
            (_, Claim::Taken { owner }) => panic!("taken by {owner:?}"),
        }
    }

    async fn connect(&self, name: &str, resume: Option<SessionId>) -> (Session, Option<Owner>, Vec<Tgid>) {
        self.connect_at(name, self.here(), resume).await
    }

    async fn join(&self, name: &str, session: Session, group: &str) -> bool {
        self.directory().record_join(&uid(name), session.id, session.fence, &tgid(group)).await.unwrap()
    }

    async fn leave(&self, name: &str, session: Session, group: &str) -> bool {
        self.directory().record_leave(&uid(name), session.id, session.fence, &tgid(group)).await.unwrap()
    }

    async fn disconnect(&self, name: &str, session: Session) -> bool {
        self.directory().release(&uid(name), session.id, session.fence, Self::GRACE).await.unwrap()
    }

    async fn owner(&self, name: &str) -> Option<Owner> {
        self.directory().lookup(&[uid(name)], Freshness::Current).await.unwrap().remove(0)
    }
}

pub(crate) struct LocalWorld {
    directory: LocalDirectory,
    here: NodeRef,
    there: NodeRef,
}

impl LocalWorld {
    pub(crate) fn new() -> Self {
        let here = node("n1");
        Self { directory: LocalDirectory::new(here.clone()), here, there: node("n2") }
    }
}

impl World for LocalWorld {
    const GRACE: Duration = Duration::from_secs(30);

    fn directory(&self) -> &dyn Directory {
        &self.directory
    }

    fn here(&self) -> &NodeRef {
        &self.here
    }

    fn there(&self) -> &NodeRef {
        &self.there
    }

    async fn grace_passes(&self, _name: &str) {
        tokio::time::advance(Self::GRACE).await;
    }

    async fn groups_of(&self, name: &str) -> HashSet<Tgid> {
        self.directory.groups_of(&uid(name)).into_iter().collect()
    }
}

/// A directory in Redis and the test's own way into it.
pub(crate) struct RedisWorld {
    pub(crate) directory: Arc<RedisDirectory>,
    pub(crate) live: LiveNodes,
    pub(crate) keys: Keys,
    /// By a way of the test's own.
    raw: Store,
    link: Link,
    options: RedisOptions,
    here: NodeRef,
    there: NodeRef,
}

impl RedisWorld {
    /// On the server that the tests share.
    pub(crate) async fn new() -> Self {
        let server = shared_redis().await;
        Self::on(server, server.options()).await
    }

    /// In the cluster that the tests share.
    pub(crate) async fn in_cluster() -> Self {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
        let options = SHARED.get_or_init(RedisCluster::start).await.options();
        Self::with(Store::new(options.clone()), options).await
    }

    /// On a server of the test's own, reached as the test wants.
    pub(crate) async fn on(server: &RedisServer, options: RedisOptions) -> Self {
        Self::with(server.store(), options).await
    }

    /// On whatever Redis, reached in two ways.
    pub(crate) async fn with(raw: Store, options: RedisOptions) -> Self {
        let (here, there) = (node("n1"), node("n2"));
        let live = LiveNodes::new();
        live.set(vec![here.clone(), there.clone()]);
        let keys = Keys::new(&prefix()).unwrap();
        let directory = connect(&options, &live, &keys).await;
        let link = raw.link("test");
        Self { directory, live, keys, raw, link, options, here, there }
    }

    /// Another process's directory over the same keys.
    pub(crate) async fn another(&self) -> Arc<RedisDirectory> {
        connect(&self.options, &self.live, &self.keys).await
    }

    /// One that writes down who comes and goes.
    pub(crate) async fn telling(&self) -> Arc<RedisDirectory> {
        let settings = RedisDirectoryOptions {
            presence: Some(10_000),
            grace: Self::GRACE,
            ..RedisDirectoryOptions::new(self.keys.clone())
        };
        RedisDirectory::connect(&self.options, self.live.clone(), settings).await.unwrap()
    }

    /// One that opens mailboxes with the claim.
    pub(crate) async fn opening(&self, kept: Duration) -> Arc<RedisDirectory> {
        let settings = RedisDirectoryOptions { mailboxes: Some(kept), ..RedisDirectoryOptions::new(self.keys.clone()) };
        RedisDirectory::connect(&self.options, self.live.clone(), settings).await.unwrap()
    }

    /// Asks Redis itself. In a cluster the second word is a key.
    pub(crate) async fn ask<T: FromRedisValue + Send>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        match (self.options.topology(), words) {
            (Topology::Cluster { .. }, [_, key, ..]) => self.raw.link(*key).query(&command).await.unwrap(),
            _ => self.link.query(&command).await.unwrap(),
        }
    }

    /// The user's record as it stands there.
    pub(crate) async fn record(&self, name: &str) -> Option<String> {
        self.ask(&["HGET", &self.keys.user_bucket(&uid(name)), name]).await
    }

    pub(crate) async fn register(&self, node: &NodeRef) {
        let field = format!("run:{}", node.incarnation);
        let _: i64 = self.ask(&["HSET", &self.keys.meta(), &field, node.id.as_str()]).await;
    }

    pub(crate) async fn is_registered(&self, node: &NodeRef) -> bool {
        self.ask(&["HEXISTS", &self.keys.meta(), &format!("run:{}", node.incarnation)]).await
    }
}

async fn connect(options: &RedisOptions, live: &LiveNodes, keys: &Keys) -> Arc<RedisDirectory> {
    let settings = RedisDirectoryOptions { grace: RedisWorld::GRACE, ..RedisDirectoryOptions::new(keys.clone()) };
    RedisDirectory::connect(options, live.clone(), settings).await.unwrap()
}

impl World for RedisWorld {
    const GRACE: Duration = Duration::from_secs(1);

    fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    fn here(&self) -> &NodeRef {
        &self.here
    }

    fn there(&self) -> &NodeRef {
        &self.there
    }

    async fn grace_passes(&self, name: &str) {
        let key = self.keys.user_groups(&uid(name));
        let over = async || !self.ask::<bool>(&["EXISTS", &key]).await;
        eventually("the end of the grace", over).await;
    }

    async fn groups_of(&self, name: &str) -> HashSet<Tgid> {
        let fields: Vec<String> = self.ask(&["HKEYS", &self.keys.user_groups(&uid(name))]).await;
        fields.iter().filter(|field| !field.starts_with(' ')).map(|field| tgid(field)).collect()
    }
}

/// Asks again and again until it is so.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    const PAUSE: Duration = Duration::from_millis(10);
    assert!(PAUSE < LONG);
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
}
