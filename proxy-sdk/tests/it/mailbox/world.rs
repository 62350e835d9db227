//! Mailboxes to test, and what the tests of all adapters say to them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gim_proto::frame::{GapReason, MsgType};
use gim_proto::{Class, EntryId, Fence, Keys, MessageId, Payload, Tgid, Uid};
use gim_proxy_sdk::delivery::{LaneOrigin, Message};
use gim_proxy_sdk::mailbox::local::LocalMailboxes;
use gim_proxy_sdk::mailbox::{
    Ack, Acked, Appended, Appends, Arrival, Item, MailboxBounds, Mailboxes, Opened, Overdue, Page, PageBounds,
    Position, Post, RedisMailboxes, Wanted,
};
use gim_proxy_sdk::store::{Link, RedisOptions, Store, Topology};
use gim_proxy_sdk::testing::{RedisCluster, RedisServer, prefix, shared_redis};
use redis::FromRedisValue;
use tokio::sync::OnceCell;

pub(crate) fn uid(name: &str) -> Uid {
    Uid::parse(name).unwrap()
}

pub(crate) fn tgid(name: &str) -> Tgid {
    Tgid::parse(name).unwrap()
}

pub(crate) const fn entry(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

pub(crate) fn message(id: &str, payload: &str) -> Message {
    Message {
        id: MessageId::parse(id).unwrap(),
        class: Class::Durable,
        key: None,
        payload: Payload::Json(Bytes::copy_from_slice(payload.as_bytes())),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    }
}

/// The message `m<n>` of entry `n`, for these users.
pub(crate) fn post(n: u64, to: &[&str]) -> Post {
    post_of(n, message(&format!("m{n}"), &format!("{{\"n\":{n}}}")), to)
}

pub(crate) fn post_of(n: u64, message: Message, to: &[&str]) -> Post {
    Post {
        entry: entry(n),
        message: Arc::new(message),
        kind: MsgType::User,
        to: to.iter().map(|name| uid(name)).collect(),
        of: Arc::default(),
    }
}

/// Lane 3, from whose entry `ms` on anything may come again.
pub(crate) const fn lane(low_water_ms: u64) -> LaneOrigin {
    LaneOrigin { lane: 3, term: 1, low_water: Some(entry(low_water_ms)) }
}

/// What a page shows: `id@offset`, or `from-to reason`.
pub(crate) fn shown(page: &Page) -> Vec<String> {
    let one = |item: &Item| match item {
        Item::Letter { offset, message, .. } => format!("{}@{offset}", message.id),
        Item::Gap { from, to, reason } => {
            let reason = match reason {
                GapReason::Expired => "expired",
                GapReason::Trimmed => "trimmed",
                GapReason::Reset => "reset",
            };
            format!("{from}-{to} {reason}")
        }
    };
    page.items.iter().map(one).collect()
}

/// Mailboxes in their surroundings.
pub(crate) trait World {
    fn mailboxes(&self) -> &dyn Mailboxes;
    /// The directory records an owner.
    async fn claims(&self, name: &str, fence: u64);
    /// The directory records a membership: `temporary` or `durable`.
    async fn joins(&self, name: &str, group: &str, membership: &str);
    /// The directory knows of a membership no more.
    async fn leaves(&self, name: &str, group: &str);

    async fn append(&self, lane: &LaneOrigin, posts: &[Post]) -> Vec<Vec<Appended>> {
        self.mailboxes().append(lane, posts).await.unwrap().answers
    }

    /// Appends and names what receipts are wanted of and went for it, as `user:id`.
    async fn trims(&self, lane: &LaneOrigin, posts: &[Post]) -> Vec<String> {
        let Appends { trimmed, untold, .. } = self.mailboxes().append(lane, posts).await.unwrap();
        assert_eq!(untold, 0);
        trimmed.into_iter().map(|(uid, id)| format!("{uid}:{id}")).collect()
    }

    /// Names what receipts are wanted of, as `id@offset`, with `!` if its time is over.
    async fn wanted(&self, name: &str, epoch: u64, offset: u64) -> Vec<String> {
        let wanted = self.mailboxes().wanted(&uid(name), Position { epoch, offset }).await.unwrap();
        let one = |wanted: Wanted| format!("{}@{}{}", wanted.id, wanted.offset, if wanted.is_over { "!" } else { "" });
        wanted.into_iter().map(one).collect()
    }

    /// Sweeps until something is overdue.
    async fn overdue(&self, told: &[Overdue]) -> Vec<Overdue> {
        let mut overdue = self.mailboxes().sweep(told).await.unwrap();
        // Mailboxes are swept in turn: a part of them, or a bucket of 1,024.
        for _ in 0..1_030 {
            if overdue.is_empty() {
                overdue = self.mailboxes().sweep(&[]).await.unwrap();
            }
        }
        overdue
    }

    /// Appends for one user and names the offsets; 0 where the user is in none of the groups.
    async fn offsets(&self, lane: &LaneOrigin, posts: &[Post]) -> Vec<u64> {
        let offset = |appended: &Appended| match appended {
            Appended::Stored(at) => at.offset,
            Appended::NotMember => 0,
        };
        self.append(lane, posts).await.iter().flatten().map(offset).collect()
    }

    /// A session that owns the uid from now on opens its mailbox.
    async fn opens(&self, name: &str, fence: u64, arrival: Arrival) -> Opened {
        self.claims(name, fence).await;
        self.mailboxes().open(&uid(name), Fence(fence), arrival).await.unwrap()
    }

    async fn page(&self, name: &str, after: u64, messages: usize, bytes: usize) -> Page {
        let after = Position { epoch: 0, offset: after };
        self.mailboxes().read(&uid(name), after, PageBounds { messages, bytes }).await.unwrap()
    }

    async fn read(&self, name: &str, after: u64) -> Vec<String> {
        shown(&self.page(name, after, 10_000, usize::MAX >> 12).await)
    }

    async fn ack(&self, name: &str, fence: u64, epoch: u64, offset: u64) -> Acked {
        let ack = Ack { uid: uid(name), fence: Fence(fence), upto: Position { epoch, offset } };
        self.mailboxes().ack(&[ack]).await.unwrap().remove(0)
    }
}

pub(crate) struct LocalWorld {
    mailboxes: LocalMailboxes,
    members: Arc<Mutex<HashSet<(Uid, Tgid)>>>,
}

impl LocalWorld {
    pub(crate) async fn new(bounds: MailboxBounds) -> Self {
        let members: Arc<Mutex<HashSet<(Uid, Tgid)>>> = Arc::default();
        let known = Arc::clone(&members);
        let is_member = move |uid: &Uid, tgids: &[Tgid]| {
            let known = known.lock().unwrap();
            tgids.iter().any(|tgid| known.contains(&(uid.clone(), tgid.clone())))
        };
        Self { mailboxes: LocalMailboxes::new(bounds, Arc::new(is_member)), members }
    }
}

impl World for LocalWorld {
    fn mailboxes(&self) -> &dyn Mailboxes {
        &self.mailboxes
    }

    async fn claims(&self, _name: &str, _fence: u64) {}

    async fn joins(&self, name: &str, group: &str, _membership: &str) {
        self.members.lock().unwrap().insert((uid(name), tgid(group)));
    }

    async fn leaves(&self, name: &str, group: &str) {
        self.members.lock().unwrap().remove(&(uid(name), tgid(group)));
    }
}

/// Mailboxes in Redis and the test's own way into it.
pub(crate) struct RedisWorld {
    pub(crate) mailboxes: Arc<RedisMailboxes>,
    pub(crate) keys: Keys,
    raw: Store,
    link: Link,
}

impl RedisWorld {
    /// On the server that the tests share.
    pub(crate) async fn new(bounds: MailboxBounds) -> Self {
        Self::on(shared_redis().await, bounds).await
    }

    /// In the cluster that the tests share.
    pub(crate) async fn in_cluster(bounds: MailboxBounds) -> Self {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
        let options = SHARED.get_or_init(RedisCluster::start).await.options();
        Self::with(options, bounds).await
    }

    pub(crate) async fn on(server: &RedisServer, bounds: MailboxBounds) -> Self {
        Self::with(server.options(), bounds).await
    }

    pub(crate) async fn with(options: RedisOptions, bounds: MailboxBounds) -> Self {
        let keys = Keys::new(&prefix()).unwrap();
        let mailboxes = RedisMailboxes::connect(&options, keys.clone(), bounds).await.unwrap();
        let raw = Store::new(options);
        let link = raw.link("test");
        Self { mailboxes, keys, raw, link }
    }

    /// Asks Redis itself. In a cluster the second word is a key.
    pub(crate) async fn ask<T: FromRedisValue + Send>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        match (self.raw.options().topology(), words) {
            (Topology::Cluster { .. }, [_, key, ..]) => self.raw.link(*key).query(&command).await.unwrap(),
            _ => self.link.query(&command).await.unwrap(),
        }
    }
}

impl World for RedisWorld {
    fn mailboxes(&self) -> &dyn Mailboxes {
        &*self.mailboxes
    }

    async fn claims(&self, name: &str, fence: u64) {
        let bucket = self.keys.user_bucket(&uid(name));
        let _: i64 = self.ask(&["HSET", &bucket, name, &format!("1 {fence} S I n1")]).await;
    }

    async fn joins(&self, name: &str, group: &str, membership: &str) {
        let _: i64 = self.ask(&["HSET", &self.keys.user_groups(&uid(name)), group, membership]).await;
    }

    async fn leaves(&self, name: &str, group: &str) {
        let _: i64 = self.ask(&["HDEL", &self.keys.user_groups(&uid(name)), group]).await;
    }
}

/// Says each sentence of every adapter.
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $name() {
                super::$name(async |bounds| crate::mailbox::world::LocalWorld::new(bounds).await).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(async |bounds| crate::mailbox::world::RedisWorld::new(bounds).await).await;
            })*
        }

        mod cluster {
            $(#[tokio::test]
            async fn $name() {
                super::$name(async |bounds| crate::mailbox::world::RedisWorld::in_cluster(bounds).await).await;
            })*
        }
    };
}
pub(crate) use promises;
